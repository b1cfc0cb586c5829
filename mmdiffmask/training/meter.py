"""From time stamps to rates: how fast a run trains, and where its seconds go."""

import collections
import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import tqdm

from mmdiffmask import config, devices
from mmdiffmask.training.family import Batch
from mmdiffmask.training.job import Job
from mmdiffmask.training.journal import EVAL, PROBE, SAVE, TRAIN

Lap = dict[str, float | int]  # what times.jsonl says of a stretch of time
SHORTEST_S = 1e-9  # a clock may stand still between two looks


@dataclasses.dataclass(frozen=True)
class Update:
    """What one update is.

    Attributes:
      examples: of its batch.
      flop: that its loss asks for, without rematerialisation; None: not counted.
      peak_flop_s: of all devices together, in bfloat16; None: not known.
    """

    examples: int
    flop: int | None = None
    peak_flop_s: float | None = None


def update_of(job: Job, batch: Batch) -> Update:
    """What an update with batches like this one is."""
    peak = devices.peak_flop_s(one.device_kind for one in job.mesh.devices.flat)
    count = job.family.flop
    return Update(job.batch_size, None if count is None else count(batch), peak)


class Meter:
    """Cuts the seconds of a process that trains into laps, each of one kind.

    The first update, which waits for the compiler, evaluations, probes, saves and
    updates under the profiler have laps of their own: rates are those of the remaining
    updates.

    Attributes:
      update: what one update is; known once there is a batch.
    """

    def __init__(
        self, settings: config.Training, clock: Callable[[], float] = time.monotonic
    ):
        self._settings, self._clock = settings, clock
        self._seconds: dict[str, float] = collections.defaultdict(float)
        self._last: dict[str, float] = {}
        self._updates = 0  # in laps of kind TRAIN
        self.update = Update(0)
        self.begin()

    def begin(self) -> None:
        """Begins a lap; what came since the last one is not counted."""
        self._began, self._blocked_s, self._idle_s = self._clock(), 0.0, 0.0

    def lap(self, kind: str, updates: int = 0) -> Lap:
        """Ends a lap; the next one begins.

        Returns:
          seconds, share (of the kind, in this process's laps so far), updates if there
          are any; for a lap of kind TRAIN also steps_per_s, examples_per_s, mfu if a
          peak is known, input_wait_s, input_wait (its share of the lap's seconds) and
          input_blocked_s: see `fed`.
        """
        seconds = max(self._clock() - self._began, SHORTEST_S)
        self._seconds[kind] += seconds
        self._last[kind] = seconds
        share = self._seconds[kind] / sum(self._seconds.values())
        lap: Lap = {"seconds": round(seconds, 4), "share": round(share, 4)}
        if updates:
            lap["updates"] = updates
        if kind == TRAIN:
            self._updates += updates
            lap |= self._rates(updates / seconds)
            lap["input_wait_s"] = round(self._idle_s, 4)
            lap["input_wait"] = round(self._idle_s / seconds, 4)
            lap["input_blocked_s"] = round(self._blocked_s, 4)
        self.begin()
        return lap

    def _rates(self, steps_per_s: float) -> Lap:
        update = self.update
        rates = {
            "steps_per_s": steps_per_s,
            "examples_per_s": steps_per_s * update.examples,
        }
        if update.flop is not None and update.peak_flop_s is not None:
            rates["mfu"] = steps_per_s * update.flop / update.peak_flop_s
        return {name: float(f"{value:.4g}") for name, value in rates.items()}

    def fed(
        self, batches: Iterable[Any], is_drained: Callable[[], bool]
    ) -> Iterator[Any]:
        """The batches, while it is noted how long each one is waited for.

        `input_blocked_s` is the time in which the main thread waits for the next batch.
        Devices may have work left then: updates are handed to them ahead. So
        `input_wait_s` counts of these waits only those at whose end all updates handed
        over are done. A device that runs dry during a wait has it counted whole: the
        number is an upper bound of what the input costs.

        Args:
          batches: to wait for.
          is_drained: whether the devices have nothing left to do; must not wait.
        """
        iterator = iter(batches)
        while True:
            began = self._clock()
            try:
                batch = next(iterator)
            except StopIteration:
                return
            waited = self._clock() - began
            self._blocked_s += waited
            if is_drained():
                self._idle_s += waited
            yield batch

    def left_s(self, step: int) -> float | None:
        """Seconds to the last step, with the evaluations, probes and saves on the way.

        At the mean rate of this process, and with the seconds of the last one of
        each of these. None before the first lap of kind TRAIN. Early stopping may end
        the run before.
        """
        if not self._updates:
            return None
        updates = self._settings.steps - step
        return updates * self._seconds[TRAIN] / self._updates + sum(
            count * self._last.get(kind, 0.0)
            for kind, count in _still_due(self._settings, step).items()
        )


def _still_due(settings: config.Training, step: int) -> dict[str, int]:
    """Evaluations, probes and saves after a step; the former two are saved as well."""
    every = {EVAL: (settings.eval_every,)}
    every[PROBE] = (settings.probe_every,) if settings.probe_every else ()
    every[SAVE] = (settings.save_every, *every[EVAL], *every[PROBE])
    return {
        kind: _due(periods, step, settings.steps) for kind, periods in every.items()
    }


def _due(periods: Sequence[int], step: int, last: int) -> int:
    """Steps after `step` that are a multiple of any period, or the last one."""
    count = 0
    for size in range(1, len(periods) + 1):
        for some in itertools.combinations(periods, size):
            both = math.lcm(*some)
            count -= (-1) ** size * (last // both - step // both)
    is_extra = all(last % period for period in periods) and step < last
    return count + (is_extra and bool(periods))


def line(lap: Lap, left_s: float | None) -> str:
    """A lap of kind TRAIN in words, for the progress line.

    Example: `1.23 steps/s, 9.84 examples/s, MFU 31%, input 0%, 1:03:20 left`.
    """
    words = [f"{lap['steps_per_s']:.3g} steps/s"]
    words.append(f"{lap['examples_per_s']:.3g} examples/s")
    if "mfu" in lap:
        words.append(f"MFU {lap['mfu']:.0%}")
    words.append(f"input {lap['input_wait']:.0%}")
    if left_s is not None:
        words.append(f"{tqdm.tqdm.format_interval(left_s)} left")
    return ", ".join(words)
