"""Continued pretraining from the first step to the last, whatever interrupts it.

What is done at a step depends on the settings, the seed and the step alone, so a run
that was killed and started again ends with the same bits as one that was not.
"""

import dataclasses
import functools
import logging
import threading
import time

import jax
import numpy as np

from mmdiffmask.masking import sampling
from mmdiffmask.run_files import START, TRACE
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import (
    checkpoint,
    evaluate,
    journal,
    optim,
    saved,
    scoring,
    steps,
    stopping,
    trace,
    trees,
    writer,
)
from mmdiffmask.training import mesh as meshes
from mmdiffmask.training.family import Batch, Held, Hidden
from mmdiffmask.training.job import Job
from mmdiffmask.training.watch import Watch, Watcher
from mmdiffmask.types import Array

CHECK_EVERY = 10  # updates between looks at their losses: looking waits for devices


def train(
    job: Job,
    folder: RunFolder,
    watch: Watch = Watch(),  # noqa: B008  frozen
) -> checkpoint.Progress:
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
    tracer = trace.Trace(folder.at(TRACE), watch.traced)
    tracer.check(job.settings.steps)
    with folder.claimed(job.owner), checkpoint.open_steps(folder) as manager:
        progress = checkpoint.read_progress(manager)
        if progress is not None and progress.finished:
            checkpoint.tidy(manager, progress)  # it may have been killed before that
            return progress
        journal.note_batch_size(folder, job.batch_size)
        if progress is None:
            job.check_clips()
        job.prepare()
        held, state = _held(job, folder, progress is None)
        with (
            stopping.stop_signal() as stop,
            writer.Writer(manager) as out,
            journal.Journal(folder, watch.has_events) as notes,
            tracer,
        ):
            watcher = Watcher(job, notes, tracer)
            runner = _Runner(job, held, notes, out, stop, watcher)
            if progress is None:
                progress = runner.begin(state)
            else:
                progress = runner.resume(manager, progress, state)
            if not progress.finished:
                progress = runner.go_on(progress)
        if stop.is_set():
            raise stopping.Stopped(f"Step {progress.step} is saved.")
        return progress


def _held(job: Job, folder: RunFolder, is_new: bool) -> tuple[Held, steps.TrainState]:
    """The saved start and what was made from it, or new ones, saved; and a state.

    A new run gets its first state, one that goes on the shapes of a state. Of the
    start only what something reads stays on the devices.
    """
    key = jax.device_put(sampling.seed_key(job.seed), meshes.replicated(job.mesh))
    restore = functools.partial(
        checkpoint.restore_start, folder, job.shapes, job.mesh, job.may_lack
    )
    restored = restore()
    if restored is None:
        if not is_new:
            raise saved.lost(folder, START)
        params = job.start()
        trees.check_same(params, job.shapes, folder, job.may_lack)
        values = job.family.hold(params, job.hold_batches())
        checkpoint.save_start(folder, params, values)
        restored = restore()
    start, values = restored
    held = Held(steps.read_start(job.family, job.settings, start), values, key)
    tx = optim.make(job.settings)
    if is_new:
        return held, steps.first_state(tx, start, job.mesh)
    return held, steps.state_shapes(tx, start)


