"""What the commands do with a run's folder: train in it, note its masks, find it."""

import dataclasses
import json
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from mmdiffmask import (
    atomic,
    build,
    claims,
    config,
    configure,
    effects,
    examples,
    weights,
)
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.masking import strategies
from mmdiffmask.masking import summary as mask_summary
from mmdiffmask.training import loop, saved

TEXT_LENGTH = "data.text_length"  # a probe may ask for a longer one
MASKS, PROBE, DATA = "masks.json", "probe.json", "data.json"
FILL_ONLY = "fill_only"  # of DATA: kinds of held-out masks that hide no box
MASK_CLIPS = 256  # of train, for the summary of what masks were made of


def pretrain(
    experiment: config.Experiment, records_dir: str, run_dir: str, seed: int
) -> None:
    """Trains in `run_dir`, or goes on there; a finished run costs nothing.

    Raises:
      ValueError: for records that cannot serve, a folder with another run or another
        command at work in it, or a run that has lost something.
      KeyboardInterrupt: after SIGTERM or SIGINT, with the state saved.
    """
    folder = pathlib.Path(run_dir)
    with claims.held(folder):
        read = build.inputs(experiment, records_dir)
        if is_finished(experiment, folder, seed, read):
            claims.remember(folder, {n: entry["value"] for n, entry in read.items()})
            return
        chosen = examples.choose(experiment, Corpus.of(records_dir))
        loop.train(build.job(experiment, chosen, seed, read), folder)
        summary = _summarise_masks(experiment, chosen, seed)
        if summary is not None:
            atomic.write_json(folder / MASKS, dataclasses.asdict(summary))
        kinds = effects.kinds_without_boxes(experiment, chosen.source, chosen.dev_clips)
        counts = {"pretraining": len(chosen.clips), "dev": len(chosen.dev_clips)}
        atomic.write_json(folder / DATA, {"clips": counts, FILL_ONLY: kinds})


def is_finished(
    experiment: config.Experiment,
    folder: pathlib.Path,
    seed: int,
    read: claims.Inputs,
) -> bool:
    """Whether a folder holds this very run, finished (DATA is written last).

    Raises:
      ValueError: if it holds another one, or has lost something.
    """
    if not (folder / DATA).is_file():
        return False
    claims.check_place(folder, configure.settings(experiment), seed, read)
    saved.check_all(folder)
    return True


def _summarise_masks(
    experiment: config.Experiment, chosen: examples.Chosen, seed: int
) -> mask_summary.MaskSummary | None:
    """What the run's masks were made of, on the first clips of train."""
    masking = experiment.masking
    if not experiment.is_hiding:
        return None
    name, boxes = masking.strategy, strategies.with_boxes(masking.strategy, masking)
    batches = examples.bare_batches(
        experiment, chosen.source, chosen.clips[:MASK_CLIPS], (name, boxes), seed
    )
    batch = batches[boxes]
    return mask_summary.summarise_masks(
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
    if not (pathlib.Path(run_dir) / claims.CONFIG).is_file():
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
    """The run's own settings, with the probe's and its text length from `asked`.

    Args:
      run_dir: of a run.
      asked: the config that the user names; only its `probe` counts.
      overrides: what the user set by hand: must agree with the run.
      seed: must be the run's; None: not asked for.

    Raises:
      ValueError: naming the first thing that was asked for and is not the run's, or
        that the run read and is not as it was.
    """
    found = atomic.read_json(pathlib.Path(run_dir) / claims.CONFIG)
    own, wanted = found["settings"], configure.settings(asked)
    read = claims.read(run_dir)
    if seed is not None and seed != found["seed"]:
        raise ValueError(f"--seed {seed}: the run in {run_dir} has {found['seed']}")
    by_hand = {item.partition("=")[0].strip() for item in overrides}
    places = {}
    if TEXT_LENGTH in by_hand:  # no parameter depends on it
        own[TEXT_LENGTH] = wanted[TEXT_LENGTH]
    for name, value in json.loads(json.dumps(wanted)).items():
        is_asked = name in by_hand or name.startswith("model.")
        is_file = name in read and (value is not None or name not in by_hand)
        if name in claims.FILES and is_file:
            places[name] = value if name in by_hand else None
        elif name == claims.START and name in read and value is not None:
            _check_start(run_dir, value, read[name])
        elif is_asked and not name.startswith("probe.") and own.get(name) != value:
            raise ValueError(
                f"{name}={value}: the run in {run_dir} has {own.get(name)}; name its"
                " own config"
            )
    return dataclasses.replace(settings_of(run_dir, own, places), probe=asked.probe)


def settings_of(
    run_dir: str | pathlib.Path,
    own: dict[str, Any],
    asked: Mapping[str, str | None] | None = None,
) -> config.Experiment:
    """A run's settings, the files that it read where they lie now.

    Args:
      run_dir: of the run.
      own: its settings as it noted them.
      asked: where the user says that files are; found places are remembered.

    Raises:
      ValueError: if a file is not as it was, or gone.
    """
    read, asked = claims.read(run_dir), asked or {}
    places = {
        name: claims.find(run_dir, name, asked.get(name))
        for name in claims.FILES
        if name in read
    }
    claims.remember(run_dir, {n: v for n, v in places.items() if asked.get(n)})
    return configure.from_settings(own | places)


def _check_start(run_dir: str, value: str, entry: dict[str, str]) -> None:
    """The weights that are asked for against those that the run started from."""
    now = weights.fingerprint_of(value)
    if now == entry["sha256"]:
        return
    told = f"started from {entry['value']} ({claims.short(entry['sha256'])})"
    if value != entry["value"]:
        now = "nothing" if now is None else claims.short(now)
        raise ValueError(
            f"model.checkpoint={value}: holds {now}, but the run in {run_dir} {told};"
            " name its own config"
        )
    if now is not None:  # the run has its start with it, so nothing is lost
        logging.warning(
            "%s: %s; what lies there now is something else (%s)",
            *(run_dir, told, claims.short(now)),
        )
