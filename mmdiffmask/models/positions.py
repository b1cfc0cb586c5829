"""Where a token stands: coordinates, and the scaling of queries and keys by them.

Source: RESERVE.md section 2.2.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from mmdiffmask.types import Array

SCALED_DIMENSIONS = 32  # of a query or key head; the others carry no position
FREQUENCY_MAX = 5.0


def centred(count: int, dtype=jnp.float32) -> Float[Array, " n"]:
    """Coordinates around 0 without 0: 5 -> -2 -1 1 2 3."""
    steps = np.arange(count) - count // 2
    return jnp.asarray(steps + (steps >= 0), dtype)


def grid_coordinates(rows: int, cols: int, dtype=jnp.float32) -> Float[Array, "n 2"]:
    """Row and column of every patch of a rows x cols grid, row-major.

    Both axes share one scale, so a pooled grid has coordinates of its own
    (RESERVE.md sections 2.2 and 8).
    """
    longest = jnp.asarray(max(rows, cols) + 1, dtype)
    row, col = centred(rows, dtype) / longest, centred(cols, dtype) / longest
    both = jnp.meshgrid(row, col, indexing="ij")
    return jnp.stack(both, axis=-1).reshape(rows * cols, 2)


def position_scale(
    coordinates: Float[Array, "*b n axes"], head_size: int
) -> Float[Array, "*b n {head_size}"]:
    """What queries and keys are multiplied by at each position.

    Angles a = pi * coordinate * frequency, axis by axis; dimension 2m of the first 32
    takes sin(a_m) - cos(a_m), dimension 2m+1 takes sin(a_m) + cos(a_m), the rest 1.

    Released weights: named rotary, but it scales and does not rotate; a textbook
    rotation does not reproduce them (RESERVE.md section 2.2).
    """
    *lead, axes = coordinates.shape
    count = SCALED_DIMENSIONS // (2 * axes)
    dtype = coordinates.dtype
    frequency = jnp.logspace(0.0, np.log2(FREQUENCY_MAX), count, base=2.0, dtype=dtype)
    frequency = frequency.reshape(*[1] * len(coordinates.shape), count)
    angle = coordinates[..., None] * jnp.asarray(np.pi, dtype) * frequency
    angle = angle.reshape(*lead, SCALED_DIMENSIONS // 2)
    sin, cos = jnp.sin(angle), jnp.cos(angle)
    scaled = jnp.stack([sin - cos, sin + cos], axis=-1)
    scaled = scaled.reshape(*lead, SCALED_DIMENSIONS)
    ones = jnp.ones((*lead, head_size - SCALED_DIMENSIONS), dtype)
    return jnp.concatenate([scaled, ones], axis=-1)
