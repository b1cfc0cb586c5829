"""MOT-challenge text: a line per box, `frame,id,left,top,width,height,...`.

UniTrack writes `1,-1,-1,-1` after these six. Results of detectors and trackers have
a confidence in the seventh column; ground truth has there whether a box counts, and a
class in the eighth.
"""

import os
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

LEAST_COLUMNS, MOST_COLUMNS = 6, 10


class Rows(NamedTuple):
    """Boxes of a video in the order of the file.

    `frame` counts from 1; `id` is -1 where nothing was tracked; `category` is -1
    where no class is known; `score` is 1 where none was given.
    """

    frame: Int[np.ndarray, " n"]
    id: Int[np.ndarray, " n"]
    tlwh: Float[np.ndarray, "n 4"]
    score: Float[np.ndarray, " n"]
    category: Int[np.ndarray, " n"]


def lines(rows: Rows) -> Iterable[str]:
    """The file's lines, with their ends; numbers are not rounded."""
    columns = (array.tolist() for array in rows)
    for frame, track, box, score, category in zip(*columns, strict=True):
        numbers = (frame, track, *box, 1 if score == 1 else score, category, -1, -1)
        yield ",".join(map(repr, numbers)) + "\n"


def read_counted(path: os.PathLike | str) -> tuple[Rows, Bool[np.ndarray, " n"]]:
    """The boxes of a file, and which of them count.

    Lines have six to ten columns; empty ones are passed over. Column 7 is a confidence,
    or in ground truth 1 for a box that counts and 0 for one that does not: a 0 where a
    class and a visibility follow, and a bare "0" anywhere.

    Eight or nine columns are ground truth, whose eighth is the class. Of ten, the last
    three are a place in the world, unless the last two are -1: then the eighth is a
    class, or -1 too.

    Raises:
      ValueError: if a line is not of that form; says which.
    """
    parsed = []
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                parsed.append(_parse(line))
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from None
    values = np.array(parsed, float).reshape(-1, 9)
    rows = Rows(
        frame=values[:, 0].astype(int),
        id=values[:, 1].astype(int),
        tlwh=values[:, 2:6],
        score=values[:, 6],
        category=values[:, 7].astype(int),
    )
    return rows, values[:, 8] > 0


def _parse(line: str) -> list[float]:
    """Frame, id, the box, score, class and whether it counts of one line."""
    words = line.strip().rstrip(",").split(",")
    if not LEAST_COLUMNS <= len(words) <= MOST_COLUMNS:
        raise ValueError(
            f"{len(words)} columns between commas, not {LEAST_COLUMNS} to"
            f" {MOST_COLUMNS}: frame,id,left,top,width,height,..."
        )
    values = [_number(word) for word in words]
    frame, track, _, _, width, height = values[:6]
    if frame < 1 or frame % 1:
        raise ValueError(f"frame {words[0].strip()} is not 1, 2, ...")
    if track % 1 or track < -1:
        raise ValueError(f"id {words[1].strip()} is neither a whole number nor -1")
    if width <= 0 or height <= 0:
        raise ValueError(f"a box of {width:g} x {height:g} px has no area")
    score = values[6] if len(values) > 6 else 1.0
    category = values[7] if len(values) > 7 else -1.0
    if len(values) == MOST_COLUMNS and values[8:] != [-1.0, -1.0]:
        category = -1.0
    if category % 1 or category < -1:
        raise ValueError(f"class {category:g} is neither a whole number nor -1")
    is_truth = len(values) in (8, 9)
    is_ignored = score == 0 and (is_truth or words[6].strip() == "0")
    return [*values[:6], score, category, not is_ignored]


def _number(word: str) -> float:
    """A finite number, small enough to be a whole one exactly."""
    try:
        value = float(word)
    except ValueError:
        raise ValueError(f"{word.strip()!r} is no number") from None
    if not abs(value) < 2**53:
        raise ValueError(f"{word.strip()} is no finite number of a sensible size")
    return value
