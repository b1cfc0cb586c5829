"""Probes a finished run: read-outs of its frozen features, and their table."""

import collections
import dataclasses
from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from mmdiffmask import (
    build,
    config,
    configure,
    examples,
    inputs,
    run_files,
    statistics,
    versions,
    weights,
)
from mmdiffmask.data import loader
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.data.records import splits
from mmdiffmask.models.reserve import joining
from mmdiffmask.probe import features, linear, results, ties
from mmdiffmask.probe import labels as label_names
from mmdiffmask.probe import questions as question_probe
from mmdiffmask.run_files import FEATURES
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import checkpoint

BOOTSTRAP_SEED = 0


def probe(
    experiment: config.Experiment, run_dir: str, records_dir: str | None = None
) -> results.Probed:
    """Heads on the frozen features of the run; the content of probe.json.

    Features are cached beside the checkpoint; heads are fitted anew unless probe.json
    was made with the same settings and code from the same weights and records.

    Args:
      experiment: the run's settings (`of_run`).
      run_dir: of a finished run.
      records_dir: None: where the run's records were when it was trained.

    Raises:
      ValueError: if the run is not finished, its records have changed, or they have
        no val split, or not the labels or questions that `probe.read_outs` needs.
    """
    folder = RunFolder(run_dir)
    folder.check_run()
    if not folder.has(run_files.DATA):
        raise ValueError(f"{run_dir}: not finished; go on with mmdiffmask pretrain")
    with folder.held():
        records_dir = folder.find(inputs.RECORDS, records_dir)
        folder.remember({inputs.RECORDS: records_dir})
        return _probe(experiment, folder, Corpus.of(records_dir))


def _probe(
    experiment: config.Experiment, folder: RunFolder, corpus: Corpus
) -> results.Probed:
    """`probe` in a folder that is held, with records that are the run's."""
    which = experiment.probe.checkpoint
    params = checkpoint.load_params(folder, which)
    step = checkpoint.step_of(folder, which)
    key = results.make_key(
        probe=dataclasses.asdict(experiment.probe),
        data=dataclasses.asdict(experiment.data),
        weights=weights.fingerprint(params),
        numbers=versions.number("training", "features", "heads"),
        manifest=folder.inputs()[inputs.RECORDS]["sha256"],
    )
    found = results.read(folder)
    if found is not None and found.key == key:
        return found
    _check_val(corpus)
    questions = None
    if set(question_probe.READ_OUTS) & set(experiment.probe.read_outs):
        seed = folder.owner().seed
        task = question_probe.open_task(
            experiment, corpus, key.manifest, folder.at(FEATURES)
        )
        questions = question_probe.probe(task, params, key.weights, seed)
    labels: dict[str, results.Label] = {}
    left_out: dict[str, str] = {}
    if "clip" in experiment.probe.read_outs:
        sets = _labelled_sets(experiment, corpus, folder, params, key.weights)
        for label in experiment.probe.labels:
            if told := _left_out(label, sets[0], sets[-1]):
                left_out[label] = told
                continue
            labels[label] = _probe_label(experiment.probe, label, *sets)
    probed = results.Probed(
        key=key, labels=labels, step=step, questions=questions, left_out=left_out
    )
    results.write(folder, probed)
    return probed


def _check_val(corpus: Corpus) -> None:
    if "val" not in corpus.split_names:
        raise ValueError(
            f"{corpus.folder}: no val split to score a probe on; records of loose"
            " videos have one if questions or labels of two videos are given"
        )


def _labelled_sets(experiment, corpus, folder, params, weights):
    """(features of train, of dev, of val; clip -> its labels)."""
    split = corpus.split_train(experiment.data.dev_share, boxed_only=False)
    splits.check_apart(split, corpus.groups("val"))
    parts = {
        "train": ("train", split.first_of_clips(split.train)),
        "dev": ("train", split.first_of_clips(split.dev)),
        "val": ("val", corpus.first_of_clips("val")),
    }
    encode = _clip_encoder(experiment)
    labels, found = {}, []
    for name, (of, positions) in parts.items():
        entries = [corpus.entries(of)[i] for i in positions]
        labels |= {entry.clip: entry.labels for entry in entries}
        key = features.cache_key(
            weights,
            folder.inputs()[inputs.RECORDS]["sha256"],
            name,
            configure.to_json(experiment.data),
            configure.to_json(experiment.model),
            versions.number("features"),
        )

        def compute(of=of, positions=positions, entries=entries):
            source = corpus.source(of)
            row = examples.make_row(experiment.data, experiment.masking, source)
            names = [entry.clip for entry in entries]
            size = experiment.probe.batch_size
            with loader.eval_batches(row, positions, size) as batches:
                return features.extract(encode, params, features.named(names, batches))

        found.append(features.cached(folder.at(FEATURES), key, compute))
    return (*found, labels)


def _clip_encoder(experiment: config.Experiment) -> features.Encode:
    """(params, batch) -> mean joint and mean ViT features of each clip."""
    network = build.model(experiment.model)
    grid = examples.patch_grid(experiment.data)

    def apply(params, batch):
        seen = network.apply(
            {"params": params}, batch.patches, grid, method="vision"
        ).seq_attnpool
        clips, frames = batch.is_frame_valid.shape
        segment = jnp.broadcast_to(jnp.arange(1, frames + 1)[None], (clips, frames))
        vision = joining.VisionPart(seen, segment, batch.is_frame_valid)
        joint = network.apply(
            {"params": params}, None, vision, grid, method="joint"
        ).vision
        return joint.reshape(seen.shape), seen

    return features.clip_encoder(apply, grid)


