"""Learning rates over the updates of a run.

Updates are counted from 0 and the warm-up is step / warm-up, so the first update of a
run with warm-up moves nothing (reserve.md sections 3.3, 4.2 and 8).
"""

from collections.abc import Callable

import jax.numpy as jnp
import optax
from jaxtyping import Float, Int

from mmdiffmask.types import Array


def line(peak: float, warmup: int, end: int) -> optax.Schedule:
    """Up to `peak` at update `warmup`, then down in a line to 0 at update `end`.

    `line(1.0, 4, 11)` gives 0, 1/4, 2/4, 3/4, 1, 6/7, 5/7, .. 1/7, 0, 0, .. for the
    updates 0, 1, .. Reserve's finetuning: end = steps + 1. reserve.md section 3.3.
    """
    return _after_warmup(peak, warmup, end, lambda t: 1.0 - t)


def cosine(peak: float, warmup: int, end: int, floor: float) -> optax.Schedule:
    """Up to `peak` at update `warmup`, then half a cosine to floor * peak at `end`.

    Reserve's pretraining: end = steps + 1, floor = 0.02. reserve.md section 4.2.
    """

    def down(t: Float[Array, "..."]) -> Float[Array, "..."]:
        return floor + (1.0 - floor) * (1.0 + jnp.cos(jnp.pi * t)) / 2.0

    return _after_warmup(peak, warmup, end, down)


def _after_warmup(
    peak: float, warmup: int, end: int, down: Callable[[Array], Array]
) -> optax.Schedule:
    """`down` takes the part of the way from `warmup` to `end`, in [0, 1]."""

    def rate(step: Int[Array, "..."] | int) -> Float[Array, "..."]:
        step = jnp.asarray(step, jnp.float32)
        t = jnp.clip((step - warmup) / max(end - warmup, 1), 0.0, 1.0)
        return peak * jnp.where(step < warmup, step / max(warmup, 1), down(t))

    return rate
