"""Continued pretraining from the first step to the last, whatever interrupts it.

What is done at a step depends on the settings, the seed and the step alone, so a run
that was killed and started again ends with the same bits as one that was not.
"""

import contextlib
import dataclasses
import logging
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import tqdm
from jax.sharding import Mesh

from mmdiffmask import claims, config
from mmdiffmask.training import (
    checkpoint,
    evaluate,
    evaluate_language,
    journal,
    optim,
    saved,
    steps,
    stopping,
    total,
)
from mmdiffmask.training import objective as objectives
from mmdiffmask.types import VideoBatch

CHECK_EVERY = 10  # updates between looks at their losses: looking waits for devices


@dataclasses.dataclass(frozen=True)
class Job:
    """One run, made of objects (build.py turns settings into them).

    Attributes:
      objective: model, grid, loss settings, seed.
      settings: of training.
      all_settings: dotted names -> values of the whole experiment, for config.json.
      inputs: the content of everything that the run reads, likewise.
      shapes: of the first weights.
      batch_size: of an update; the order of training follows from it.
      mesh: `steps.make_mesh`.
      start: makes the first weights; called only where no start was saved yet.
      noise_batches: training batches that the noise statistics are taken over.
      train_batches: first step -> batches from there on, each with its epoch.
      dev_batches: the held-out batches, the same ones at every call.
      draw_masks: the run's own masks; None: nothing is hidden.
      eval_masks: kind of held-out masks -> how they are drawn.
      own_masks: the kind whose dev loss stops the run and picks the best step; a
        name among `eval_masks` unless `draw_masks` is None.
      word_class: class of each entry of the objective's vocabulary.
      is_trained: False: the start is evaluated and nothing else (strategy `none`).
    """

    objective: objectives.Objective
    settings: config.Training
    all_settings: dict[str, Any]
    inputs: claims.Inputs
    shapes: objectives.Params
    batch_size: int
    mesh: Mesh
    start: Callable[[], objectives.Params]
    noise_batches: Callable[[], Iterable[VideoBatch]]
    train_batches: Callable[
        [int], contextlib.AbstractContextManager[Iterator[tuple[VideoBatch, int]]]
    ]
    dev_batches: Callable[[], contextlib.AbstractContextManager[Iterable[VideoBatch]]]
    draw_masks: steps.DrawMasks | None
    eval_masks: dict[str, steps.DrawMasks]
    own_masks: str
    word_class: tuple[str, ...] = ()
    is_trained: bool = True


def train(job: Job, run_dir: str | pathlib.Path) -> checkpoint.Progress:
    """Runs, or goes on with, or returns at once from, the run in `run_dir`.

    Returns:
      Where the run ended.

    Raises:
      ValueError: for settings that do not fit together, a folder that holds another
        run, has lost a part of this one or had another batch size, or numbers that are
        not finite (with their step).
      KeyboardInterrupt: after SIGTERM or SIGINT, with the state saved.
    """
    optim.check(job.settings)
    own = (run_dir, job.all_settings, job.objective.seed, job.inputs)
    with claims.claimed(*own), checkpoint.open_steps(run_dir) as manager:
        progress = checkpoint.read_progress(manager)
        if progress is not None and progress.finished:
            return progress
        journal.note_batch_size(run_dir, job.batch_size)
        frozen = _frozen(job, pathlib.Path(run_dir), progress is None)
        runner = _Runner(job, pathlib.Path(run_dir), manager, frozen)
        if progress is None:
            progress = runner.begin()
        else:
            runner.resume(progress)
        if not progress.finished:
            progress = runner.go_on(progress)
        return progress


def _frozen(job: Job, run_dir: pathlib.Path, is_new: bool) -> objectives.Frozen:
    """The saved start and noise, or new ones, saved."""
    frozen = checkpoint.restore_start(run_dir, job.shapes, job.mesh)
    if frozen is not None:
        return frozen
    if not is_new:
        raise saved.lost(run_dir, checkpoint.START)
    params = job.start()
    checkpoint.check_same(params, job.shapes, run_dir)
    mean, sd = objectives.embedding_statistics(
        job.objective.model, params, job.noise_batches()
    )
    checkpoint.save_start(run_dir, objectives.Frozen(params, mean, sd))
    return checkpoint.restore_start(run_dir, job.shapes, job.mesh)


