"""Contrast (InfoNCE) of paired vectors over the whole batch, both directions alike."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from mmdiffmask.models.reserve import layers
from mmdiffmask.types import Array

MAX_LOG_SCALE = math.log(100.0)
NEVER = -1e30  # a logit that takes no part; -inf would make NaN of rows without any


class Pairs(NamedTuple):
    """Vectors x and y whose rows belong together; both carry exp(s / 2) already.

    `is_row` marks real pairs; `is_candidate` the rows of y that x is compared with: all
    real pairs, and extra negatives, which are no pair themselves. `source` tells kinds
    of pairs apart (None: there is one kind).
    """

    x: Float[Array, "r d"]
    y: Float[Array, "r d"]
    is_row: Bool[Array, " r"]
    is_candidate: Bool[Array, " r"]
    source: Array | None = None


def inverse_temperature(log_scale: Float[Array, ""]) -> Float[Array, ""]:
    """exp(log_scale), learned, at most 100."""
    return jnp.exp(jnp.minimum(log_scale, MAX_LOG_SCALE))


def diagonal(logits: Float[Array, "r r"]) -> Float[Array, " r"]:
    """Each row's own column, by a sum, which keeps rows on their devices."""
    return jnp.sum(jnp.where(jnp.eye(len(logits), dtype=bool), logits, 0.0), axis=1)


def scaled(
    x: Float[Array, "*r d"], log_scale: Float[Array, ""]
) -> Float[Array, "*r d"]:
    """unit_normalize(x) * exp(min(log_scale, ln 100) / 2), in float32.

    A product of two such vectors carries the whole inverse temperature.
    """
    factor = jnp.exp(jnp.minimum(log_scale, MAX_LOG_SCALE) / 2)
    return layers.unit_normalize(x) * factor


def row_losses(
    pairs: Pairs,
) -> tuple[Float[Array, " r"], Float[Array, " r"]]:
    """Cross-entropy of each real pair, from x to y and from y to x; 0 elsewhere.

    reserve.md section 4.1: extra negatives stand on the side of y alone.
    """
    logits = pairs.x.astype(jnp.float32) @ pairs.y.astype(jnp.float32).T
    positive = diagonal(logits)
    forth = jnp.where(pairs.is_candidate[None, :], logits, NEVER)
    forth = jax.nn.logsumexp(forth, axis=1) - positive
    # Not of a transposed matrix: that would be sent between devices.
    back = jnp.where(pairs.is_row[:, None], logits, NEVER)
    back = jax.nn.logsumexp(back, axis=0) - positive
    return jnp.where(pairs.is_row, forth, 0.0), jnp.where(pairs.is_row, back, 0.0)


def loss(pairs: Pairs) -> Float[Array, ""]:
    """Mean over the real pairs of the whole batch, both directions alike.

    Departs: the reference takes the mean on each device and then over devices; the
    same wherever devices have as many pairs.
    """
    forth, back = row_losses(pairs)
    return jnp.sum(forth + back) / 2 / jnp.maximum(jnp.sum(pairs.is_row), 1)


def loss_from(pairs: Pairs, source: int) -> Float[Array, ""]:
    """The mean loss of the pairs of one source; 0 where there are none."""
    forth, back = row_losses(pairs)
    is_from = pairs.is_row & (pairs.source == source)
    return jnp.sum((forth + back) * is_from) / 2 / (jnp.sum(is_from) + 1e-5)
