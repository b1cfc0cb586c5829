"""One run: trains in its folder, and notes its masks and the records that served it."""

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

from mmdiffmask import build, config, configure, inputs, run_files
from mmdiffmask.inputs import Claim, Served
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import job, loop, saved
from mmdiffmask.training import watch as watching

# (settings, corpus) -> what reads the weights out: `probe.curve.of_run`.
MakeProbe = Callable[[config.Experiment, Any], job.Probe]


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
      records_dir: records, or the folder of texts, that it is trained on.
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
        prepared = build.prepare(experiment, records_dir, owner)
        training = prepared.job
        if experiment.training.probe_every:
            read_out = _needed(probe, experiment)(experiment, prepared.corpus)
            training = dataclasses.replace(training, probe=read_out)
        loop.train(training, folder, watch)
        summary = prepared.masks(folder)
        if summary is not None:
            folder.write(run_files.MASKS, dataclasses.asdict(summary))
        served = Served(prepared.clips, prepared.fill_only())
        folder.write(run_files.DATA, dataclasses.asdict(served))


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
    by_weights = {
        inputs.START: (
            build.name_of_start(experiment),
            build.fingerprint_of_start(experiment, folder),
        ),
        inputs.START_RUN: (
            experiment.model.start,
            build.fingerprint_of_start_run(experiment, folder),
        ),
        inputs.REFERENCE: (
            experiment.masking.reference,
            build.fingerprint_of_reference(experiment),
        ),
    }
    for name, (value, sha256) in by_weights.items():
        if sha256 is not None:
            contents[name] = {"value": value, "sha256": sha256}
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
