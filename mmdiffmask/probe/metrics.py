"""Accuracies with intervals, paired differences, and what masks were made of."""

import collections
import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int, Num

from mmdiffmask import grid as grids

Z_95 = 1.959963984540054  # two-sided 95 %
NO_SPREAD = 1e-9  # wider than rounding
Z_POWER = 0.8416212335729143  # seen in 80 % of repetitions


@dataclasses.dataclass(frozen=True)
class Score:
    """A share with its 95 % interval over clips; `n` clips, or cells, were counted."""

    value: float
    low: float
    high: float
    n: int

    @property
    def has_interval(self) -> bool:
        """False where one clip, or clips that all agree, give a mere point."""
        return self.high - self.low > NO_SPREAD

    def is_above(self, limit: float) -> bool:
        """Whether the interval lies above a limit; without one nothing is known."""
        return self.has_interval and self.low > limit


@dataclasses.dataclass(frozen=True)
class Difference:
    """Row a minus row b on the same clips.

    Attributes:
      value: difference of the two shares.
      low: lower end of the 95 % interval (bootstrap over clips).
      high: upper end.
      smallest: the true difference that such a comparison would find in 80 % of
        repetitions, (1.96 + 0.84) standard errors.
      n: clips.
      only_a: clips that a gets right and b wrong; -1 where rows are no right / wrong.
      only_b: the other way round.
    """

    value: float
    low: float
    high: float
    smallest: float
    n: int
    only_a: int = -1
    only_b: int = -1

    @property
    def has_interval(self) -> bool:
        """False where one clip, or clips that all agree, give a mere point."""
        return self.high - self.low > NO_SPREAD

    @property
    def is_seen(self) -> bool:
        """Whether there is an interval and it leaves out zero."""
        return self.has_interval and (self.low > 0 or self.high < 0)


@dataclasses.dataclass(frozen=True)
class Floors:
    """What needs no features: guessing, and always naming train's largest class."""

    chance: float
    largest_class: float
    n_classes: int


@dataclasses.dataclass(frozen=True)
class MaskSummary:
    """What a strategy's masks were made of; shares of hidden patches over all clips.

    Attributes:
      clips: how many clips were looked at.
      clips_without_box: of these, clips in which no box has a valid patch.
      hidden_patches: hidden patches per clip, mean.
      hidden_share: hidden patches as a share of the valid ones.
      whole_box: hidden patches that lie in a box that is hidden as a whole.
      cut_box: those in a box of which a part stays visible.
      fill: those outside all boxes.
      boxes_share: part of the picture (valid patches) that lies in boxes.
      cells: cells with picture per clip, mean.
      cells_touched: cells with a hidden patch per clip, mean: what is predicted.
      cells_hidden: cells without any visible patch per clip, mean.
    """

    clips: int
    clips_without_box: int
    hidden_patches: float
    hidden_share: float
    whole_box: float
    cut_box: float
    fill: float
    boxes_share: float
    cells: float
    cells_touched: float
    cells_hidden: float


