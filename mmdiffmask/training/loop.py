"""Continued pretraining from the first step to the last, whatever interrupts it.

What is done at a step depends on the settings, the seed and the step alone, so a run
that was killed and started again ends with the same bits as one that was not.
"""

import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Iterable, Iterator

import jax
import numpy as np
import tqdm
from jax.sharding import Mesh

from mmdiffmask import config
from mmdiffmask.inputs import Claim
from mmdiffmask.masking import sampling
from mmdiffmask.run_files import START
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import (
    checkpoint,
    evaluate,
    journal,
    optim,
    saved,
    steps,
    stopping,
)
from mmdiffmask.training import mesh as meshes
from mmdiffmask.training.family import Batch, Family, Held, Params
from mmdiffmask.types import Array

CHECK_EVERY = 10  # updates between looks at their losses: looking waits for devices


@dataclasses.dataclass(frozen=True)
class Job:
    """One run, made of objects (build.py turns settings into them).

    Attributes:
      family: what is trained.
      owner: what the run is, for config.json: all settings, the seed, what it reads.
      settings: of training.
      shapes: of the first weights.
      batch_size: of an update; the order of training follows from it.
      mesh: `mesh.make`.
      start: makes the first weights; called only where no start was saved yet.
      hold_batches: training batches that `Family.hold` goes over.
      train_batches: first step -> batches from there on, each with its epoch.
      dev_batches: the held-out batches, the same ones at every call.
      draw_masks: the run's own masks; None where the family masks nothing.
      eval_masks: strategy -> batch -> what its held-out masks hide.
      own_masks: the strategy whose dev loss stops the run and picks the best step; a
        name among `eval_masks` unless `draw_masks` is None.
    """

    family: Family
    owner: Claim
    settings: config.Training
    shapes: Params
    batch_size: int
    mesh: Mesh
    start: Callable[[], Params]
    hold_batches: Callable[[], Iterable[Batch]]
    train_batches: Callable[
        [int], contextlib.AbstractContextManager[Iterator[tuple[Batch, int]]]
    ]
    dev_batches: Callable[[], contextlib.AbstractContextManager[Iterable[Batch]]]
    draw_masks: steps.DrawMasks | None
    eval_masks: dict[str, Callable[[Batch], Array]]
    own_masks: str

    @property
    def seed(self) -> int:
        """Of the run."""
        return self.owner.seed


def train(job: Job, folder: RunFolder) -> checkpoint.Progress:
    """Runs, or goes on with, or returns at once from, the run in a folder.

    Returns:
      Where the run ended.

    Raises:
      ValueError: for settings that do not fit together, a folder that holds another
        run, has lost a part of this one or had another batch size, or numbers that are
        not finite (with their step).
      KeyboardInterrupt: after SIGTERM or SIGINT, with the state saved.
    """
    optim.check(job.settings)
    with folder.claimed(job.owner), checkpoint.open_steps(folder) as manager:
        progress = checkpoint.read_progress(manager)
        if progress is not None and progress.finished:
            return progress
        journal.note_batch_size(folder, job.batch_size)
        held = _held(job, folder, progress is None)
        runner = _Runner(job, folder, manager, held)
        if progress is None:
            progress = runner.begin()
        else:
            runner.resume(progress)
        if not progress.finished:
            progress = runner.go_on(progress)
        return progress


def _held(job: Job, folder: RunFolder, is_new: bool) -> Held:
    """The saved start and what was made from it, or new ones, saved."""
    key = jax.device_put(sampling.seed_key(job.seed), meshes.replicated(job.mesh))
    start = checkpoint.restore_start(folder, job.shapes, job.mesh)
    if start is not None:
        return Held(*start, key)
    if not is_new:
        raise saved.lost(folder, START)
    params = job.start()
    checkpoint.check_same(params, job.shapes, folder)
    values = job.family.hold(params, job.hold_batches())
    checkpoint.save_start(folder, params, values)
    return Held(*checkpoint.restore_start(folder, job.shapes, job.mesh), key)


class _Runner:
    """The run's state and what is done with it at each step."""

    def __init__(
        self,
        job: Job,
        folder: RunFolder,
        manager: checkpoint.Manager,
        held: Held,
    ):
        self.job, self.manager, self.held = job, manager, held
        self.journal = journal.Journal(folder)
        tx = optim.make(job.settings)
        self.state = steps.first_state(tx, held.start, job.mesh)

    def begin(self) -> checkpoint.Progress:
        """Evaluates and saves the network that training starts from."""
        self.journal.cut(-1)
        loss = self.score(0)
        progress = stopping.judge(checkpoint.Progress(), 0, loss, self.job.settings)
        checkpoint.save(self.manager, self.state, progress)
        return progress

    def resume(self, progress: checkpoint.Progress) -> None:
        """Takes the saved state up; what was noted after it will be noted again."""
        self.state = checkpoint.restore(self.manager, self.state, self.job.mesh)
        self.journal.cut(progress.step)
        logging.info("goes on after step %d", progress.step)

    def score(self, step: int) -> float:
        """Notes the held-out scores; returns the run's own dev loss."""
        began = time.monotonic()
        rows = self.score_masked(step) + self.score_unmasked(step)
        for row in rows:
            if row.value is not None:
                stopping.check_finite(f"{row.metric} of {row.masks}", row.value, step)
        self.journal.note([{"kind": "eval"} | dataclasses.asdict(row) for row in rows])
        self.journal.note_time(step, "eval", time.monotonic() - began)
        loss, family = 0.0, self.job.family
        for name, weight in family.weights.items():
            if name == family.masked:
                value = evaluate.value_of(rows, self.job.own_masks, "loss")
            else:
                value = evaluate.value_of(rows, evaluate.OTHERS, f"loss_{name}")
            loss += weight * value
        return loss

    def score_masked(self, step: int) -> list[evaluate.Row]:
        """Held-out scores under masks of every kind."""
        job = self.job
        score_step = steps.make_score_step(job.family, job.mesh)
        with job.dev_batches() as batches:
            return evaluate.masked(
                score_step,
                job.eval_masks,
                self.state.params,
                self.held,
                batches,
                step,
                job.seed,
            )

    def score_unmasked(self, step: int) -> list[evaluate.Row]:
        """Held-out scores that need no masks."""
        job = self.job
        if job.family.others is None:
            return []
        others_step = steps.make_others_step(job.family, job.mesh)
        with job.dev_batches() as batches:
            return evaluate.unmasked(
                others_step, self.state.params, self.held, batches, step, job.seed
            )

    def go_on(self, progress: checkpoint.Progress) -> checkpoint.Progress:
        """Updates, evaluations and saves until the run is finished."""
        settings, first = self.job.settings, progress.step
        job = self.job
        train_step = steps.make_train_step(job.family, settings, job.mesh)
        draw = None
        if job.draw_masks is not None:
            draw = steps.make_draw(job.draw_masks, job.mesh)
        bar = tqdm.tqdm(initial=first, total=settings.steps, unit="step", leave=False)
        with (
            stopping.stop_signal() as stop,
            bar,
            self.job.train_batches(first) as batches,
        ):
            pending, began = [], time.monotonic()
            for batch, epoch in batches:
                is_masked = draw and draw(self.held.key, batch, np.int32(epoch))
                self.state, metrics = train_step(
                    self.state, self.held, batch, is_masked
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
