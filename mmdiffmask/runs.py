"""What the commands do with a run's folder: train in it, note its masks, find it."""

import dataclasses
import json
import logging
from collections.abc import Sequence

from mmdiffmask import (
    build,
    config,
    configure,
    effects,
    examples,
    inputs,
    run_files,
    starts,
    weights,
)
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.inputs import Claim, Served
from mmdiffmask.masking import strategies
from mmdiffmask.masking import summary as mask_summary
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import loop, saved

TEXT_LENGTH = "data.text_length"  # a probe may ask for a longer one
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
    folder = RunFolder(run_dir)
    with folder.held():
        owner = claim(experiment, records_dir, seed, folder)
        if is_finished(folder, owner):
            folder.remember({n: e["value"] for n, e in owner.inputs.items()})
            return
        chosen = examples.choose(experiment, Corpus.of(records_dir))
        loop.train(build.job(experiment, chosen, owner), folder)
        summary = _summarise_masks(experiment, chosen, seed)
        if summary is not None:
            folder.write(run_files.MASKS, dataclasses.asdict(summary))
        kinds = effects.kinds_without_boxes(experiment, chosen.source, chosen.dev_clips)
        counts = {"pretraining": len(chosen.clips), "dev": len(chosen.dev_clips)}
        folder.write(run_files.DATA, dataclasses.asdict(Served(counts, kinds)))


def claim(
    experiment: config.Experiment,
    records_dir: str,
    seed: int,
    folder: RunFolder,
) -> Claim:
    """What a run is: its settings, its seed, the content of everything it reads.

    `folder` is its own: see `starts.fingerprint`.
    """
    settings = configure.settings(experiment)
    contents = inputs.of_settings(settings, records_dir)
    start = experiment.model.checkpoint
    sha256 = None if start is None else starts.fingerprint(start, folder)
    if sha256 is not None:
        contents[inputs.START] = {"value": start, "sha256": sha256}
    return Claim(settings, seed, contents)


def is_finished(folder: RunFolder, owner: Claim) -> bool:
    """Whether a folder holds this very run, finished (data.json is written last).

    Raises:
      ValueError: if it holds another one, or has lost something.
    """
    if not folder.has(run_files.DATA):
        return False
    folder.belongs_to(owner)
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
    folder = RunFolder(run_dir)
    owner, read = folder.owner(), folder.inputs()
    own, wanted = dict(owner.settings), configure.settings(asked)
    if seed is not None and seed != owner.seed:
        raise ValueError(f"--seed {seed}: the run in {run_dir} has {owner.seed}")
    by_hand = {item.partition("=")[0].strip() for item in overrides}
    places = {}
    if TEXT_LENGTH in by_hand:  # no parameter depends on it
        own[TEXT_LENGTH] = wanted[TEXT_LENGTH]
    for name, value in json.loads(json.dumps(wanted)).items():
        is_asked = name in by_hand or name.startswith("model.")
        is_file = name in read and (value is not None or name not in by_hand)
        if name in inputs.FILES and is_file:
            places[name] = value if name in by_hand else None
        elif name == inputs.START and name in read and value is not None:
            _check_start(run_dir, value, read[name])
        elif is_asked and not name.startswith("probe.") and own.get(name) != value:
            raise ValueError(
                f"{name}={value}: the run in {run_dir} has {own.get(name)}; name its"
                " own config"
            )
    return dataclasses.replace(folder.experiment(own, places), probe=asked.probe)


def _check_start(run_dir: str, value: str, entry: dict[str, str]) -> None:
    """The weights that are asked for against those that the run started from."""
    now = weights.fingerprint_of(value)
    if now == entry["sha256"]:
        return
    told = f"started from {entry['value']} ({inputs.short(entry['sha256'])})"
    if value != entry["value"]:
        now = "nothing" if now is None else inputs.short(now)
        raise ValueError(
            f"model.checkpoint={value}: holds {now}, but the run in {run_dir} {told};"
            " name its own config"
        )
    if now is not None:  # the run has its start with it, so nothing is lost
        logging.warning(
            "%s: %s; what lies there now is something else (%s)",
            *(run_dir, told, inputs.short(now)),
        )
