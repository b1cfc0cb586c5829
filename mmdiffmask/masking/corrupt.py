"""Noise in place of hidden patches, from the moments of patch embeddings."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, PRNGKeyArray, UInt32

from mmdiffmask.masking import sampling
from mmdiffmask.types import Array


class Moments(NamedTuple):
    """Running mean and sum of squared deviations of each channel."""

    count: Float[Array, ""]
    mean: Float[Array, " d"]
    deviation: Float[Array, " d"]

    @property
    def sd(self) -> Float[Array, " d"]:
        """Standard deviation of each channel; 0 before any value."""
        return jnp.sqrt(self.deviation / jnp.maximum(self.count, 1.0))


def no_moments(channels: int) -> Moments:
    """The moments of nothing."""
    return Moments(jnp.zeros(()), jnp.zeros(channels), jnp.zeros(channels))


def add_moments(
    moments: Moments, embedding: Float[Array, "q d"], is_valid: Bool[Array, " q"]
) -> Moments:
    """The moments with the valid rows of `embedding` counted in.

    Merges means and deviations instead of sums of squares, which lose float32
    digits over a whole data set. design.md section 5 (`mask_site`).
    """
    weight = jnp.asarray(is_valid, jnp.float32)[:, None]
    embedding = jnp.asarray(embedding, jnp.float32)
    count = jnp.sum(weight)
    mean = jnp.sum(weight * embedding, 0) / jnp.maximum(count, 1.0)
    deviation = jnp.sum(weight * (embedding - mean[None]) ** 2, 0)
    total = moments.count + count
    step = mean - moments.mean
    share = count / jnp.maximum(total, 1.0)
    return Moments(
        total,
        moments.mean + step * share,
        moments.deviation + deviation + step**2 * moments.count * share,
    )


def noise_key(
    run_key: PRNGKeyArray, example_hash: UInt32[Array, ""] | np.uint32
) -> PRNGKeyArray:
    """The key of one example's noise: the same in every epoch and under every mask."""
    return sampling.example_key(run_key, example_hash, "noise")


def noise(
    key: PRNGKeyArray, mean: Float[Array, " d"], sd: Float[Array, " d"], q: int
) -> Float[Array, "q d"]:
    """Gaussian noise with the mean and sd of each channel, for every patch.

    Departs: the released code puts one constant vector everywhere, which marks a
    hidden patch beyond doubt (reserve.md section 10.1). design.md section 5.
    """
    # Drawn flat: XLA compiles the same numbers in a longer shape for many seconds.
    drawn = jax.random.normal(key, (q * mean.shape[0],), jnp.float32)
    drawn = drawn.reshape(q, mean.shape[0])
    return jnp.asarray(mean)[None] + jnp.asarray(sd)[None] * drawn
