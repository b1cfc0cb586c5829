"""Appends, cuts and reads a run's metrics.jsonl and times.jsonl."""

import json
import os
import pathlib
from collections.abc import Iterable
from typing import Any

from mmdiffmask import atomic
from mmdiffmask.run_files import BATCH, METRICS, TIMES
from mmdiffmask.run_folder import RunFolder

TRAIN, EVAL = "train", "eval"  # kinds of lines
KIND_OF_TIME = "what"  # its name in times.jsonl


class Journal:
    """Appends a line for each step, and drops those that a resumed run writes again.

    metrics.jsonl of a run that was killed and resumed is byte for byte that of an
    undisturbed one; seconds, which differ from run to run, go to times.jsonl.
    """

    def __init__(self, folder: RunFolder):
        self.metrics, self.times = folder.at(METRICS), folder.at(TIMES)

    def note(self, lines: Iterable[dict[str, Any]]) -> None:
        """Appends metrics; every line has a `step`."""
        _append(self.metrics, lines)

    def note_time(
        self, step: int, stage: str, seconds: float, updates: int = 0
    ) -> None:
        """Appends how long a stage ("train", "eval") took that ended at `step`."""
        line = {"step": step, KIND_OF_TIME: stage, "seconds": round(seconds, 4)}
        _append(self.times, [line | ({"updates": updates} if updates else {})])

    def flush(self) -> None:
        """Returns when all lines are on the disk."""
        with self.metrics.open("ab") as file:
            os.fsync(file.fileno())

    def cut(self, step: int, is_scored: bool = True) -> None:
        """Drops what comes after a step, and a last line that was not finished.

        Args:
          step: the last one that stays; its scores too, if it `is_scored`.
          is_scored: False: they are about to be made (again).
        """

        def stays(line: dict[str, Any]) -> bool:
            is_eval = EVAL in (line.get("kind"), line.get(KIND_OF_TIME))
            return line["step"] < step + (is_scored or not is_eval)

        for path in (self.metrics, self.times):
            if path.is_file():
                kept = [line for line in _whole_lines(path) if stays(line)]
                with atomic.place(path) as file:
                    _append(file, kept)


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
    epoch of one update; lines of kind "eval" are `evaluate.Row`s.
    """
    path = folder.at(METRICS)
    return _whole_lines(path) if path.is_file() else []


def seconds(folder: RunFolder) -> float:
    """Seconds that updates and evaluations took, those that were done twice once."""
    path = folder.at(TIMES)
    return sum(x["seconds"] for x in _whole_lines(path)) if path.is_file() else 0.0
