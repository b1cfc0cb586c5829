"""Dropout by a key that is an argument: the same key drops the same values.

Two values share a random word: on a processor drawing words is what dropout costs.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

LEVELS = 2**16  # a rate is met to half of one of these


def draw(key: PRNGKeyArray, rate: float, shape: tuple[int, ...]) -> Bool[Array, "..."]:
    """True where a value is kept; each is dropped by itself at `rate`."""
    count = math.prod(shape)
    words = jax.random.bits(key, ((count + 1) // 2,), jnp.uint32)
    halves = lax.bitcast_convert_type(words, jnp.uint16).reshape(-1)[:count]
    return (halves >= round(rate * LEVELS)).reshape(shape)


def drop(
    key: PRNGKeyArray | None, x: Float[Array, "*b"], rate: float
) -> Float[Array, "*b"]:
    """x with values dropped and the others divided by 1 - rate; no key: x as it is."""
    if key is None or rate == 0.0:
        return x
    return jnp.where(draw(key, rate, x.shape), x / (1.0 - rate), 0.0)


def split(key: PRNGKeyArray | None, *names: str) -> dict[str, PRNGKeyArray | None]:
    """A key for each name; None for each where there is no key: nothing is dropped."""
    if key is None:
        return dict.fromkeys(names)
    return dict(zip(names, jax.random.split(key, len(names)), strict=True))