class _Runner:
    """The run's state and what is done with it at each step."""

    def __init__(self, job: Job, run_dir: pathlib.Path, manager, frozen):
        self.job, self.manager, self.frozen = job, manager, frozen
        self.journal = journal.Journal(run_dir)
        self.tx = optim.make(job.settings)
        self.state = steps.first_state(self.tx, frozen.start, job.mesh)
        self.eval_step = steps.make_eval_step(job.objective, job.mesh)
        self.language_step = evaluate_language.make_step(job.objective, job.mesh)
        self.weights = total.language_weights(job.settings, job.objective.reserve)
        self.draws = {
            kind: steps.make_draw(draw, job.mesh)
            for kind, draw in job.eval_masks.items()
        }

    def begin(self) -> checkpoint.Progress:
        """Evaluates and saves the network that training starts from."""
        self.journal.cut(-1)
        loss = self.score(0)
        progress = stopping.judge(checkpoint.Progress(), 0, loss, self.job.settings)
        if not self.job.is_trained:
            progress = dataclasses.replace(progress, finished="no training")
        checkpoint.save(self.manager, self.state, progress)
        return progress

    def resume(self, progress: checkpoint.Progress) -> None:
        """Takes the saved state up; what was noted after it will be noted again."""
        self.state = checkpoint.restore(self.manager, self.state, self.job.mesh)
        self.journal.cut(progress.step)
        logging.info("goes on after step %d", progress.step)

    def score(self, step: int) -> float | None:
        """Notes the held-out scores; returns the run's own dev loss."""
        began = time.monotonic()
        with self.job.dev_batches() as batches:
            rows = evaluate.evaluate(
                self.eval_step,
                self.draws,
                self.state.params,
                self.frozen,
                batches,
                step,
                self.job.objective.seed,
            )
        if self.weights:
            rows += self.score_language(step)
        for row in rows:
            if row.value is not None:
                stopping.check_finite(f"{row.metric} of {row.masks}", row.value, step)
        self.journal.note([{"kind": "eval"} | dataclasses.asdict(row) for row in rows])
        self.journal.note_time(step, "eval", time.monotonic() - began)
        if not self.job.is_trained:
            return None
        loss = evaluate_language.total_loss(rows, self.weights)
        if self.job.draw_masks is not None:
            weight = total.patch_weight(self.job.settings, self.job.objective.reserve)
            loss += weight * evaluate.value_of(rows, self.job.own_masks, "loss")
        return loss

    def score_language(self, step: int) -> list[evaluate.Row]:
        """Held-out scores of the language terms."""
        with self.job.dev_batches() as batches:
            return evaluate_language.rows(
                self.language_step,
                self.state.params,
                batches,
                self.job.word_class,
                step,
                self.job.objective.seed,
            )

    def go_on(self, progress: checkpoint.Progress) -> checkpoint.Progress:
        """Updates, evaluations and saves until the run is finished."""
        settings, first = self.job.settings, progress.step
        train_step = steps.make_train_step(
            self.job.objective, self.tx, self.job.draw_masks, self.job.mesh
        )
        bar = tqdm.tqdm(initial=first, total=settings.steps, unit="step", leave=False)
        with (
            stopping.stop_signal() as stop,
            bar,
            self.job.train_batches(first) as batches,
        ):
            pending, began = [], time.monotonic()
            for batch, epoch in batches:
                self.state, metrics = train_step(
                    self.state, self.frozen, batch, np.int32(epoch)
                )
                step = progress.step + 1
                pending.append((step, epoch, metrics))
                is_eval = step % settings.eval_every == 0 or step == settings.steps
                is_stop = stop.is_set()  # read once: what it asks for is saved below
                is_save = is_eval or step % settings.save_every == 0 or is_stop
                if is_save or len(pending) >= CHECK_EVERY:
                    began = self.note_updates(pending, began, bar)
                    pending = []
                if is_save:
                    stopping.check_state(self.state, step)
                loss = self.score(step) if is_eval else None
                progress = stopping.judge(progress, step, loss, settings)
                if is_save:
                    self.journal.flush()  # before: a saved step's lines are on disk
                    checkpoint.save(self.manager, self.state, progress)
                    began = time.monotonic()  # s/step leaves evaluation and saving out
                bar.update()
                if progress.finished:
                    return progress
                if is_stop:
                    raise KeyboardInterrupt(f"Step {step} is saved.")
        raise AssertionError("training batches ended before the last step")

    def note_updates(self, pending: list, began: float, bar: tqdm.tqdm) -> float:
        """Writes the updates' metrics down once they are known to be finite."""
        lines = []
        for step, epoch, metrics in pending:
            values = {name: np.asarray(value).item() for name, value in metrics.items()}
            for name in ("loss", *values):
                stopping.check_finite(name, values[name], step)
            evaluate.check_slots(values.pop("dropped", 0), "training")
            lines.append({"kind": "train", "step": step, "epoch": epoch} | values)
        self.journal.note(lines)
        now = time.monotonic()
        self.journal.note_time(pending[-1][0], "train", now - began, len(pending))
        bar.set_postfix(loss=f"{lines[-1]['loss']:.3f}", refresh=False)
        return now
