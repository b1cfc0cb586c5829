"""The demo: renders toy records, trains the rows on them, and writes the report."""

import contextlib
import dataclasses
import logging
import pathlib
import time
from collections.abc import Iterator

from mmdiffmask import config, settings_json, toy_records, versions
from mmdiffmask.experiment import plan, runs
from mmdiffmask.report import collect
from mmdiffmask.run_files import STAGE_SECONDS
from mmdiffmask.run_folder import RunFolder

WORKERS = 2
IDLE_S = 10.0  # a stage that took less found its work done: no time of that work


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
        # Many small updates, since what is hidden is told from the text stream alone,
        # at a rate that leaves the start able to do what it could (toy_results.md).
        training=config.Training(
            steps=200,
            batch_size=8,
            lr=3e-4,
            warmup_steps=20,
            streams=("text",),
            eval_every=100,
            eval_clips=64,
            save_every=100,
            early_stopping=False,
        ),
        # The start's own terms, but for questions: no answer is ever trained on.
        terms=config.Terms(
            patches=4.0,
            imgs_to_audio=1.0,
            text_to_audio=1.0,
            stuff_to_span=1.0,
            closed_span=1.0,
            pooled_cells=1.0,
        ),
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


def run(root: pathlib.Path, workers: int | None = None) -> pathlib.Path:
    """Does whatever is not done yet; returns the absolute path of the report.

    Results are kept under names that change with settings and code, so a second call
    takes seconds and a call after a change redoes just what the change touches.

    Args:
      root: where data and runs go.
      workers: runs at a time, which changes no number; None: two.

    Raises:
      ValueError: if there is to be none.
    """
    workers = WORKERS if workers is None else workers
    if workers < 1:
        raise ValueError(f"--workers {workers}: at least 1")
    experiment = get_config()
    clock = _Clock()
    with clock.stage("render, find boxes, write records"):
        records_dir = toy_records.make(experiment, root)
    key = settings_json.fingerprint(experiment, versions.number("records", "training"))
    workdir = root / "runs" / f"demo-{key}"
    with clock.stage("pretrain and probe every row"):
        runs.run(
            plan.plan(experiment, workdir),
            records_dir,
            workers=workers,
            compiled=root / "data" / "compiled",
        )
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
