"""A number of a row over its seeds, as tables show it."""

import dataclasses
import statistics
from collections.abc import Sequence

import numpy as np

from mmdiffmask import contrast_statistics
from mmdiffmask.statistics import Difference, Score

NEEDS_SEEDS = 2  # for a deviation


@dataclasses.dataclass(frozen=True)
class Cell:
    """A number of a row over its seeds.

    Attributes:
      n: seeds.
      mean: over them.
      sd: of a single seed; None of one.
      low: lower end of the 95 % interval: by t over seeds, of one seed over clips.
        None where there is none.
      high: upper end.
      count: clips or questions of a seed; 0 where the number is of none.
      log_probability: mean over the seeds; None where there is none.
    """

    n: int
    mean: float
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    count: int = 0
    log_probability: float | None = None


def cell(values: Sequence[float]) -> Cell:
    """Mean, deviation and t interval of a number over seeds."""
    n, mean = len(values), statistics.fmean(values)
    if n < NEEDS_SEEDS:
        return Cell(n, mean)
    over = contrast_statistics.over_seeds(np.array(values))
    if over is None:  # no spread
        return Cell(n, mean, 0.0)
    return Cell(n, over.mean, over.sd, over.low, over.high)


def with_ends(of_seeds: Sequence[Score | Difference]) -> Cell:
    """Over seeds; of one seed with its interval over clips, where there is one."""
    result, one = cell([x.value for x in of_seeds]), of_seeds[0]
    if result.n > 1 or not one.has_interval:
        return result
    return dataclasses.replace(result, low=one.low, high=one.high)
