"""What the commands do with a run's folder: train in it, note its masks, find it."""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from mmdiffmask import build, config, configure, examples
from mmdiffmask.data import manifest
from mmdiffmask.masking import strategies
from mmdiffmask.probe import metrics
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
    checkpoint.check_place(folder, configure.settings(experiment), seed)
    check_records(folder, records_dir)
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
    name, boxes = masking.strategy, strategies.with_boxes(masking.strategy, masking)
    batches = examples.bare_batches(experiment, source, chosen, (name, boxes), seed)
    batch = batches[boxes]
    return metrics.summarise_masks(
        examples.patch_grid(experiment.data),
        examples.masks_of(experiment, name, batches[name], seed).is_masked,
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
    own, wanted = found["settings"], configure.settings(asked)
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
    return dataclasses.replace(configure.from_settings(own), probe=asked.probe)


def check_records(folder: pathlib.Path, records_dir: str) -> None:
    """Refuses records that the run was not trained on.

    Raises:
      ValueError: if they are others.
    """
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
