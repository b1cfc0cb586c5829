"""When a run ends: after its steps, by early stopping, by a signal, by a bad number."""

import contextlib
import dataclasses
import signal
import threading
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from mmdiffmask import config
from mmdiffmask.training import checkpoint, steps


def judge(
    progress: checkpoint.Progress,
    step: int,
    score: float | None,
    settings: config.Training,
    rises: bool = False,
) -> checkpoint.Progress:
    """Where a run stands after `step`; the rule of early stopping.

    Stops after `patience` evaluations in a row without a score better than the best.

    Args:
      progress: before.
      step: updates done now.
      score: the dev loss or another number, if it was evaluated at this step.
      settings: steps, patience, early_stopping.
      rises: whether more is better.
    """
    progress = dataclasses.replace(progress, step=step, is_scored=True)
    if score is not None:
        best = progress.best_loss
        if best is None or (score > best if rises else score < best):
            progress = dataclasses.replace(
                progress, best_step=step, best_loss=score, bad_evaluations=0
            )
        else:
            bad = progress.bad_evaluations + 1
            progress = dataclasses.replace(progress, bad_evaluations=bad)
    is_bad = progress.bad_evaluations >= settings.patience
    if settings.early_stopping and score is not None and is_bad:
        return dataclasses.replace(progress, finished="early stopping")
    if step >= settings.steps:
        return dataclasses.replace(progress, finished="steps")
    return progress


class Stopped(KeyboardInterrupt):
    """A signal has asked the run to end."""


def until_signal(batches: Iterable[Any], stop: threading.Event) -> Iterator[Any]:
    """The batches; `Stopped` is raised in place of the next one after a signal."""
    for batch in batches:
        if stop.is_set():
            raise Stopped
        yield batch


def check_finite(
    name: str, value: float | int, step: int, batch: Callable[[], Sequence[str]] = tuple
) -> None:
    """Refuses a number that is not finite.

    Args:
      name: of the number.
      value: the number.
      step: updates done.
      batch: gives the ids of the examples that it is a number of, where it is known.

    Raises:
      ValueError: with the step, the examples, and settings that may be the cause.
    """
    if not np.isfinite(value):
        ids = ", ".join(batch())
        raise ValueError(
            f"the {name} at step {step} is {value}; lower training.lr or raise"
            " training.warmup_steps (training.b2 must be below 1, training.eps above"
            " 0), and start in a new --workdir"
            + (f"; the batch was of the examples {ids}" if ids else "")
        )


def check_state(state: steps.TrainState, step: int) -> None:
    """Refuses weights and moments that are not finite, before they are saved.

    Raises:
      ValueError: as `check_finite`.
    """
    for name, tree in (("weights", state.params), ("moments", state.opt_state)):
        check_finite(
            f"sum of the {name}", 0.0 if steps.is_finite(tree) else np.nan, step
        )


@contextlib.contextmanager
def stop_signal() -> Iterator[threading.Event]:
    """An event that the first SIGTERM or SIGINT sets; a second one acts as usual."""
    event, old = threading.Event(), {}
    if threading.current_thread() is not threading.main_thread():
        yield event  # handlers can only be set in the main thread
        return

    def handle(number: int, _: types.FrameType | None) -> None:
        event.set()
        signal.signal(number, old[number])

    for number in (signal.SIGTERM, signal.SIGINT):
        old[number] = signal.signal(number, handle)
    try:
        yield event
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
