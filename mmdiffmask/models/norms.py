"""Layer norm as a module: `backward.layer_norm` with its parameters."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from mmdiffmask.models import backward
from mmdiffmask.types import Array


class LayerNorm(nn.Module):
    """Normalises in float32 what comes in the dtype of computing, and goes so."""

    dtype: jnp.dtype
    epsilon: float = backward.NORM_EPSILON

    @nn.compact
    def __call__(self, x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        """Normalises the last axis."""
        shape = x.shape[-1:]
        scale = self.param("scale", nn.initializers.ones, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        return backward.layer_norm(x.astype(self.dtype), scale, bias, self.epsilon)