class _Runner:
    """The run's state and what is done with it at each step."""

    state: steps.TrainState

    def __init__(
        self,
        job: Job,
        held: Held,
        notes: journal.Journal,
        out: writer.Writer,
        stop: threading.Event,
        watcher: Watcher,
    ):
        self.job, self.held, self.out, self.stop = job, held, out, stop
        self.journal, self.watcher = notes, watcher
        self.saved_s = time.monotonic()

    def begin(self, state: steps.TrainState) -> checkpoint.Progress:
        """Evaluates and saves the network that training starts from."""
        self.journal.cut(-1)
        self.state = state
        self.watcher.begin()
        return self.keep(checkpoint.Progress(), 0, is_eval=True)

    def resume(
        self,
        manager: checkpoint.Manager,
        progress: checkpoint.Progress,
        shapes: steps.TrainState,
    ) -> checkpoint.Progress:
        """Takes the saved state up; what was noted after it will be noted again."""
        self.state = checkpoint.restore(manager, shapes, self.job.mesh)
        self.journal.cut(progress.step, progress.is_scored)
        logging.info("goes on after step %d", progress.step)
        if progress.is_scored:
            return progress
        self.watcher.begin()
        is_eval = scoring.is_evaluation_due(self.job.settings, progress.step)
        return self.keep(progress, progress.step, is_eval)

    def keep(
        self, progress: checkpoint.Progress, step: int, is_eval: bool
    ) -> checkpoint.Progress:
        """Scores as far as that is due, and saves; where the run stands then.

        Raises:
          ValueError: for numbers that are not finite, or a save that failed.
          KeyboardInterrupt: after a signal; scoring begins anew then.
        """
        stopping.check_state(self.state, step)
        try:
            scored = self.score(progress, step, is_eval)
        except stopping.Stopped:
            self.watcher.begin()
            unscored = dataclasses.replace(progress, step=step, is_scored=False)
            self.save(unscored)
            raise stopping.Stopped(f"Step {step} is saved.") from None
        self.save(scored)
        return scored

    def save(self, progress: checkpoint.Progress) -> None:
        """Hands the state to the writer."""
        self.journal.flush()  # before: a saved step's lines are on disk
        self.out.save(self.state, progress)
        self.saved_s = time.monotonic()
        self.watcher.lap(progress.step, journal.SAVE)

    def is_save_due(self, step: int) -> bool:
        """By updates or by the clock; when a state is saved changes no number."""
        settings = self.job.settings
        since_s = time.monotonic() - self.saved_s
        is_late = 0 < 60 * settings.save_minutes <= since_s
        return is_late or step % settings.save_every == 0

    def score(
        self, progress: checkpoint.Progress, step: int, is_eval: bool
    ) -> checkpoint.Progress:
        """Notes what is due of the held-out scores and the probe; where the run stands.

        The probe comes last, since a run may end by its scores.
        """
        job, params, number = self.job, self.state.params, None
        if is_eval:
            rows = scoring.held_out(job, self.held, params, step, self.stop)
            kind = {"kind": journal.EVAL}
            self.journal.note([kind | dataclasses.asdict(row) for row in rows])
            self.watcher.lap(step, journal.EVAL)
            number = scoring.judged(job, rows)
        progress = stopping.judge(progress, step, number, job.settings, job.rises)
        if scoring.is_probe_due(job, step, bool(progress.finished)):
            self.journal.note(scoring.read_out(job, params, step, self.stop))
            self.watcher.lap(step, journal.PROBE)
        return progress

    def go_on(self, progress: checkpoint.Progress) -> checkpoint.Progress:
        """Updates, evaluations and saves until the run is finished."""
        job, settings, first = self.job, self.job.settings, progress.step
        train_step = steps.make_train_step(
            job.family, settings, job.mesh, job.draw_live
        )
        watcher = self.watcher
        with watcher.open_bar(first) as bar, job.train_batches(first) as batches:
            pending: list[tuple] = []
            fed = watcher.fed(batches, lambda: self.state.step.is_ready())
            for step, batch, epoch in fed:
                with watcher.tracer.step(step, lambda: self.state):
                    self.state, metrics = train_step(
                        self.state, self.held, batch, self.masks(batch, epoch)
                    )
                pending.append((step, epoch, metrics))
                is_eval = scoring.is_evaluation_due(settings, step)
                is_scored = is_eval or scoring.is_probe_due(job, step, False)
                is_kept = is_scored or self.is_save_due(step) or self.stop.is_set()
                is_due = watcher.is_lap_due(step) or len(pending) >= CHECK_EVERY
                if is_kept or is_due:
                    self.note_updates(pending)
                    pending = []
                if is_kept:
                    progress = self.keep(progress, step, is_eval)
                bar.update()
                if progress.finished:
                    return progress
                if is_kept and self.stop.is_set():
                    raise stopping.Stopped(f"Step {step} is saved.")
        raise AssertionError("training batches ended before the last step")

    def masks(self, batch: Batch, epoch: int) -> Hidden | Array | None:
        """What the update takes: its masks, or the epoch where it draws them itself."""
        job = self.job
        when = jax.device_put(np.int32(epoch), meshes.replicated(job.mesh))
        if job.draw_live is not None:
            return when
        if job.draw_masks is None:
            return None
        draw = steps.make_draw(job.draw_masks, job.mesh)
        return draw(self.held.key, batch, when)

    def note_updates(self, pending: list[tuple]) -> None:
        """Writes the updates' metrics down once they are known to be finite."""
        lines = []
        for step, epoch, metrics in pending:
            values = {k: value.item() for k, value in jax.device_get(metrics).items()}
            ids = functools.partial(self.job.example_ids, step)
            for name in ("loss", *values):
                stopping.check_finite(name, values[name], step, ids)
            evaluate.check_slots(values.pop("dropped", 0), "training")
            lines.append({"kind": journal.TRAIN, "step": step, "epoch": epoch} | values)
        self.journal.note(lines)
        self.watcher.note_updates(pending[-1][0], len(pending), lines[-1]["loss"])
