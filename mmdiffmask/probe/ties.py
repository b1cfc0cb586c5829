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


def as_json(values: Float[np.ndarray, " e"]) -> Sequence[int | float]:
    """The hits as JSON has them: 0 and 1 as whole numbers."""
    return [int(x) if x in (0.0, 1.0) else float(x) for x in values]
