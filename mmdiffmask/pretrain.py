"""One run: trains in its folder, and notes its masks and the records that served it."""

import dataclasses
import logging
from collections.abc import Callable

from mmdiffmask import (
    attention,
    build,
    config,
    configure,
    effects,
    examples,
    inputs,
    masks,
    run_files,
    starts,
)
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.inputs import Claim, Served
from mmdiffmask.masking import strategy_settings
from mmdiffmask.masking import summary as mask_summary
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import job, loop, saved
from mmdiffmask.training import watch as watching

# (settings, records) -> what reads the weights out: `probe.curve.of_run`.
MakeProbe = Callable[[config.Experiment, Corpus], job.Probe]
MASK_CLIPS = 256  # of train, for the summary of what masks were made of


def pretrain(
    experiment: config.Experiment,
    records_dir: str,
    run_dir: str,
    seed: int,
    watch: watching.Watch = watching.Watch(),  # noqa: B008  frozen
    probe: MakeProbe | None = None,
) -> None:
    """Trains in `run_dir`, or goes on there; a finished run costs nothing.

    Args:
      experiment: its settings.
      records_dir: that it is trained on.
      run_dir: new, empty, or its own.
      seed: of the run.
      watch: how it is looked at, which changes nothing of it.
      probe: makes what `training.probe_every` asks for; needed where that is above 0.

    Raises:
      ValueError: for records that cannot serve, a folder with another run or another
        command at work in it, a run that has lost something, or no `probe` where one
        is needed.
      KeyboardInterrupt: after SIGTERM or SIGINT, with the state saved.
    """
    folder = RunFolder(run_dir)
    with folder.held():
        owner = claim(experiment, records_dir, seed, folder)
        if is_finished(folder, owner):
            folder.remember({n: e["value"] for n, e in owner.inputs.items()})
            if watch != watching.Watch():
                logging.warning("%s is finished: nothing new is recorded", folder)
            return
        corpus = Corpus.of(records_dir)
        chosen = examples.choose(experiment, corpus)
        training = build.job(experiment, chosen, owner)
        if experiment.training.probe_every:
            training = dataclasses.replace(
                training, probe=_needed(probe, experiment)(experiment, corpus)
            )
        loop.train(training, folder, watch)
        summary = _summarise_masks(experiment, chosen, folder, owner)
        if summary is not None:
            folder.write(run_files.MASKS, dataclasses.asdict(summary))
        kinds = effects.kinds_without_boxes(
            experiment, chosen.entries, chosen.dev_clips
        )
        counts = {"pretraining": len(chosen.clips), "dev": len(chosen.dev_clips)}
        folder.write(run_files.DATA, dataclasses.asdict(Served(counts, kinds)))


def _needed(probe: MakeProbe | None, experiment: config.Experiment) -> MakeProbe:
    if probe is None:
        raise ValueError(
            f"training.probe_every={experiment.training.probe_every}: pretrain() was"
            " called without what probes; pass probe=mmdiffmask.probe.curve.of_run, or"
            " set probe_every to 0"
        )
    return probe


def claim(
    experiment: config.Experiment,
    records_dir: str | None,
    seed: int,
    folder: RunFolder | None = None,
) -> Claim:
    """What a run is: its settings, its seed, the content of everything it reads.

    `folder` is its own, if one is meant: see `starts.fingerprint`. Without
    `records_dir` its records are not known.
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
    experiment: config.Experiment,
    chosen: examples.Chosen,
    folder: RunFolder,
    owner: Claim,
) -> mask_summary.MaskSummary | None:
    """What the run's masks were made of, on the first clips of train.

    Of masks that follow the attention of each update: those of the first weights.
    """
    masking = experiment.masking
    if not experiment.is_hiding:
        return None
    name = masking.strategy
    boxes = strategy_settings.with_boxes(name, masking)
    batches = masks.bare_batches(
        experiment,
        chosen.source,
        chosen.clips[:MASK_CLIPS],
        (name, boxes),
        owner.seed,
        attention.of_run(experiment, chosen.source, chosen.entries, folder, owner),
    )
    batch = batches[boxes]
    is_drawable = batch.unit_of_token >= 0  # all pictures, or padding too
    return mask_summary.summarise_masks(
        examples.patch_grid(experiment.data),
        masks.of_batch(experiment, name, batches[name], owner.seed).is_masked,
        is_drawable.reshape(batch.is_patch_valid.shape),
        batch.unit_of_token,
        batch.is_box_unit,
    )
