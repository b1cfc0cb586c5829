"""How far a choice by the highest score is right: a tie counts as its share."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int


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
