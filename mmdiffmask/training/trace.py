"""A trace of the profiler over some updates, in the run's folder."""

import contextlib
import logging
import pathlib
import re
import types
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax


class Steps(NamedTuple):
    """Updates from `first` to `last`, both in, counted from 1."""

    first: int
    last: int


def parse(text: str) -> Steps:
    """The updates that `--trace FIRST:LAST` names.

    Raises:
      ValueError: if it names none.
    """
    match = re.fullmatch(r"(\d+):(\d+)", text)
    steps = Steps(*map(int, match.groups())) if match else Steps(0, 0)
    if not 1 <= steps.first <= steps.last:
        raise ValueError(
            f"--trace {text}: must be FIRST:LAST, two numbers of updates from 1 on,"
            " such as 11:13"
        )
    return steps


class Trace:
    """Records the updates of a range; leaving the `with` block ends it early.

    The profiler is started when the updates before are done, and stopped when the last
    one is. What lies between two of them, such as an evaluation, is recorded too.

    Args:
      folder: where it goes; the profiler makes a folder of its own for each time.
      steps: which updates; None: none.
    """

    def __init__(self, folder: pathlib.Path, steps: Steps | None = None):
        self._folder, self._steps = folder, steps
        self._is_on = False

    def check(self, steps: int) -> None:
        """Refuses a range that a run of so many updates does not reach.

        Raises:
          ValueError: then.
        """
        if self._steps is not None and self._steps.last > steps:
            raise ValueError(
                f"--trace {self._steps.first}:{self._steps.last}: the run ends with"
                f" update {steps}; name earlier ones"
            )

    def warn_if_past(self, done: int) -> None:
        """Says so if a run that goes on has left the range behind."""
        if self._steps is not None and self._steps.last <= done:
            logging.warning("--trace: update %d is done; no trace", self._steps.last)

    def covers(self, step: int) -> bool:
        """Whether this update is one of the range."""
        return self._steps is not None and (
            self._steps.first <= step <= self._steps.last
        )

    def is_edge(self, step: int) -> bool:
        """Whether the range begins or ends right after this update."""
        return self.covers(step) != self.covers(step + 1)

    @contextlib.contextmanager
    def step(self, step: int, state: Callable[[], Any]) -> Iterator[None]:
        """Goes around an update.

        Args:
          step: its number.
          state: gives the newest arrays: those before, at the end those after it.
        """
        if not self.covers(step):
            yield
            return
        if not self._is_on:
            jax.block_until_ready(state())
            jax.profiler.start_trace(str(self._folder))
            self._is_on = True
        with jax.profiler.StepTraceAnnotation("update", step_num=step):
            yield
        if not self.covers(step + 1):
            jax.block_until_ready(state())
            self._stop()

    def _stop(self) -> None:
        if self._is_on:
            self._is_on = False
            jax.profiler.stop_trace()
            logging.info("trace: %s", self._folder)

    def __enter__(self) -> "Trace":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _: types.TracebackType | None,
    ) -> None:
        self._stop()
