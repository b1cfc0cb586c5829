"""An experiment: every row of a comparison with every seed, planned, run and read."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import multiprocessing
import os
import pathlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import process

import tqdm

from mmdiffmask import (
    build,
    config,
    configure,
    contrasts,
    devices,
    pretrain,
    versions,
)
from mmdiffmask import seeds as seed_numbers
from mmdiffmask.inputs import Claim
from mmdiffmask.probe import contrasted, finished
from mmdiffmask.probe import run as probing
from mmdiffmask.run_files import DONE
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import journal

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


@dataclasses.dataclass(frozen=True)
class Planned:
    """A row with a seed: one run.

    Attributes:
      row: its name.
      seed: of the run.
      settings: the experiment's, with those of the row.
      folder: where the run lies.
    """

    row: str
    seed: int
    settings: config.Experiment
    folder: RunFolder

    def __str__(self) -> str:
        return f"row {self.row}, seed {self.seed}"


def plan(
    experiment: config.Experiment,
    workdir: str | os.PathLike,
    seeds: Sequence[int] = (0,),
) -> tuple[Planned, ...]:
    """Every row with every seed, one seed after the other; touches nothing.

    Args:
      experiment: its `rows` are the comparison.
      workdir: seed 0 lies at `workdir`/ROW, another one at `workdir`/seed=SEED/ROW: so
        each of these folders is one page of the report, and a seed that is added later
        moves no run. No row has "=" in its name.
      seeds: of the runs.

    Raises:
      ValueError: for rows as `build.check`, a seed twice, or one out of range.
    """
    for seed in seeds:
        seed_numbers.check("seed", seed)
        if list(seeds).count(seed) > 1:
            raise ValueError(f"seed {seed} stands twice in {list(seeds)}")
    build.check(experiment)
    rows = configure.rows(experiment)
    return tuple(
        Planned(
            row, seed, settings, RunFolder(seed_numbers.folder(workdir, seed) / row)
        )
        for seed in seeds
        for row, settings in rows.items()
    )


def run(
    planned: Sequence[Planned],
    records_dir: str,
    *,
    workers: int,
    compiled: str | os.PathLike | None = None,
    device: devices.Kind | None = None,
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

    Raises:
      ValueError: before any work if a folder holds something else than its run; else
        the error of the first run that failed, which it names; or if a process was
        killed, and then no further run is begun.
      KeyboardInterrupt: if a run was stopped by a signal; no further one is begun.
    """
    claim = functools.cache(lambda row: pretrain.claim(row, records_dir, seed=0))
    for one in planned:
        one.folder.belongs_to(dataclasses.replace(claim(one.settings), seed=one.seed))
    todo = [one for one in planned if not is_done(one)]
    if todo:
        # Settings of a process that must be there before it imports anything.
        with _environment(_variables(compiled, device)):
            _run_all(todo, records_dir, workers)


def is_done(planned: Planned) -> bool:
    """Whether a run was trained, and probed by the code that there is now."""
    folder = planned.folder
    return folder.has(DONE) and folder.read(DONE) == PROBED


def _run_all(todo: Sequence[Planned], records_dir: str, workers: int) -> None:
    """The runs in processes, with one bar over the steps of all of them."""
    # Not preprocessing's workers: those compute on the CPU alone and end with the first
    # that fails, and here each run has the device, and others go on.
    context = multiprocessing.get_context("spawn")
    waiting = list(reversed(todo))
    running: dict[concurrent.futures.Future, Planned] = {}
    errors: list[BaseException] = []
    steps = dict.fromkeys(todo, 0)
    totals = [_total(one) for one in todo]
    total = None if None in totals else sum(totals)
    bar = tqdm.tqdm(total=total, unit="step", desc="pretraining, all runs")
    pool = concurrent.futures.ProcessPoolExecutor(workers, context, _lock_of_threads)
    with bar, pool:
        while waiting or running:
            # No more than there are processes: nothing in the pool can be taken back.
            while waiting and len(running) < workers:
                one = waiting.pop()
                try:
                    running[pool.submit(_run_one, one, records_dir)] = one
                except process.BrokenProcessPool:  # since it was looked at
                    waiting.clear()
                    errors.append(_killed([one]))
            for job in concurrent.futures.wait(running, LOOK_S, FIRST).done:
                at_work = list(running.values())
                one = running.pop(job)
                steps[one] = _total(one) or _steps_done(one.folder)
                error = job.exception()
                if isinstance(error, process.BrokenProcessPool):
                    waiting.clear()
                    error = _killed(at_work)
                if error:
                    errors.append(error)
                if isinstance(error, KeyboardInterrupt):
                    waiting.clear()
            steps |= {one: _steps_done(one.folder) for one in running.values()}
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


def _total(planned: Planned) -> int | None:
    """Steps of a run; None with epochs, whose steps its records tell once it runs."""
    training = planned.settings.training
    return None if training.steps and training.epochs else training.steps


def _steps_done(folder: RunFolder) -> int:
    lines = journal.read_metrics(folder)
    return max((line["step"] for line in lines if line["kind"] == "train"), default=0)


def _run_one(planned: Planned, records_dir: str) -> None:
    """One run in its process: training, then its probe."""
    folder = str(planned.folder)
    try:
        devices.use(None)
        pretrain.pretrain(planned.settings, records_dir, folder, planned.seed)
        probing.probe(planned.settings, folder)
    except ValueError as error:
        raise ValueError(f"{planned}: {error}") from error
    planned.folder.write(DONE, PROBED)


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


def results(planned: Sequence[Planned]) -> dict[str, dict[int, finished.Run]]:
    """Row -> seed -> metrics, scores and whatever else its run holds.

    Raises:
      ValueError: naming a run that is not done, or whose folder holds another run or a
        damaged file.
    """
    by_row: dict[str, dict[int, finished.Run]] = {}
    for one in planned:
        if not is_done(one):
            raise ValueError(f"{one.folder}: {one} is not done; run the experiment")
        one.folder.belongs_to(Claim(configure.settings(one.settings), one.seed))
        by_row.setdefault(one.row, {})[one.seed] = finished.read(one.folder)
    return by_row


def compare(planned: Sequence[Planned]) -> tuple[contrasted.Measured, ...]:
    """The contrasts that the config names, over all seeds; `contrasted.lines` as text.

    Raises:
      ValueError: as `results`, or if a contrast cannot be measured.
    """
    runs = results(planned)
    settings = planned[0].settings
    return contrasted.measure(
        contrasts.of_experiment(settings, tuple(runs)),
        {
            row: {seed: run.probe for seed, run in by_seed.items() if run.probe}
            for row, by_seed in runs.items()
        },
        settings.probe.bootstrap,
    )
