"""How far a choice by the highest score is right, and how probable the right one is.

A tie counts as its share.
"""

from collections.abc import Sequence

import numpy as np
import scipy.special
from jaxtyping import Float, Int

DIGITS = 5  # of a log-probability, behind the point


def hits(
    scores: Float[np.ndarray, "e k"], right: Int[np.ndarray, " e"]
) -> Float[np.ndarray, " e"]:
    """1 where the right one alone is highest, 1 / n where n are, 0 elsewhere.

    What is expected of drawing among the highest. `argmax` would name the first, so
    that whoever tells nothing apart is always right where the right one stands first.

    Args:
      scores: of each choice.
      right: the right choice; -1 where there is none.
    """
    best = scores == scores.max(1, keepdims=True)
    mine = np.take_along_axis(best, np.maximum(right, 0)[:, None], 1)[:, 0]
    return np.where(mine & (right >= 0), 1.0 / np.maximum(best.sum(1), 1), 0.0)


def log_probability(
    scores: Float[np.ndarray, "e k"], right: Int[np.ndarray, " e"]
) -> Float[np.ndarray, " e"]:
    """The natural logarithm of the right one's probability, a softmax of the scores.

    For heads of separate sigmoids too: given that one choice alone is right, their odds
    exp(score) give each choice this probability.

    Args:
      scores: of each choice.
      right: the right choice; -1 where there is none, and NaN comes out.
    """
    log_p = scipy.special.log_softmax(scores, axis=1)
    mine = np.take_along_axis(log_p, np.maximum(right, 0)[:, None], 1)[:, 0]
    return np.where(right >= 0, mine, np.nan)


def same_for_same(
    vectors: Float[np.ndarray, "*q c d"], inputs: Int[np.ndarray, "*q c l"]
) -> Float[np.ndarray, "*q c d"]:
    """The vectors, those of a question's equal candidates made equal to the last bit.

    A device may sum the same numbers in another order at another place of a batch;
    then rounding would decide between candidates that are the same.

    Args:
      vectors: of each candidate.
      inputs: what they were computed from.
    """
    is_same = (inputs[..., :, None, :] == inputs[..., None, :, :]).all(-1)
    first = np.argmax(is_same, axis=-1)  # of the candidates that equal this one
    return np.take_along_axis(vectors, first[..., None], axis=-2)


def as_json(values: Float[np.ndarray, " e"]) -> Sequence[int | float]:
    """The hits as JSON has them: 0 and 1 as whole numbers."""
    return [int(x) if x in (0.0, 1.0) else float(x) for x in values]


def logs_as_json(values: Float[np.ndarray, " e"]) -> Sequence[float | None]:
    """Log-probabilities as JSON has them: of `DIGITS` digits, NaN as None."""
    return [None if np.isnan(x) else round(float(x), DIGITS) for x in values]
