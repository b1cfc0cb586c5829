"""The true boxes with faults as detectors have them: lost, moved, where nothing is."""

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from mmdiffmask import atomic, seeds, tokens
from preprocessing.toy import words

PURPOSE = 7  # of the generator: other numbers draw the world
FALSE_TRACKS = 1000  # a false box's track: a number of its own, from here
MIN_SIDE_PX = 4  # of a moved box

Row = dict[str, Any]  # of boxes.jsonl


@dataclasses.dataclass(frozen=True)
class Faults:
    """How wrong the boxes are.

    Attributes:
      lost: share of the boxes that are left out.
      moved: standard deviation of each side's shift, in shares of the box's width or
        height.
      false: how many boxes that show nothing there are for each true one, mean.
    """

    lost: float = 0.0
    moved: float = 0.0
    false: float = 0.0


def write(true: pathlib.Path, out: pathlib.Path, faults: Faults, seed: int) -> None:
    """Writes the boxes of a rendered set with faults, in the form of the true ones.

    A clip's faults depend on seed and clip alone, and those of one kind not on how
    many there are of another: with more lost boxes the others stay where they are.

    Args:
      true: boxes.jsonl of the set; a clip's lines stand together.
      out: file to write.
      faults: which.
      seed: of the set.
    """
    with true.open(encoding="utf-8") as lines:
        rows = map(json.loads, lines)
        clips = itertools.groupby(rows, key=lambda row: row["video"])
        text = "".join(
            json.dumps(row) + "\n"
            for name, boxes in clips
            for row in _of_clip(name, list(boxes), faults, seed)
        )
    atomic.write(out, text)


def _of_clip(name: str, boxes: list[Row], faults: Faults, seed: int) -> Iterator[Row]:
    """A clip's boxes, its false ones last."""
    lost, moved, false = (
        seeds.generator(seed, PURPOSE, kind, int(tokens.name_hash(name)))
        for kind in range(3)
    )
    for row in boxes:
        is_lost = lost.random() < faults.lost
        shifts = moved.normal(size=4)
        if not is_lost:
            yield _moved(row, faults.moved * shifts) if faults.moved else row
    count = false.poisson(faults.false * len(boxes))
    frames = sorted({row["frame"] for row in boxes})
    for number in range(count):
        yield _false(boxes, frames, number, false)


def _moved(row: Row, shifts: np.ndarray) -> Row:
    """The box with each side shifted, inside the picture and with some area."""
    left, top, right, bottom = row["xyxy"]
    sides = np.array([right - left, bottom - top] * 2)
    left, top, right, bottom = np.round(row["xyxy"] + shifts * sides).astype(int)
    left, right = _span(left, right, words.WIDTH_PX)
    top, bottom = _span(top, bottom, words.HEIGHT_PX)
    return row | {"xyxy": [left, top, right, bottom]}


def _span(low: int, high: int, limit: int) -> tuple[int, int]:
    """Two ends in order within [0, limit], at least MIN_SIDE_PX apart."""
    low, high = min(low, high), max(low, high)
    low = int(np.clip(low, 0, limit - MIN_SIDE_PX))
    return low, int(np.clip(high, low + MIN_SIDE_PX, limit))


def _false(
    boxes: list[Row], frames: list[int], number: int, generator: np.random.Generator
) -> Row:
    """The size and label of one of the clip's boxes, anywhere in any of its frames."""
    row = boxes[generator.integers(len(boxes))]
    left, top, right, bottom = row["xyxy"]
    width, height = right - left, bottom - top
    left = int(generator.integers(words.WIDTH_PX - width + 1))
    top = int(generator.integers(words.HEIGHT_PX - height + 1))
    frame = frames[generator.integers(len(frames))]
    place = {"frame": frame, "xyxy": [left, top, left + width, top + height]}
    return row | place | {"track": FALSE_TRACKS + number}