def _left_out(label: str, train: features.Features, labels) -> str:
    """Why there is nothing to tell apart by this label; "" where there is."""
    of_clip = label_names.of_clips(labels, label)
    classes = {of_clip[clip] for clip in train.clip} - {""}
    if len(classes) != 1:
        return ""
    return f"{label}: every clip of train is {classes.pop()!r}: nothing to tell apart"


def _probe_label(
    settings: config.Probe, label: str, train, dev, val, labels
) -> results.Label:
    """Scores of one label: joint and ViT features, linear and nearest neighbours."""
    of_clip = label_names.of_clips(labels, label)
    heads: dict[str, results.LabelHead] = {}
    for read_out in ("joint", "vit"):
        sets = (
            linear.label_clips(part, read_out, of_clip) for part in (train, dev, val)
        )
        try:
            found = linear.probe(*sets, settings.l2, settings.neighbours)
        except ValueError as error:
            raise ValueError(f"probe.labels: {label}: {error}") from error
        heads[read_out] = results.LabelHead(
            l2=found.l2,
            dev_loss={str(k): v for k, v in found.dev_loss.items()},
            is_right=ties.as_json(found.is_right),
            is_right_knn=ties.as_json(found.is_right_knn),
        )
    names = [[of_clip[c] for c in part.clip if of_clip[c]] for part in (train, val)]
    known = set(names[0])
    return results.Label(
        **heads,
        floors=statistics.floors(*names),
        unknown=dict(collections.Counter(n for n in names[1] if n not in known)),
        clips=[c for c in val.clip if of_clip[c]],
    )


def table(found: results.Probed) -> str:
    """The content of probe.json as lines to read: accuracy, interval, floors."""
    lines = [f"after {found.step} steps; accuracy in % with its 95 % interval"]
    for label, entry in found.labels.items():
        for read_out, head in (("joint", entry.joint), ("vit", entry.vit)):
            score = statistics.accuracy(np.array(head.is_right, float))
            lines.append(
                f"{label:10} {read_out:6} {100 * score.value:5.1f}"
                f" {_interval(score)}"
                f"  chance {100 * entry.floors.chance:.1f}"
                f"  largest class {100 * entry.floors.largest_class:.1f}"
                f"  {score.n} clips"
            )
        if entry.unknown:
            lines.append(lacking(label, entry.unknown, len(entry.clips)))
    lines += found.left_out.values()
    if found.questions is not None:
        lines += _question_lines(found.questions, found.key.probe["bootstrap"])
    return "\n".join(lines)


def lacking(label: str, unknown: Mapping[str, int], clips: int) -> str:
    """Says which clips of val no head can name."""
    count = sum(unknown.values())
    names = ", ".join(sorted(unknown))
    return (
        f"{label}: {count} of {clips} clips of val are of classes that train lacks"
        f" ({names}): none of them can be named rightly"
    )


def _interval(score: statistics.Score) -> str:
    if not score.has_interval:
        return "[no interval: one clip or no spread]"
    return f"[{100 * score.low:.1f}, {100 * score.high:.1f}]"


def _question_lines(found: results.Questions, resamples: int) -> list[str]:
    """`questions` of probe.json to read: accuracy, interval over clips, best floor."""
    kinds = np.array(found.kinds)
    names = [name for name in dict.fromkeys(found.kinds) if name]
    groups = {"all questions": np.ones(len(kinds), bool)}
    if len(names) > 1 or not (kinds == names[:1]).all():
        groups |= {name: kinds == name for name in names}
    result = []
    for read_out, entry in found.read_outs.items():
        floors = found.floors.get(read_out, {})
        for name, is_kind in groups.items():
            score = by_clip(entry.is_right, found.clips, is_kind, resamples)
            best = {
                floor: float(np.mean(np.array(scores.is_right)[is_kind]))
                for floor, scores in floors.items()
            } | {"chance": found.chance}
            floor = max(best, key=lambda name, best=best: best[name])
            result.append(
                f"{read_out:10} {name:14} {100 * score.value:5.1f}"
                f" {_interval(score)}"
                f"  best floor {100 * best[floor]:.1f} ({floor})"
                f"  {int(is_kind.sum())} questions of {score.n} clips"
            )
    return result


def by_clip(
    is_right: Sequence[int | float],
    clips: Sequence[str],
    is_kind: Bool[np.ndarray, " e"],
    resamples: int,
) -> statistics.Score:
    """Share of right questions; the 95 % interval is over clips, a bootstrap.

    Questions of one clip share its frames, so clips are drawn, not questions. Where
    all questions are right, or none, resampling shows no spread: Wilson's interval
    for so many clips then. `n` counts clips.
    """
    right = np.array(is_right)[is_kind]
    _, clip = np.unique(np.array(clips)[is_kind], return_inverse=True)
    count = np.bincount(clip)
    hits = np.bincount(clip, weights=right)
    score = statistics.ratio(hits, count, BOOTSTRAP_SEED, resamples)
    if 0 < right.sum() < len(right):
        return score
    low, high = statistics.wilson(len(count) if right.all() else 0, len(count))
    return statistics.Score(score.value, low, high, len(count))
