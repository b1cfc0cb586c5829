"""Statistics of contrasts: over seeds by paired t tests, over clips by a bootstrap."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.optimize
import scipy.stats
from jaxtyping import Float

from mmdiffmask import statistics

LEVEL = 0.05
POWER = 0.8  # share of repetitions in which an effect is to be seen


@dataclasses.dataclass(frozen=True)
class OverSeeds:
    """The mean of a contrast over seeds, by the paired t test.

    Attributes:
      n: seeds.
      mean: of the contrast.
      sd: of a single seed's contrast.
      low: lower end of the 95 % interval of the mean.
      high: upper end.
      p: of the two-sided test of 0.
    """

    n: int
    mean: float
    sd: float
    low: float
    high: float
    p: float


def over_seeds(values: Float[np.ndarray, " n"]) -> OverSeeds | None:
    """Mean, interval and test of one contrast; None where all seeds agree.

    As all scores of a seed are in one value, seeds are paired. Without a spread there
    is nothing that a test could go by.

    Raises:
      ValueError: for fewer than two seeds.
    """
    n = len(values)
    if n < 2:
        raise ValueError(f"{n} seed(s): a comparison over seeds needs two or more")
    mean, sd = float(np.mean(values)), float(np.std(values, ddof=1))
    if sd <= statistics.NO_SPREAD:
        return None
    error = sd / n**0.5
    half = float(scipy.stats.t.ppf(1 - LEVEL / 2, n - 1)) * error
    p = float(2 * scipy.stats.t.sf(abs(mean) / error, n - 1))
    return OverSeeds(n, mean, sd, mean - half, mean + half, p)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p of each test of a family (Holm 1979).

    Rejecting where it is at most 5 % keeps the chance of any false rejection in the
    family at 5 %, however the tests depend on each other.

    >>> holm([0.25, 0.01, 0.02])
    [0.25, 0.03, 0.04]
    """
    order = np.argsort(p, kind="stable")
    factors = len(p) - np.arange(len(p))
    adjusted = np.minimum(np.maximum.accumulate(factors * np.asarray(p)[order]), 1.0)
    result = np.empty(len(p))
    result[order] = adjusted
    return result.tolist()


def smallest_effect(sd: float, n: int, tests: int) -> float:
    """The true mean that so many seeds see in 80 % of repetitions.

    By the power of the two-sided paired t test, a noncentral t, at Holm's first level,
    5 % / tests: that which the smallest p of the family must meet.

    Args:
      sd: of a single seed's contrast.
      n: seeds, at least two.
      tests: of the family.
    """
    limit = scipy.stats.t.ppf(1 - LEVEL / tests / 2, n - 1)

    def lacking(shift: float) -> float:
        # The lower tail is the upper one of -shift; scipy's `cdf` is NaN far out.
        tails = scipy.stats.nct.sf(limit, n - 1, [shift, -shift])
        return float(tails.sum()) - POWER

    # At twice the limit more than 95 % are above it, also with two seeds.
    shift = scipy.optimize.brentq(lacking, 0.0, 2 * limit + 2)
    return float(shift) * sd / n**0.5


class Column(NamedTuple):
    """A term of a contrast.

    Attributes:
      weight: how often it counts.
      hits: right, wrong or the share of a tie, of each clip or question.
      clips: the clip of each.
      counts: `statistics.class_counts` of each, for macro F1; None: the share of hits.
    """

    weight: float | int
    hits: Float[np.ndarray, " e"]
    clips: Sequence[str]
    counts: Float[np.ndarray, "e m"] | None = None

    @property
    def values(self) -> Float[np.ndarray, "e m"]:
        """All that is summed over rows; 1 of each comes last."""
        parts = self.hits[:, None] if self.counts is None else self.counts
        return np.concatenate([parts, np.ones((len(self.hits), 1))], 1)

    def rate(self, sums: Float[np.ndarray, "r m"]) -> Float[np.ndarray, " r"]:
        """The share, or macro F1, of sums of `values`."""
        if self.counts is not None:
            return statistics.macro_f1(sums[:, :-1])
        return sums[:, 0] / sums[:, 1]


def over_clips(
    columns: Sequence[Column], seed: int, resamples: int
) -> statistics.Difference:
    """The contrast of shares with a bootstrap over all clips of its terms.

    A clip is drawn with all that is known of it in every term. It says what other clips
    would change, with the same runs; `over_seeds` what other runs would.
    """
    names = sorted({clip for column in columns for clip in column.clips})
    number = {name: i for i, name in enumerate(names)}
    sums = []
    for column in columns:
        values = column.values
        of_clip = np.zeros((len(names), values.shape[1]))
        np.add.at(of_clip, [number[clip] for clip in column.clips], values)
        sums.append(of_clip)
    ends = np.cumsum([part.shape[1] for part in sums])[:-1]
    drawn = statistics.resampled(np.concatenate(sums, 1), seed, resamples)
    drawn = drawn[(drawn[:, [*(ends - 1), -1]] > 0).all(1)]

    def contrast(totals: Float[np.ndarray, "r m"]) -> Float[np.ndarray, " r"]:
        parts = zip(columns, np.split(totals, ends, axis=1), strict=True)
        return sum(column.weight * column.rate(part) for column, part in parts)

    value = float(contrast(np.concatenate(sums, 1).sum(0, keepdims=True))[0])
    return statistics.with_interval(value, contrast(drawn), len(names))
