"""What the commands do with a run's folder: train in it, probe it, note its masks."""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmdiffmask import build, config, examples, versions
from mmdiffmask.data import loader, manifest, splits
from mmdiffmask.masking import strategies
from mmdiffmask.models import joining
from mmdiffmask.probe import features, linear, metrics
from mmdiffmask.training import checkpoint, loop

MASKS, PROBE, DATA = "masks.json", "probe.json", "data.json"
MASK_CLIPS = 256  # of train, for the summary of what masks were made of


def pretrain(
    experiment: config.Experiment, records_dir: str, run_dir: str, seed: int
) -> None:
    """Trains in `run_dir`, or goes on there; a finished run costs nothing.

    Raises:
      ValueError: for records that can not serve, or a folder with another run.
      KeyboardInterrupt: after SIGTERM or SIGINT, with the state saved.
    """
    folder = pathlib.Path(run_dir)
    if is_finished(experiment, records_dir, run_dir, seed):
        return
    job = build.job(experiment, records_dir, seed)
    loop.train(job, folder)
    summary = _summarise_masks(experiment, records_dir, seed)
    if summary is not None:
        checkpoint.write_json(folder / MASKS, dataclasses.asdict(summary))
    counts = {"clips": _count_clips(experiment, records_dir)}
    checkpoint.write_json(folder / DATA, _identity(records_dir) | counts)


def is_finished(
    experiment: config.Experiment, records_dir: str, run_dir: str, seed: int
) -> bool:
    """Whether `run_dir` holds this very run, finished (DATA is written last)."""
    folder = pathlib.Path(run_dir)
    if not (folder / DATA).is_file():
        return False
    checkpoint.check_place(folder, config.settings(experiment), seed)
    _check_records(folder, records_dir)
    return True