def wilson(right: float | int, n: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson's score interval of a share; 0 right of 10 gives (0, .278).

    Unlike value +- z * se it stays inside [0, 1] and has a width at 0 and 1.

    Raises:
      ValueError: if there is nothing to count or more are right than there are.
    """
    if n < 1 or not 0 <= right <= n:
        raise ValueError(f"{right} right of {n}: no share to give an interval for")
    share, square = right / n, z * z / n
    centre = (share + square / 2) / (1 + square)
    half = math.sqrt(share * (1 - share) * square + square**2 / 4) / (1 + square)
    # At the ends the exact value is 0 or 1; the subtraction leaves rounding.
    low = 0.0 if right == 0 else centre - half
    return low, (1.0 if right == n else centre + half)


def accuracy(is_right: Num[np.ndarray, " e"] | Bool[np.ndarray, " e"]) -> Score:
    """Share of clips that are right, with Wilson's interval; ties as their share."""
    right, n = float(np.sum(is_right)), len(is_right)
    low, high = wilson(right, n)
    return Score(right / n, low, high, n)


def ratio(
    hits: Num[np.ndarray, " e"],
    count: Num[np.ndarray, " e"],
    seed: int,
    resamples: int,
) -> Score:
    """sum(hits) / sum(count) with its bootstrap interval over clips.

    Retrieval counts several cells a clip, and these depend on each other, so clips
    are drawn, not cells.

    Raises:
      ValueError: if there is nothing to count.
    """
    total = float(np.sum(count))
    if not total > 0:
        raise ValueError("no cells to score: every count is 0")
    drawn = _resample(np.stack([hits, count], 1), seed, resamples)
    drawn = drawn[drawn[:, 1] > 0]
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    return Score(float(np.sum(hits)) / total, float(low), float(high), len(count))


def difference(
    a: Num[np.ndarray, " e"] | Bool[np.ndarray, " e"],
    b: Num[np.ndarray, " e"] | Bool[np.ndarray, " e"],
    seed: int,
    resamples: int,
    count: Num[np.ndarray, " e"] | None = None,
) -> Difference:
    """a - b, paired by clip, with a bootstrap over clips.

    Args:
      a: right or wrong per clip, or hits per clip (then `count` is given).
      b: the other row's, on the same clips in the same order.
      seed: of the resamples.
      resamples: how many.
      count: cells per clip; one if absent.

    Raises:
      ValueError: if there is nothing to compare.
    """
    n = len(a)
    weight = np.ones(n) if count is None else np.asarray(count, np.float64)
    if not weight.sum() > 0:
        raise ValueError("no clips to compare: every count is 0")
    delta = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    drawn = _resample(np.stack([delta, weight], 1), seed, resamples)
    drawn = drawn[drawn[:, 1] > 0]
    shares = drawn[:, 0] / drawn[:, 1]
    low, high = np.quantile(shares, [0.025, 0.975])
    # Rows that agree on every clip still can not tell less than one clip apart.
    error = max(float(shares.std()), 1.0 / n)
    only = (-1, -1)
    if count is None:
        only = (int(np.sum(delta > 0)), int(np.sum(delta < 0)))
    value = float(delta.sum() / weight.sum())
    smallest = (Z_95 + Z_POWER) * error
    return Difference(value, float(low), float(high), smallest, n, *only)


def _resample(values: np.ndarray, seed: int, resamples: int) -> np.ndarray:
    """(resamples, columns): sums over clips drawn with replacement."""
    n = len(values)
    generator = np.random.default_rng(seed)
    sums = []
    for start in range(0, resamples, 100):  # in parts: n may be tens of thousands
        size = min(100, resamples - start)
        times = generator.multinomial(n, np.full(n, 1.0 / n), size)
        sums.append(times @ np.asarray(values, np.float64))
    return np.concatenate(sums)


def floors(train: Sequence[str], val: Sequence[str]) -> Floors:
    """Chance over train's classes, and train's most frequent class scored on val.

    Raises:
      ValueError: if a split has no labels.
    """
    if not train or not val:
        raise ValueError("floors need labels in train and val")
    counts = collections.Counter(train)
    largest = min(counts, key=lambda name: (-counts[name], name))
    share = sum(label == largest for label in val) / len(val)
    return Floors(1.0 / len(counts), share, len(counts))


def summarise_masks(
    grid: grids.PatchGrid,
    is_masked: Bool[np.ndarray, "b t n"],
    is_patch_valid: Bool[np.ndarray, "b t n"],
    unit_of_token: Int[np.ndarray, "b q"],
    is_box_unit: Bool[np.ndarray, "b u"],
) -> MaskSummary:
    """Counts what masks were made of. DESIGN section 4, end.

    Hand in the BOX units for every strategy, random ones too: then the rows say the
    same thing.

    Args:
      grid: the patch grid.
      is_masked: hidden patches.
      is_patch_valid: patches with picture.
      unit_of_token: unit of each patch of a clip; -1 = none.
      is_box_unit: which units are boxes.
    """
    is_masked, is_patch_valid = np.asarray(is_masked), np.asarray(is_patch_valid)
    hidden = is_masked.reshape(len(is_masked), -1)
    clips = zip(hidden, unit_of_token, is_box_unit, strict=True)
    whole, cut, in_box = np.array([_box_counts(*c) for c in clips], np.int64).T
    cells = _cell_counts(grid, is_masked, is_patch_valid)
    total, pictures = max(int(hidden.sum()), 1), max(int(is_patch_valid.sum()), 1)
    return MaskSummary(
        clips=len(hidden),
        clips_without_box=int((in_box == 0).sum()),
        hidden_patches=float(hidden.sum(1).mean()),
        hidden_share=float(hidden.sum() / pictures),
        whole_box=float(whole.sum() / total),
        cut_box=float(cut.sum() / total),
        fill=float((hidden.sum() - whole.sum() - cut.sum()) / total),
        boxes_share=float(in_box.sum() / pictures),
        **cells,
    )


def _box_counts(
    hidden: Bool[np.ndarray, " q"],
    unit: Int[np.ndarray, " q"],
    is_box: Bool[np.ndarray, " u"],
) -> tuple[int, int, int]:
    """Hidden patches in whole boxes, in cut boxes, and all patches in boxes."""
    in_box = (unit >= 0) & np.asarray(is_box)[np.maximum(unit, 0)]
    size = np.bincount(unit[in_box], minlength=len(is_box))
    gone = np.bincount(unit[in_box & hidden], minlength=len(is_box))
    is_whole = gone == size
    return int(gone[is_whole].sum()), int(gone[~is_whole].sum()), int(in_box.sum())


def _cell_counts(
    grid: grids.PatchGrid, is_masked: np.ndarray, is_valid: np.ndarray
) -> dict[str, float]:
    """Means per clip: cells with picture, touched cells, wholly hidden cells."""
    cell = grids.cell_of_patch(grid)
    onto = (cell[:, None] == np.arange(grid.n_cells)).astype(np.int64)  # (n, c)
    pictures = is_valid.astype(np.int64) @ onto
    hidden = (is_masked & is_valid).astype(np.int64) @ onto
    counts = {
        "cells": pictures > 0,
        "cells_touched": hidden > 0,
        "cells_hidden": (hidden == pictures) & (pictures > 0),
    }
    return {name: float(c.sum((1, 2)).mean()) for name, c in counts.items()}
