"""The demo: renders toy records, trains the rows on them, and writes the report."""

import concurrent.futures
import contextlib
import dataclasses
import logging
import multiprocessing
import os
import pathlib
import time
from collections.abc import Iterator

import tqdm

from mmdiffmask import build, config, configure, examples, runs, versions
from mmdiffmask.probe import run as probing
from mmdiffmask.report import collect
from mmdiffmask.run_files import DONE, STAGE_SECONDS
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import journal

WORKERS = 2
IDLE_S = 10.0  # a stage that took less found its work done: no time of that work
SEED = 0
PROBED = versions.number("features", "heads")
# One thread a process: two of them share two cores better than their threads would.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "TQDM_DISABLE": "1",  # the parent shows one bar for all
}


def get_config() -> config.Experiment:
    """The demo's settings: numbers chosen so that 15 minutes on 2 cores suffice."""
    return config.Experiment(
        name="demo",
        data=config.Data(
            toy=config.Toy(train_clips=420, val_clips=300, boxed_clips=180),
            sub_segments=1,
            rows=6,
            cols=10,
            min_overlap=0.25,
            text_length=64,
        ),
        model=dataclasses.replace(
            config.MODELS["small"], vocabulary=512, checkpoint="small"
        ),
        training=config.Training(
            steps=50,
            batch_size=16,
            lr=5e-4,
            warmup_steps=10,
            eval_every=25,
            eval_clips=64,
            save_every=25,
            early_stopping=False,
        ),
        # The start's own terms, but for questions: no answer is ever trained on.
        terms=config.Terms(*[1.0] * len(dataclasses.fields(config.Terms))),
        reserve=config.Reserve(clips=4, words="toy"),
        probe=config.Probe(
            read_outs=("clip", "match"),
            kinds=config.TOY_KINDS,
            questions=300,
            eval_questions=450,
            floors=False,  # they would double the minutes that reading out takes
            checkpoint="last",
        ),
        rows=(
            "none: training.steps=0",
            "replay: terms.patches=0",
            "random: masking.strategy=random",
            "difference: masking.strategy=difference",
        ),
    )


def make_records(experiment: config.Experiment, root: pathlib.Path) -> str:
    """The folder of the config's own records, under `root`/data; made if absent.

    Its name changes with the settings and with the number of the code that makes
    records.

    Raises:
      ValueError: if the config has no data of its own.
    """
    data = experiment.data
    if data.toy is None:
        raise ValueError(
            f"config {experiment.name} has no data of its own: name records, --data DIR"
        )
    # Only here and in the command line: the package works without preprocessing.
    from preprocessing import build as preprocessing
    from preprocessing import items

    geometry = {name: getattr(data, name) for name in build.OF_RECORDS}
    key = configure.fingerprint(
        configure.to_json(data.toy), str(geometry), versions.number("records")
    )
    folder = root / "data" / f"toy-{data.toy.domain}-{key}"
    settings = items.Settings(
        examples.patch_grid(data),
        data.segments,
        data.sub_segments,
        boxed_clips=data.toy.boxed_clips,
    )
    toy = data.toy
    preprocessing.build_toy(
        folder / "raw",
        folder / "records",
        settings,
        worker_count=WORKERS,
        domain=toy.domain,
        train_clips=toy.train_clips,
        val_clips=toy.val_clips,
        seed=toy.seed,
    )
    return str(folder / "records")


def run(root: pathlib.Path) -> pathlib.Path:
    """Does whatever is not done yet; returns the absolute path of the report.

    Results are kept under names that change with settings and code, so a second call
    takes seconds and a call after a change redoes just what the change touches.
    """
    experiment = get_config()
    clock = _Clock()
    with clock.stage("render, find boxes, write records"):
        records_dir = make_records(experiment, root)
    key = configure.fingerprint(experiment, versions.number("records", "training"))
    workdir = root / "runs" / f"demo-{key}"
    workdir.mkdir(parents=True, exist_ok=True)
    with clock.stage("pretrain and probe every row"):
        _run_rows(experiment, records_dir, workdir)
    folder = RunFolder(workdir)
    known = folder.read(STAGE_SECONDS) if folder.has(STAGE_SECONDS) else {}
    times = {k: v for k, v in clock.seconds.items() if v > IDLE_S} | known
    folder.write(STAGE_SECONDS, times)
    logging.info("writing the report")
    return collect.write_page(workdir)


class _Clock:
    """Seconds of each stage, and a line on stderr when it begins."""

    def __init__(self):
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        logging.info("%s", name)
        began = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - began, 1)


def rows(experiment: config.Experiment) -> dict[str, config.Experiment]:
    """Name of a row's folder -> its settings."""
    return configure.rows(experiment)


def _run_rows(
    experiment: config.Experiment, records_dir: str, workdir: pathlib.Path
) -> None:
    """Every row in a process of its own, two at a time."""
    cells = {RunFolder(workdir / name): cell for name, cell in rows(experiment).items()}
    todo = {
        folder: cell for folder, cell in cells.items() if not _is_done(cell, folder)
    }
    if not todo:
        return
    # Not preprocessing's workers: those compute on the CPU alone and end with the first
    # that fails, and here each row has the device, and ends what it began. The settings
    # are inherited by the processes, which start afresh.
    os.environ.update(ONE_THREAD)
    compiled = workdir.parent.parent / "data" / "compiled"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(compiled.resolve()))
    context = multiprocessing.get_context("spawn")
    total = sum(cell.training.steps for cell in todo.values())
    bar = tqdm.tqdm(total=total, unit="step", desc="pretraining, all rows")
    with concurrent.futures.ProcessPoolExecutor(WORKERS, context) as pool, bar:
        jobs = [
            pool.submit(_run_row, cell, records_dir, str(folder))
            for folder, cell in todo.items()
        ]
        waiting = set(jobs)
        while waiting:
            _, waiting = concurrent.futures.wait(waiting, timeout=2)
            bar.n = sum(_steps_done(folder) for folder in todo)
            bar.refresh()
        for job in jobs:
            job.result()


def _is_done(cell: config.Experiment, folder: RunFolder) -> bool:
    return folder.has(DONE) and folder.read(DONE) == PROBED


def _steps_done(folder: RunFolder) -> int:
    lines = journal.read_metrics(folder)
    return max((x["step"] for x in lines if x["kind"] == "train"), default=0)


def _run_row(experiment: config.Experiment, records_dir: str, folder: str) -> None:
    """One row in its process: training, then its probe."""
    runs.pretrain(experiment, records_dir, folder, SEED)
    probing.probe(experiment, folder)
    RunFolder(folder).write(DONE, PROBED)