def _identity(records_dir: str) -> dict[str, str]:
    """Where the records lie, and the checksum of their manifest."""
    path = pathlib.Path(records_dir) / manifest.NAME
    return {
        "records": os.path.abspath(records_dir),
        "manifest": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def _count_clips(experiment: config.Experiment, records_dir: str) -> dict[str, int]:
    """Clips that were trained on, and those that held-out scores are from."""
    source = examples.open_split(records_dir, "train")
    split = examples.split_train(experiment, source)
    dev = len(split.first_of_clips(split.dev))
    return {
        "pretraining": len(split.first_of_clips(split.train)),
        "dev": min(dev, experiment.training.eval_clips),
    }


def _summarise_masks(
    experiment: config.Experiment, records_dir: str, seed: int
) -> metrics.MaskSummary | None:
    """What the run's masks were made of, on the first clips of train."""
    masking = experiment.masking
    if strategies.find(masking.strategy).weight is None:
        return None
    source = examples.open_split(records_dir, "train")
    split = examples.split_train(experiment, source)
    chosen = split.first_of_clips(split.train)[:MASK_CLIPS]
    masks, batch = examples.masks_of(
        experiment, source, chosen, masking.strategy, masking.boxes, seed
    )
    return metrics.summarise_masks(
        examples.patch_grid(experiment.data),
        masks.is_masked,
        batch.is_patch_valid,
        batch.unit_of_token,
        batch.is_box_unit,
    )


def check_run(run_dir: str) -> None:
    """Checks that a folder holds a run.

    Raises:
      ValueError: if it does not.
    """
    if not (pathlib.Path(run_dir) / checkpoint.CONFIG).is_file():
        raise ValueError(
            f"{run_dir}: no run here; start one with"
            f" mmdiffmask pretrain CONFIG.py --workdir {run_dir}"
        )


def of_run(
    run_dir: str,
    asked: config.Experiment,
    overrides: Sequence[str] = (),
    seed: int | None = None,
) -> config.Experiment:
    """The run's own settings, with the probe's from `asked`.

    Args:
      run_dir: of a run.
      asked: the config that the user names; only its `probe` counts.
      overrides: what the user set by hand: must agree with the run.
      seed: must be the run's; None: not asked for.

    Raises:
      ValueError: naming the first thing that was asked for and is not the run's.
    """
    found = checkpoint.read_json(pathlib.Path(run_dir) / checkpoint.CONFIG)
    own, wanted = found["settings"], config.settings(asked)
    if seed is not None and seed != found["seed"]:
        raise ValueError(f"--seed {seed}: the run in {run_dir} has {found['seed']}")
    by_hand = {item.partition("=")[0].strip() for item in overrides}
    for name, value in json.loads(json.dumps(wanted)).items():
        is_asked = name in by_hand or name.startswith("model.")
        if is_asked and not name.startswith("probe.") and own.get(name) != value:
            raise ValueError(
                f"{name}={value}: the run in {run_dir} has {own.get(name)}; name its"
                " own config"
            )
    return dataclasses.replace(config.from_settings(own), probe=asked.probe)


def probe(
    experiment: config.Experiment, run_dir: str, records_dir: str | None = None
) -> dict[str, Any]:
    """Linear heads on the frozen features of the run; the content of probe.json.

    Features are cached beside the checkpoint; heads are fitted anew unless probe.json
    was made with the same settings and code from the same weights and records.

    Args:
      experiment: the run's settings (`of_run`).
      run_dir: of a finished run.
      records_dir: None: where the run's records were when it was trained.

    Raises:
      ValueError: if the run is not finished, its records have changed, or they have
        no val split or no labels.
    """
    check_run(run_dir)
    folder = pathlib.Path(run_dir)
    if not (folder / DATA).is_file():
        raise ValueError(f"{run_dir}: not finished; go on with mmdiffmask pretrain")
    records_dir = records_dir or checkpoint.read_json(folder / DATA)["records"]
    _check_records(folder, records_dir)
    which = experiment.probe.checkpoint
    params = checkpoint.load_params(folder, which)
    key = {
        "probe": dataclasses.asdict(experiment.probe),
        "data": dataclasses.asdict(experiment.data),
        "weights": fingerprint(params),
        "code": [versions.of_code("run"), versions.of_code("probe")],
        "manifest": _identity(records_dir)["manifest"],
    }
    key = json.loads(json.dumps(key))
    path = folder / PROBE
    if path.is_file() and (found := checkpoint.read_json(path))["key"] == key:
        return found
    sets = _labelled_sets(experiment, records_dir, folder, params, key["weights"])
    result = {"key": key, "labels": {}}
    for label in experiment.probe.labels:
        result["labels"][label] = _probe_label(experiment.probe, label, *sets)
    result["step"] = _step(folder, which)
    checkpoint.write_json(path, result)
    return result


def _check_records(folder: pathlib.Path, records_dir: str) -> None:
    """Refuses records that the run was not trained on."""
    found = checkpoint.read_json(folder / DATA)
    manifest.read(records_dir)
    if found["manifest"] != _identity(records_dir)["manifest"]:
        raise ValueError(
            f"{folder}: was trained on other records ({found['records']}) than"
            f" {records_dir}"
        )


def fingerprint(params: Any) -> str:
    """16 hex digits of the weights' bytes."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(params):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()[:16]


def _step(folder: pathlib.Path, which: str) -> int:
    with checkpoint.open_steps(folder) as manager:
        progress = checkpoint.read_progress(manager)
    return progress.best_step if which == "best" else progress.step


def _labelled_sets(experiment, records_dir, folder, params, weights):
    """(features of train, of dev, of val; clip -> its labels)."""
    if "val" not in manifest.read(records_dir).shards:
        raise ValueError(
            f"{records_dir}: no val split to score a probe on; records of `toy` and"
            " `tvqa` have one"
        )
    source = examples.open_split(records_dir, "train")
    split = splits.split_train(source, experiment.data.dev_share, boxed_only=False)
    val = examples.open_split(records_dir, "val")
    val_clips = [val[i].clip for i in range(len(val))]
    parts = {
        "train": (source, split.first_of_clips(split.train)),
        "dev": (source, split.first_of_clips(split.dev)),
        "val": (val, features.first_of_clip(val_clips).tolist()),
    }
    encode = _clip_encoder(experiment)
    labels, found = {}, []
    for name, (of, positions) in parts.items():
        labels |= {of[i].clip: of[i].labels for i in positions}
        key = features.cache_key(
            weights,
            _identity(records_dir)["manifest"],
            name,
            config.to_json(experiment.data),
            config.to_json(experiment.model),
            versions.of_code("run"),
        )

        def compute(of=of, positions=positions):
            row = examples.make_row(experiment.data, experiment.masking, of)
            names, size = [of[i].clip for i in positions], experiment.probe.batch_size
            with loader.eval_batches(row, positions, size) as batches:
                return features.extract(encode, params, features.named(names, batches))

        found.append(features.cached(folder / "features", key, compute))
    return (*found, labels)


def _clip_encoder(experiment: config.Experiment) -> features.Encode:
    """(params, batch) -> mean joint and mean ViT features of each clip."""
    network = build.model(experiment.model)
    grid = examples.patch_grid(experiment.data)

    def apply(params, batch):
        seen = network.apply(
            {"params": params}, batch.patches, grid.rows, grid.cols, method="vision"
        ).seq_attnpool
        clips, frames = batch.is_frame_valid.shape
        segment = jnp.broadcast_to(jnp.arange(1, frames + 1)[None], (clips, frames))
        vision = joining.VisionPart(seen, segment, batch.is_frame_valid)
        joint = network.apply(
            {"params": params}, None, vision, grid.rows, grid.cols, method="joint"
        ).vision
        return joint.reshape(seen.shape), seen

    return features.clip_encoder(apply, grid)


def _probe_label(settings: config.Probe, label: str, train, dev, val, labels) -> dict:
    """Scores of one label: joint and ViT features, linear and nearest neighbours."""
    of_clip = {clip: row.get(label, "") for clip, row in labels.items()}
    if not any(of_clip.values()):
        known = sorted({name for row in labels.values() for name in row})
        raise ValueError(
            f"probe.labels: the records have no label {label}; they have"
            f" {', '.join(known) or 'none at all'}"
        )
    result: dict[str, Any] = {}
    for read_out in ("joint", "vit"):
        sets = (
            linear.label_clips(part, read_out, of_clip) for part in (train, dev, val)
        )
        found = linear.probe(*sets, settings.l2, settings.neighbours)
        result[read_out] = {
            "l2": found.l2,
            "dev_loss": {str(k): v for k, v in found.dev_loss.items()},
            "is_right": [int(x) for x in found.is_right],
            "is_right_knn": [int(x) for x in found.is_right_knn],
        }
    names = [[of_clip[c] for c in part.clip if of_clip[c]] for part in (train, val)]
    result["floors"] = dataclasses.asdict(metrics.floors(*names))
    result["clips"] = [c for c in val.clip if of_clip[c]]
    return result


def table(found: dict[str, Any]) -> str:
    """The content of probe.json as lines to read: accuracy, interval, floors."""
    lines = [f"after {found['step']} steps; accuracy in % with its 95 % interval"]
    for label, entry in found["labels"].items():
        floors = entry["floors"]
        for read_out in ("joint", "vit"):
            score = metrics.accuracy(np.array(entry[read_out]["is_right"], bool))
            lines.append(
                f"{label:10} {read_out:6} {100 * score.value:5.1f}"
                f" [{100 * score.low:.1f}, {100 * score.high:.1f}]"
                f"  chance {100 * floors['chance']:.1f}"
                f"  largest class {100 * floors['largest_class']:.1f}"
                f"  {score.n} clips"
            )
    return "\n".join(lines)
