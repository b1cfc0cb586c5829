"""Appends, cuts and reads a run's metrics.jsonl, times.jsonl and events."""

import json
import os
import pathlib
import types
from collections.abc import Iterable
from typing import Any

from mmdiffmask import atomic
from mmdiffmask.run_files import BATCH, EVENTS, METRICS, TIMES
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import events

TRAIN, EVAL, PROBE = "train", "eval", "probe"  # kinds of lines
SCORES = {EVAL, PROBE}  # made after the update of their step
COMPILE, SAVE, TRACE = "compile", "save", "trace"  # of times.jsonl alone
KIND_OF_TIME = "what"  # its name in times.jsonl


class Journal:
    """Appends a line for each step, and drops those that a resumed run writes again.

    metrics.jsonl of a run that was killed and resumed is byte for byte that of an
    undisturbed one; seconds, which differ from run to run, go to times.jsonl.

    Args:
      folder: of the run.
      has_events: also writes events for TensorBoard. A folder that has some gets more
        in any case, and one that has none yet gets those of the lines before, too.
    """

    def __init__(self, folder: RunFolder, has_events: bool = False):
        self.metrics, self.times = folder.at(METRICS), folder.at(TIMES)
        written = events.Events(folder.at(EVENTS))
        self._events = written if has_events or written.is_begun else None

    def note(self, lines: Iterable[dict[str, Any]]) -> None:
        """Appends metrics; every line has a `step`."""
        lines = list(lines)
        _append(self.metrics, lines)
        if self._events is not None:
            self._events.add(lines)

    def note_time(self, step: int, kind: str, lap: dict[str, float | int]) -> None:
        """Appends where the time up to `step` went, as `meter.Meter.lap` has it."""
        _append(self.times, [{"step": step, KIND_OF_TIME: kind} | lap])
        if self._events is not None and kind == TRAIN:
            self._events.add_rates(step, lap)

    def flush(self) -> None:
        """Returns when all lines are on the disk."""
        with self.metrics.open("ab") as file:
            os.fsync(file.fileno())
        if self._events is not None:
            self._events.flush()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _: types.TracebackType | None,
    ) -> None:
        if self._events is not None:
            self._events.close()

    def cut(self, step: int, is_scored: bool = True) -> None:
        """Drops what comes after a step, and a last line that was not finished.

        Args:
          step: the last one that stays; its scores too, if it `is_scored`.
          is_scored: False: they are about to be made (again).
        """

        def stays(line: dict[str, Any]) -> bool:
            is_score = bool(SCORES & {line.get("kind"), line.get(KIND_OF_TIME)})
            return line["step"] < step + (is_scored or not is_score)

        for path in (self.metrics, self.times):
            if path.is_file():
                kept = [line for line in _whole_lines(path) if stays(line)]
                with atomic.place(path) as file:
                    _append(file, kept)
        if self._events is not None:
            self._begin_events(step, is_scored)

    def _begin_events(self, step: int, is_scored: bool) -> None:
        """Voids the events of what was dropped; a first time, adds those of all."""
        is_new = not self._events.is_begun
        self._events.begin(step + 1, step + is_scored)
        if is_new and self.metrics.is_file():
            self._events.add(_whole_lines(self.metrics))


def note_batch_size(folder: RunFolder, batch_size: int) -> None:
    """Notes the batch size at a run's first start, and refuses another one later.

    It is lowered where clips are few, to a multiple of the devices, and the order of
    training follows from it.

    Raises:
      ValueError: if the run was begun with another one.
    """
    if not folder.has(BATCH):
        folder.write(BATCH, {"batch_size": batch_size})
        return
    begun = folder.read(BATCH)["batch_size"]
    if begun != batch_size:
        raise ValueError(
            f"{folder}: was begun with {begun} clips a batch; on this number of"
            f" devices it would go on with {batch_size}, in another order. Go on with"
            " as many devices as before, or begin a new run elsewhere"
        )


def _append(path: pathlib.Path, lines: Iterable[dict[str, Any]]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines))


def _whole_lines(path: pathlib.Path) -> list[dict[str, Any]]:
    """The file's lines up to the first that is damaged.

    A process that was killed while it wrote leaves part of a line, at the end only.
    """
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines


def read_metrics(folder: RunFolder) -> list[dict[str, Any]]:
    """The run's metrics so far, oldest first; empty before the first.

    Lines of kind "train" have loss, log_candidates, retrieval, gradient_norm, rows and
    epoch of one update; lines of kind "eval" are `evaluate.Row`s; those of kind "probe"
    have label, read_out, accuracy with low, high and count, and log_probability.
    """
    path = folder.at(METRICS)
    return _whole_lines(path) if path.is_file() else []


def seconds(folder: RunFolder) -> float:
    """Seconds that a run took, of all kinds; what was done twice counts once."""
    path = folder.at(TIMES)
    return sum(x["seconds"] for x in _whole_lines(path)) if path.is_file() else 0.0
