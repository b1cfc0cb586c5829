"""Contrast of predicted with clean cells over a batch of clips: one whole matrix."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from mmdiffmask.training import contrast
from mmdiffmask.types import Array

Logits = Float[Array, "b s c r"]  # slot s of clip b with slot r of clip c


class Slots(NamedTuple):
    """Vectors that belong together, in k slots of each clip.

    Attributes:
      x: predicted.
      y: clean.
      is_row: filled slots; the others are nobody's candidate.
      may_compare: the clips whose cells are candidates for a clip's; its own are.
    """

    x: Float[Array, "b k d"]
    y: Float[Array, "b k d"]
    is_row: Bool[Array, "b k"]
    may_compare: Bool[Array, "b b"]


class Rows(NamedTuple):
    """What each filled slot did; 0 in empty ones.

    Attributes:
      forth: cross-entropy of its own y among the y that it is compared with.
      back: of its own x among the x.
      is_hit: 1 if its own y alone is nearest, 1 / n if n are equally near.
      is_hit_in_clip: the same among the y of its clip.
    """

    forth: Float[Array, "b k"]
    back: Float[Array, "b k"]
    is_hit: Float[Array, "b k"]
    is_hit_in_clip: Float[Array, "b k"]


class Best(NamedTuple):
    """The largest logit of each row, and how many are as large."""

    most: Float[Array, "b s"]
    count: Float[Array, "b s"]


def candidates(slots: Slots) -> Int[Array, " b"]:
    """How many rows those of each clip are compared with."""
    per_clip = jnp.sum(slots.is_row, axis=1)
    return jnp.sum(jnp.where(slots.may_compare, per_clip[None, :], 0), axis=1)


def compare(slots: Slots, scale: Float[Array, ""]) -> Rows:
    """Compares all filled slots; `scale` is the inverse temperature."""
    clips, count, width = slots.x.shape
    logits = scale * (slots.x.reshape(-1, width) @ slots.y.reshape(-1, width).T)
    logits = masked(
        logits.reshape(clips, count, clips, count),
        slots.may_compare,
        slots.is_row,
        slots.is_row,
    )
    square = logits.reshape(clips * count, -1)
    right = contrast.diagonal(square)
    forth = jax.nn.logsumexp(square, axis=1) - right
    back = jax.nn.logsumexp(square, axis=0) - right
    right = right.reshape(clips, count)
    is_same_clip = jnp.eye(clips, dtype=bool)[:, None, :, None]
    in_clip = jnp.where(is_same_clip, logits, contrast.NEVER)
    rows = Rows(
        forth=forth.reshape(clips, count),
        back=back.reshape(clips, count),
        is_hit=hit(right, best(logits, (2, 3))),
        is_hit_in_clip=hit(right, best(in_clip, (2, 3))),
    )
    return filled(rows, slots.is_row)


def masked(
    logits: Logits,
    may_compare: Bool[Array, "b c"],
    is_row: Bool[Array, "b s"],
    is_column: Bool[Array, "c r"],
) -> Logits:
    """The logits of filled slots of clips that are compared; `NEVER` elsewhere."""
    is_pair = is_row[:, :, None, None] & is_column[None, None]
    is_pair = is_pair & may_compare[:, None, :, None]
    return jnp.where(is_pair, logits, contrast.NEVER)


def best(logits: Float[Array, "b s *r"], axes: tuple[int, ...]) -> Best:
    """The largest of each row over these axes."""
    most = jnp.max(logits, axes, keepdims=True)
    count = jnp.sum((logits == most).astype(jnp.float32), axes)
    return Best(jnp.squeeze(most, axes), count)


def hit(right: Float[Array, "b s"], best: Best) -> Float[Array, "b s"]:
    """1 where the right logit is the largest; of a tie its share."""
    return jnp.where(right >= best.most, 1.0 / best.count, 0.0)


def filled(rows: Rows, is_row: Bool[Array, "b k"]) -> Rows:
    """0 in empty slots."""
    return jax.tree.map(lambda value: jnp.where(is_row, value, 0.0), rows)
