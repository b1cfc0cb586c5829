"""Runs of an experiment: trained and probed in processes, some at a time."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import logging
import multiprocessing
import os
import pathlib
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import process

import tqdm

from mmdiffmask import devices, pretrain, versions
from mmdiffmask.experiment.kept import Kept
from mmdiffmask.experiment.plan import Planned
from mmdiffmask.probe import curve
from mmdiffmask.probe import run as probing
from mmdiffmask.run_files import CONFIG, CPU_SECONDS, DONE
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import journal, saved

LOOK_S = 2.0  # between looks at how far the runs are
FIRST = concurrent.futures.FIRST_COMPLETED
PROBED = versions.number("features", "heads")
CACHE = "JAX_COMPILATION_CACHE_DIR"
# One thread a process, however many processes there are: two of them share two cores
# better than their threads would, and no number depends on how many run at a time.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "TQDM_DISABLE": "1",  # one bar for all runs instead
}


def run(
    planned: Sequence[Planned],
    records_dir: str,
    *,
    workers: int,
    compiled: str | os.PathLike | None = None,
    device: devices.Kind | None = None,
    kept: Kept | None = None,
) -> None:
    """Trains and probes what is not done yet; a run that is done costs nothing.

    Each run is in a process other than this one. A call that was interrupted is made
    again: its runs go on where they were saved. If a run fails, the others are still
    done before its error is raised.

    Args:
      planned: of `plan`.
      records_dir: that all of them are trained and probed on.
      workers: how many runs at a time.
      compiled: a folder for compiled programs, which runs share; JAX's own variable
        comes before it.
      device: what the runs compute on, or stop; None: on what jax finds.
      kept: where each leaves its result: one that has one is done, whatever lies in its
        folder. None: they leave all in their folders.

    Raises:
      ValueError: before any work if a folder holds something else than its run; else
        the error of the first run that failed, which it names; or if a process was
        killed, and then no further run is begun.
      KeyboardInterrupt: if a run was stopped by a signal; no further one is begun.
    """
    claim = functools.cache(lambda row: pretrain.claim(row, records_dir, seed=0))
    meant = planned if kept is None else [x for x in planned if not kept.has(x)]
    for one in meant:
        one.folder.belongs_to(dataclasses.replace(claim(one.settings), seed=one.seed))
    for one in set(planned) - set(meant):
        kept.finish_removal(one)
    todo = meant if kept is not None else [x for x in planned if not is_done(x)]
    if todo:
        # Settings of a process that must be there before it imports anything.
        with _environment(_variables(compiled, device)):
            _run_all(todo, records_dir, workers, kept)


def is_done(planned: Planned) -> bool:
    """Whether a run was trained, and probed by the code that there is now."""
    folder = planned.folder
    return folder.has(DONE) and folder.read(DONE) == PROBED


def _run_all(
    todo: Sequence[Planned], records_dir: str, workers: int, kept: Kept | None
) -> None:
    """The runs in processes, with one bar over the steps of all of them."""
    # Not preprocessing's workers: those compute on the CPU alone and end with the first
    # that fails, and here each run has the device, and others go on.
    context = multiprocessing.get_context("spawn")
    waiting = list(reversed(todo))
    running: dict[concurrent.futures.Future, Planned] = {}
    errors: list[BaseException] = []
    steps = dict.fromkeys(todo, 0)
    totals = [steps_of(one) for one in todo]
    total = None if None in totals else sum(totals)
    bar = tqdm.tqdm(total=total, unit="step", desc="pretraining, all runs")
    pool = concurrent.futures.ProcessPoolExecutor(workers, context, _lock_of_threads)
    with bar, pool:
        while waiting or running:
            # No more than there are processes: nothing in the pool can be taken back.
            while waiting and len(running) < workers:
                one = waiting.pop()
                try:
                    running[pool.submit(_run_one, one, records_dir, kept)] = one
                except process.BrokenProcessPool:  # since it was looked at
                    waiting.clear()
                    errors.append(_killed([one]))
            for job in concurrent.futures.wait(running, LOOK_S, FIRST).done:
                at_work = list(running.values())
                one = running.pop(job)
                steps[one] = steps_of(one) or steps_done(one.folder)
                error = job.exception()
                if isinstance(error, process.BrokenProcessPool):
                    waiting.clear()
                    error = _killed(at_work)
                if error:
                    errors.append(error)
                if isinstance(error, KeyboardInterrupt):
                    waiting.clear()
            steps |= {one: steps_done(one.folder) for one in running.values()}
            bar.n = sum(steps.values())
            bar.refresh()
    stops = [error for error in errors if isinstance(error, KeyboardInterrupt)]
    if errors:
        raise (stops or errors)[0]


def _lock_of_threads() -> None:
    """Gives the bars of a run's process, which it does not draw, a lock of threads.

    Their own lock is a semaphore of the system, and Python warns about it as leaked
    where the process is killed.
    """
    tqdm.tqdm.set_lock(threading.RLock())


def _killed(at_work: Sequence[Planned]) -> ValueError:
    """The error where a process of the runs was killed: it takes the others along."""
    names = " or ".join(map(str, at_work))
    return ValueError(
        f"the process of {names} was killed, likely since memory ran out; what was"
        " saved stands: run the same again, with fewer runs at a time (--workers) or a"
        " smaller training.batch_size"
    )


def steps_of(planned: Planned) -> int | None:
    """Updates of a run; None with epochs, whose steps its records tell once it runs."""
    training = planned.settings.training
    return None if training.steps and training.epochs else training.steps


def steps_done(folder: RunFolder) -> int:
    """The updates that a run has noted; 0 before the first."""
    lines = journal.read_metrics(folder)
    return max((line["step"] for line in lines if line["kind"] == "train"), default=0)


def _run_one(planned: Planned, records_dir: str, kept: Kept | None) -> None:
    """One run in its process: training, its probe, and what is kept of it."""
    try:
        if not is_done(planned):
            _train_and_probe(planned, records_dir)
        if kept is not None:
            kept.write(planned)
    except ValueError as error:
        raise ValueError(f"{planned}: {error}") from error


def _train_and_probe(planned: Planned, records_dir: str) -> None:
    folder = planned.folder
    if saved.is_removed(folder):
        logging.info("%s: its weights were removed: it is made anew", folder)
        shutil.rmtree(folder.path)
    devices.use(None)
    with _timed(folder, "training"):
        pretrain.pretrain(
            planned.settings,
            records_dir,
            str(folder),
            planned.seed,
            probe=curve.of_run,
        )
    with _timed(folder, "probe"):
        probing.probe(planned.settings, str(folder))
    folder.write(DONE, PROBED)


@contextlib.contextmanager
def _timed(folder: RunFolder, stage: str) -> Iterator[None]:
    """Adds the processor seconds of a stage to those that the folder notes.

    Those of a process that was killed are not known.
    """
    began = time.process_time()
    try:
        yield
    finally:
        if folder.has(CONFIG):  # else the stage has left nothing behind
            noted = folder.read(CPU_SECONDS) if folder.has(CPU_SECONDS) else {}
            seconds = noted.get(stage, 0.0) + time.process_time() - began
            folder.write(CPU_SECONDS, noted | {stage: round(seconds, 1)})


def _variables(
    compiled: str | os.PathLike | None, device: devices.Kind | None
) -> Mapping[str, str]:
    """What the processes of runs find in their environment."""
    variables = dict(ONE_THREAD)
    if device is not None:
        variables["JAX_PLATFORMS"] = devices.PLATFORMS[device]
    if compiled is not None and CACHE not in os.environ:
        variables[CACHE] = str(pathlib.Path(compiled).resolve())
    return variables


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Variables that processes inherit which are started meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
