"""How many tokens of a clip are hidden, from the mask ratio and the valid tokens."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from mmdiffmask.types import Array


def token_budget(ratio: float, n_tokens: Int[Array, ""]) -> Int[Array, ""]:
    """How many tokens to hide: max(1, round(ratio * n)), halves to even."""
    rounded = jnp.round(jnp.float32(ratio) * n_tokens.astype(jnp.float32))
    return jnp.maximum(1, rounded.astype(jnp.int32))


def most_tokens(ratio: float, n_tokens: int) -> int:
    """`token_budget` of a clip of which all is valid, as a plain number.

    Rounded as there, in float32: 0.35 * 130 is 45.5 or just below it, as the digits go.
    No clip with fewer valid tokens has a larger budget.
    """
    return max(1, int(np.round(np.float32(ratio) * np.float32(n_tokens))))
