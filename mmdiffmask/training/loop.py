"""Continued pretraining from the first step to the last, whatever interrupts it.

What is done at a step depends on the settings, the seed and the step alone, so a run
that was killed and started again ends with the same bits as one that was not.
"""

import contextlib
import dataclasses
import logging
import pathlib
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np
import tqdm
from jax.sharding import Mesh

from mmdiffmask import config
from mmdiffmask.training import (
    checkpoint,
    evaluate,
    evaluate_language,
    journal,
    optim,
    steps,
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
      mesh: `steps.make_mesh`.
      start: makes the first weights; called only where no start was saved yet.
      noise_batches: training batches that the noise statistics are taken over.
      train_batches: first step -> batches from there on, each with its epoch.
      dev_batches: the held-out batches, the same ones at every call.
      draw_masks: the run's own masks; None: nothing is hidden.
      eval_masks: strategy -> how its held-out masks are drawn.
      own_masks: the strategy whose dev loss stops the run and picks the best step; a
        name among `eval_masks` unless `draw_masks` is None.
      word_class: class of each entry of the objective's vocabulary.
      is_trained: False: the start is evaluated and nothing else (strategy `none`).
    """

    objective: objectives.Objective
    settings: config.Training
    all_settings: dict[str, Any]
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
        run, or a loss that is not finite (with its step).
      KeyboardInterrupt: after SIGTERM or SIGINT, with the state saved.
    """
    optim.check(job.settings)
    checkpoint.claim(run_dir, job.all_settings, job.objective.seed)
    with checkpoint.open_steps(run_dir) as manager:
        progress = checkpoint.read_progress(manager)
        if progress is not None and progress.finished:
            return progress
        frozen = _frozen(job, run_dir)
        runner = _Runner(job, pathlib.Path(run_dir), manager, frozen)
        if progress is None:
            progress = runner.begin()
        else:
            runner.resume(progress)
        if not progress.finished:
            progress = runner.go_on(progress)
        return progress


def _frozen(job: Job, run_dir: str | pathlib.Path) -> objectives.Frozen:
    """The saved start and noise, or new ones, saved."""
    shapes = jax.eval_shape(job.start)
    frozen = checkpoint.restore_start(run_dir, shapes, job.mesh)
    if frozen is not None:
        return frozen
    params = job.start()
    checkpoint.check_same(params, shapes, run_dir)
    mean, sd = objectives.embedding_statistics(
        job.objective.model, params, job.noise_batches()
    )
    checkpoint.save_start(run_dir, objectives.Frozen(params, mean, sd))
    return checkpoint.restore_start(run_dir, shapes, job.mesh)


def judge(
    progress: checkpoint.Progress,
    step: int,
    dev_loss: float | None,
    settings: config.Training,
) -> checkpoint.Progress:
    """Where a run stands after `step`; the rule of early stopping.

    Stops after `patience` evaluations in a row without a dev loss below the best.

    Args:
      progress: before.
      step: updates done now.
      dev_loss: if it was evaluated at this step.
      settings: steps, patience, early_stopping.
    """
    progress = dataclasses.replace(progress, step=step)
    if dev_loss is not None:
        if progress.best_loss is None or dev_loss < progress.best_loss:
            progress = dataclasses.replace(
                progress, best_step=step, best_loss=dev_loss, bad_evaluations=0
            )
        else:
            bad = progress.bad_evaluations + 1
            progress = dataclasses.replace(progress, bad_evaluations=bad)
    is_bad = progress.bad_evaluations >= settings.patience
    if settings.early_stopping and dev_loss is not None and is_bad:
        return dataclasses.replace(progress, finished="early stopping")
    if step >= settings.steps:
        return dataclasses.replace(progress, finished="steps")
    return progress


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
        progress = judge(checkpoint.Progress(), 0, loss, self.job.settings)
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
        with stop_signal() as stop, bar, self.job.train_batches(first) as batches:
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
                loss = self.score(step) if is_eval else None
                progress = judge(progress, step, loss, settings)
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
            if not np.isfinite(values["loss"]):
                raise ValueError(
                    f"the loss at step {step} is {values['loss']}; lower training.lr or"
                    " raise training.warmup_steps, and start in a new --workdir"
                )
            evaluate.check_slots(values.pop("dropped", 0), "training")
            lines.append({"kind": "train", "step": step, "epoch": epoch} | values)
        self.journal.note(lines)
        now = time.monotonic()
        self.journal.note_time(pending[-1][0], "train", now - began, len(pending))
        bar.set_postfix(loss=f"{lines[-1]['loss']:.3f}", refresh=False)
        return now


@contextlib.contextmanager
def stop_signal() -> Iterator[threading.Event]:
    """An event that the first SIGTERM or SIGINT sets; a second one acts as usual."""
    event, old = threading.Event(), {}
    if threading.current_thread() is not threading.main_thread():
        yield event  # handlers can only be set in the main thread
        return

    def handle(number, _):
        event.set()
        signal.signal(number, old[number])

    for number in (signal.SIGTERM, signal.SIGINT):
        old[number] = signal.signal(number, handle)
    try:
        yield event
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
