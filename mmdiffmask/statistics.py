"""Accuracies with intervals and paired differences, by one bootstrap over clips."""

import collections
import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, Num

Z_95 = 1.959963984540054  # two-sided 95 %
NO_SPREAD = 1e-9  # wider than rounding
PART = 100  # resamples that are drawn at a time
Z_POWER = 0.8416212335729143  # seen in 80 % of repetitions


@dataclasses.dataclass(frozen=True)
class Score:
    """A share with its 95 % interval over clips; `n` clips or cells were counted."""

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
    """

    value: float
    low: float
    high: float
    smallest: float
    n: int

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


def class_counts(
    predicted: Int[np.ndarray, " e"], target: Int[np.ndarray, " e"], n_classes: int
) -> Float[np.ndarray, "e m"]:
    """Of each row and class: rightly named, named, is of it; m = 3 n_classes.

    Rows are summed before `macro_f1`, so a bootstrap draws rows with their counts.
    """
    classes = np.arange(n_classes)
    is_named, is_true = predicted[:, None] == classes, target[:, None] == classes
    parts = [is_named & is_true, is_named, is_true]
    return np.concatenate(parts, 1).astype(np.float64)


def group_counts(
    predicted: Int[np.ndarray, " g"], labels: Float[np.ndarray, "g n"]
) -> Float[np.ndarray, "g m"]:
    """As `class_counts`, of groups of rows that are named alike.

    Args:
      predicted: class that all rows of a group are named.
      labels: how many of them are of each class.
    """
    is_named = predicted[:, None] == np.arange(labels.shape[1])
    named = is_named * labels.sum(1, keepdims=True)
    return np.concatenate([is_named * labels, named, labels], 1)


def macro_f1(
    sums: Float[np.ndarray, "r m"], *, counts_named: bool = False
) -> Float[np.ndarray, " r"]:
    """Mean F1 of the classes that occur, of each row of sums of `class_counts`.

    Args:
      sums: of `class_counts` or `group_counts`.
      counts_named: a class that is named and never true counts, with 0.
    """
    right, named, true = np.split(sums, 3, axis=1)
    f1 = 2 * right / np.maximum(named + true, 1e-12)
    occurs = (true + named if counts_named else true) > 0
    return (f1 * occurs).sum(1) / np.maximum(occurs.sum(1), 1)


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
    drawn = resampled(np.stack([hits, count], 1), seed, resamples)
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
    drawn = resampled(np.stack([delta, weight], 1), seed, resamples)
    drawn = drawn[drawn[:, 1] > 0]
    value = float(delta.sum() / weight.sum())
    return with_interval(value, drawn[:, 0] / drawn[:, 1], n)


def with_interval(value: float, drawn: Float[np.ndarray, " r"], n: int) -> Difference:
    """A difference over n clips, with the interval of its resamples."""
    low, high = np.quantile(drawn, [0.025, 0.975])
    # Rows that agree on every clip still cannot tell less than one clip apart.
    error = max(float(drawn.std()), 1.0 / n)
    smallest = (Z_95 + Z_POWER) * error
    return Difference(value, float(low), float(high), smallest, n)


def draws(n: int, seed: int, resamples: int) -> Iterator[Int[np.ndarray, "r n"]]:
    """How often each of n clips stands in each resample, drawn with replacement.

    In parts of at most 100 resamples: n may be tens of thousands. The parts are the
    same as all at once.
    """
    generator = np.random.default_rng(seed)
    share = np.full(n, 1.0 / n)
    for start in range(0, resamples, PART):
        yield generator.multinomial(n, share, min(PART, resamples - start))


def resampled(
    values: Num[np.ndarray, "n m"], seed: int, resamples: int
) -> Float[np.ndarray, "r m"]:
    """The sums over clips of each column, a row for each of their resamples."""
    values = np.asarray(values, np.float64)
    return np.concatenate([d @ values for d in draws(len(values), seed, resamples)])


class Resampled:
    """Shares and differences with intervals over clips, several questions a clip.

    Questions of one clip depend on each other, so clips are drawn, with all their
    questions. All columns share the draws: differences are paired.
    """

    def __init__(
        self,
        is_right: Float[np.ndarray, "e m"],
        clip_of: Int[np.ndarray, " e"],
        seed: int,
        resamples: int,
    ):
        _, clip_of = np.unique(clip_of, return_inverse=True)
        self.clips = int(clip_of.max()) + 1
        counted = np.concatenate([is_right, np.ones((len(is_right), 1))], 1)
        sums = np.zeros((self.clips, counted.shape[1]))
        np.add.at(sums, clip_of, counted)
        totals = resampled(sums, seed, resamples)
        self.shares: Float[np.ndarray, "r m"] = totals[:, :-1] / totals[:, -1:]
        self.values: Float[np.ndarray, " m"] = is_right.mean(0)

    def score(self, column: int) -> Score:
        """A share; where all or none are right, with Wilson's interval of the clips.

        Resamples of a column without any difference all agree, whatever its length.
        """
        value = float(self.values[column])
        if value in (0.0, 1.0):
            low, high = wilson(int(value) * self.clips, self.clips)
        else:
            low, high = np.quantile(self.shares[:, column], [0.025, 0.975])
        return Score(value, float(low), float(high), self.clips)

    def difference(self, a: int, b: int) -> Difference:
        """Column a minus column b."""
        value = float(self.values[a] - self.values[b])
        drawn = self.shares[:, a] - self.shares[:, b]
        return with_interval(value, drawn, self.clips)


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
