"""A table of boxes from a file, and the checks of single values on the way there."""

import array
import collections
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from preprocessing.names import spelled
from preprocessing.readers import plans

ROW = np.dtype(
    [
        ("video", "i8"),
        ("frame", "i8"),
        ("second", "f8"),
        ("xyxy", "f8", 4),
        ("label", "i8"),
        ("score", "f8"),
        ("track", "i8"),
        ("wh", "f8", 2),
    ]
)


MOST_SHARE, LEAST_PX = 1.5, 0.99


class Rows(NamedTuple):
    """What a file holds.

    Attributes:
      table: of `ROW`: `video` and `label` are positions among the names, `frame`
        counts from 1 and is -1 where `second` says when (else NaN), `wh` is the size of
        the picture that the pixels belong to (0 = unknown).
      videos: names.
      labels: names.
      counts: how many boxes the reader left out, by reason.
    """

    table: np.ndarray
    videos: tuple[str, ...]
    labels: tuple[str, ...]
    counts: dict[str, int]


class Builder:
    """Collects rows, 96 bytes each."""

    def __init__(self):
        self._numbers = array.array("d")
        self._videos: dict[str, int] = {}
        self._labels: dict[str, int] = {}
        self.counts: collections.Counter[str] = collections.Counter()

    def add(
        self,
        video: str,
        xyxy: Sequence[float],
        label: str,
        *,
        frame: int = -1,
        second: float = np.nan,
        score: float = 1.0,
        track: int = -1,
        wh: tuple[float, float] = (0, 0),
    ) -> None:
        """One box; the fields are those of `Rows.table`."""
        at = self.video(video)
        name = self._labels.setdefault(label, len(self._labels))
        self._numbers.extend((at, frame, second, *xyxy, name, score, track, *wh))

    def video(self, name: str) -> int:
        """Its number; a video of which this is all has no boxes."""
        return self._videos.setdefault(spelled(name.strip()), len(self._videos))

    def rows(self) -> Rows:
        """All that were added, in order."""
        flat = np.frombuffer(self._numbers, float).reshape(-1, 12)
        table, at = np.zeros(len(flat), ROW), 0
        for name in ROW.names:
            shape = ROW[name].shape
            width = shape[0] if shape else 1
            table[name] = flat[:, at : at + width].reshape(len(flat), *shape)
            at += width
        return Rows(table, tuple(self._videos), tuple(self._labels), dict(self.counts))


def in_unit(path: pathlib.Path, table: np.ndarray, unit: str) -> np.ndarray:
    """The table with boxes in `unit`: shares are those of a picture of 1 x 1.

    Args:
      path: of the file, for the error.
      table: of `ROW`.
      unit: "pixel", or "share" of the picture's width and height.

    Raises:
      ValueError: if the boxes are in the other unit. Shares may reach a little out of
        the picture; no file of pixels has boxes in the first pixel alone, some smaller.
    """
    corners = table["xyxy"][np.isfinite(table["xyxy"]).all(1)]
    most = np.abs(corners).max(initial=0.0)
    sides = corners[:, 2:] - corners[:, :2]
    is_small = ((sides > 0) & (sides < LEAST_PX)).any()
    is_said = len(table) and (table["wh"] == 1).all()  # a picture of 1 x 1: shares
    if unit == "pixel" and most <= MOST_SHARE and is_small and not is_said:
        raise ValueError(
            f"{path}: its boxes are no pixels but shares of the picture (none of their"
            f" numbers is above {most:g}); add --boxes-unit share"
        )
    if unit == "pixel":
        return table
    if most > MOST_SHARE:
        raise ValueError(
            f"{path}: its boxes are no shares of the picture (one of their numbers is"
            f" {most:g}); leave --boxes-unit share away"
        )
    table = table.copy()
    table["wh"] = 1
    return table


def bad(path: pathlib.Path, where: str, problem: str) -> ValueError:
    """One sentence: file, place, what is wrong."""
    return ValueError(f"{path}{where and ', '}{where}: {problem}")


class Entry:
    """An object of a JSON file whose values are checked as they are taken.

    Every method raises `ValueError` that names file, place, field and what it must be.
    """

    def __init__(self, path: pathlib.Path, where: str, values: Any):
        self._path, self._where = path, where
        if not isinstance(values, dict):
            raise bad(path, where, "must be an object {...}")
        self.values = values

    def fail(self, problem: str) -> ValueError:
        """The error to raise about this entry."""
        return bad(self._path, self._where, problem)

    def text(self, name: str) -> str:
        """A text that is not empty, and can be written as UTF-8."""
        value = self._get(name)
        if not isinstance(value, str) or not value.strip():
            raise self.fail(f"{name} is {_shown(value)}; it must be a text")
        if not plans.is_text(value):
            raise self.fail(f"{name} is {_shown(value)}, which is no valid Unicode")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """A number, which may be NaN or infinite."""
        value = self._get(name, default)
        if not _is_number(value):
            raise self.fail(f"{name} is {_shown(value)}; it must be a number")
        return float(value)

    def integer(self, name: str, least: int | None = None, default: int | None = None):
        """A whole number, at least so large."""
        value = self.number(name, default)
        is_whole = abs(value) < 2**53 and value == int(value)
        if not is_whole or (least is not None and value < least):
            limit = "" if least is None else f" of at least {least}"
            raise self.fail(f"{name} is {value:g}; it must be a whole number{limit}")
        return int(value)

    def score(self, name: str) -> float:
        """A number from 0 to 1; 1 if it is left out."""
        value = self.number(name, 1.0)
        if not 0 <= value <= 1:
            raise self.fail(f"{name} is {value:g}; it must be from 0 to 1")
        return value

    def four(self, name: str) -> list[float]:
        """Four numbers, which may be NaN or infinite."""
        value = self._get(name)
        if (
            not isinstance(value, list)
            or len(value) != 4
            or not all(map(_is_number, value))
        ):
            raise self.fail(f"{name} is {_shown(value)}; it must be four numbers")
        return [float(number) for number in value]

    def entries(self, name: str) -> list["Entry"]:
        """A list of objects."""
        value = self._get(name)
        if not isinstance(value, list):
            raise self.fail(f"{name} is {_shown(value)}; it must be a list")
        return [
            Entry(self._path, f"{self._where}.{name}[{i}]".lstrip("."), one)
            for i, one in enumerate(value)
        ]

    def _get(self, name: str, default: Any = None) -> Any:
        if name in self.values:
            return self.values[name]
        if default is None:
            raise self.fail(f"{name} is missing; add it")
        return default


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and (isinstance(value, float) or abs(value) < 2**63)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
