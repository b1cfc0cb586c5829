"""How a run is watched: its laps, its progress line, and what was asked for beside."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import tqdm

from mmdiffmask.training import journal, meter, trace
from mmdiffmask.training.family import Batch
from mmdiffmask.training.job import Job

# tqdm's own rate and time left would count evaluations and compiling as updates.
BAR = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"


@dataclasses.dataclass(frozen=True)
class Watch:
    """What is recorded of a run on request; changes nothing of it.

    Attributes:
      has_events: events for TensorBoard.
      traced: updates that the profiler records; None: none.
    """

    has_events: bool = False
    traced: trace.Steps | None = None


class Watcher:
    """Clock, profiler and progress line of a run.

    Args:
      job: the run.
      notes: where laps are noted.
      tracer: the profiler.
    """

    def __init__(self, job: Job, notes: journal.Journal, tracer: trace.Trace):
        self._job, self._notes, self.tracer = job, notes, tracer
        self._meter = meter.Meter(job.settings)
        self._first = 0  # updates that were done before those of this process
        self.bar: tqdm.tqdm | None = None

    def begin(self) -> None:
        """Begins a lap; what came since the last one is not counted."""
        self._meter.begin()

    def lap(self, step: int, kind: str, updates: int = 0) -> meter.Lap:
        """Ends a lap at `step` and notes it."""
        lap = self._meter.lap(kind, updates)
        self._notes.note_time(step, kind, lap)
        return lap

    def open_bar(self, first: int) -> tqdm.tqdm:
        """The progress line of a process that goes on after `first` updates."""
        self._first = first
        self.tracer.warn_if_past(first)
        total = self._job.settings.steps
        self.bar = tqdm.tqdm(initial=first, total=total, leave=False, bar_format=BAR)
        self.begin()
        return self.bar

    def fed(
        self, batches: Iterable[tuple[Batch, int]], is_drained: Callable[[], bool]
    ) -> Iterator[tuple[int, Batch, int]]:
        """(update, batch, epoch), from the first one on; see `meter.Meter.fed`."""
        fed: Iterator[Any] = self._meter.fed(batches, is_drained)
        for step, (batch, epoch) in enumerate(fed, self._first + 1):
            if step == self._first + 1:
                self._meter.update = meter.update_of(self._job, batch)
            yield step, batch, epoch

    def is_lap_due(self, step: int) -> bool:
        """Whether the update after this one is of another kind."""
        return step == self._first + 1 or self.tracer.is_edge(step)

    def note_updates(self, last: int, count: int, loss: float) -> None:
        """Ends the lap of so many updates, all of one kind, and renews the line."""
        kind = journal.TRAIN
        if last == self._first + 1:
            kind = journal.COMPILE
        elif self.tracer.covers(last):
            kind = journal.TRACE
        lap = self.lap(last, kind, count)
        words = f"loss {loss:.3f}"
        if kind == journal.TRAIN:
            words += ", " + meter.line(lap, self._meter.left_s(last))
        self.bar.set_postfix_str(words, refresh=False)
