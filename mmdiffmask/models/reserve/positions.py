"""Coordinates of tokens, and the scaling of queries and keys by them.

Source: reserve.md section 2.2.
"""

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Float

from mmdiffmask.types import Array

SCALED_DIMENSIONS = 32  # of a query or key head; the others carry no position
FREQUENCY_MAX = 5.0


def centred(count: int, dtype: DTypeLike = jnp.float32) -> Float[Array, " n"]:
    """Coordinates around 0 without 0: 5 -> -2 -1 1 2 3."""
    steps = np.arange(count) - count // 2
    return jnp.asarray(steps + (steps >= 0), dtype)


def grid_coordinates(
    rows: int, cols: int, dtype: DTypeLike = jnp.float32
) -> Float[Array, "n 2"]:
    """Row and column of every patch of a rows x cols grid, row-major.

    Both axes share one scale, so a pooled grid has coordinates of its own
    (reserve.md sections 2.2 and 8).
    """
    longest = jnp.asarray(max(rows, cols) + 1, dtype)
    row, col = centred(rows, dtype) / longest, centred(cols, dtype) / longest
    both = jnp.meshgrid(row, col, indexing="ij")
    return jnp.stack(both, axis=-1).reshape(rows * cols, 2)


def joint_coordinates(
    row: Float[Array, "*b n"],
    col: Float[Array, "*b n"],
    segment: Float[Array, "*b n"],
    token: Float[Array, "*b n"],
) -> Float[Array, "*b n 4"]:
    """The joint transformer's four axes: segment / 16 and token / 1024."""
    return jnp.stack([row, col, segment / 16.0, token / 1024.0], axis=-1)


def angles(coordinates: Float[Array, "*b n axes"]) -> Float[Array, "*b n 16"]:
    """pi * coordinate * frequency, axis by axis.

    Frequencies are 5^(k / (f - 1)), k < f, f = 16 / axes, in the coordinates' dtype.
    """
    *lead, axes = coordinates.shape
    count, dtype = SCALED_DIMENSIONS // (2 * axes), coordinates.dtype
    frequency = jnp.logspace(0.0, np.log2(FREQUENCY_MAX), count, base=2.0, dtype=dtype)
    frequency = frequency.reshape(*[1] * len(coordinates.shape), count)
    angle = coordinates[..., None] * jnp.asarray(np.pi, dtype) * frequency
    return angle.reshape(*lead, SCALED_DIMENSIONS // 2)


def position_scale(
    coordinates: Float[Array, "*b n axes"], head_size: int
) -> Float[Array, "*b n {head_size}"]:
    """What queries and keys are multiplied by at each position.

    With the angles a, dimension 2m of the first 32 takes sin(a_m) - cos(a_m),
    dimension 2m+1 takes sin(a_m) + cos(a_m), the rest 1.

    Released weights: named rotary, but it scales and does not rotate; a textbook
    rotation does not reproduce them (reserve.md section 2.2).
    """
    angle = angles(coordinates)
    sin, cos = jnp.sin(angle), jnp.cos(angle)
    scaled = jnp.stack([sin - cos, sin + cos], axis=-1)
    scaled = scaled.reshape(*angle.shape[:-1], SCALED_DIMENSIONS)
    unscaled = (*angle.shape[:-1], head_size - SCALED_DIMENSIONS)
    return jnp.concatenate([scaled, jnp.ones(unscaled, angle.dtype)], axis=-1)
