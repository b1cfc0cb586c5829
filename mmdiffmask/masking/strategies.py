"""A masking method is a weight per unit; the registry is the paper's Table 1."""

import dataclasses
import difflib
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mmdiffmask.types import MaskInputs

Weight = Callable[[MaskInputs], Float[Array, " u"]]


def uniform(inputs: MaskInputs) -> Float[Array, " u"]:
    """Every unit alike. Paper: Eq. 5."""
    return jnp.ones(inputs.unit_score.shape)


def by_score(inputs: MaskInputs) -> Float[Array, " u"]:
    """In proportion to the unit's score, here anchor similarity. Paper: Eq. 4."""
    return jnp.maximum(jnp.asarray(inputs.unit_score, jnp.float32), 0.0)


def by_attention(inputs: MaskInputs) -> Float[Array, " u"]:
    """In proportion to the mean [CLS] attention of the unit's tokens. Paper: Eq. 6.

    Raises:
      ValueError: if the inputs carry no attention.
    """
    if inputs.attention is None:
        raise ValueError("a strategy by attention needs MaskInputs.attention")
    unit = jnp.asarray(inputs.unit_of_token)
    is_valid = unit >= 0  # -1 would be dropped too; masking first keeps NaN out
    attention = jnp.where(is_valid, jnp.asarray(inputs.attention), 0.0)
    slots = len(inputs.unit_score)
    total = jax.ops.segment_sum(attention, unit, slots)
    return total / jnp.maximum(jax.ops.segment_sum(is_valid * 1.0, unit, slots), 1.0)


def by_inverse_attention(inputs: MaskInputs) -> Float[Array, " u"]:
    """In proportion to 1 / attention, which is taken as at least 1e-6. Paper: Eq. 7."""
    return 1.0 / jnp.maximum(by_attention(inputs), 1e-6)


@dataclasses.dataclass(frozen=True)
class Strategy:
    """One row of Table 1.

    Attributes:
      name: its name in settings; part of the key of its masks.
      unit: "patch": every patch (cell) on its own, boxes play no part; "box": the
        boxes of the chosen kind, and background only as fill.
      weight: weight of each unit.
      summary: one line for reports.
    """

    name: str
    unit: Literal["patch", "box"]
    weight: Weight
    summary: str


_ROWS = (
    Strategy("random", "patch", uniform, "patches drawn at random"),
    Strategy("difference", "box", by_score, "boxes drawn by similarity to anchors"),
)
REGISTRY = {row.name: row for row in _ROWS}


def find(name: str) -> Strategy:
    """The row of that name.

    Raises:
      ValueError: for an unknown name, with the nearest known one.
    """
    if name not in REGISTRY:
        nearest = difflib.get_close_matches(name, REGISTRY, 1, 0.0)[0]
        raise ValueError(
            f"masking.strategy={name}: must be one of {', '.join(REGISTRY)};"
            f" did you mean {nearest}?"
        )
    return REGISTRY[name]
