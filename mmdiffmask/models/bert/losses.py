"""Cross-entropy of word pieces or labels, with a backward pass written by hand.

Automatic differentiation keeps logits, their exponentials and their difference from
the largest, each as large as a batch times a vocabulary.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from mmdiffmask.types import Array

IGNORED = -100  # a label of which there is no loss


def cross_entropy(
    logits: Float[Array, "*b v"], labels: Int[Array, "*b"]
) -> Float[Array, ""]:
    """The mean over the labels that are not `IGNORED`; 0 where there are none."""
    losses = each(logits, labels)
    count = (labels != IGNORED).sum()
    return losses.sum() / jnp.maximum(count, 1)


@jax.custom_vjp
def each(logits: Float[Array, "*b v"], labels: Int[Array, "*b"]) -> Float[Array, "*b"]:
    """-log of the softmax at each label, float32; 0 where it is `IGNORED`."""
    return _forward(logits, labels)[0]


def _forward(
    logits: Float[Array, "*b v"], labels: Int[Array, "*b"]
) -> tuple[Float[Array, "*b"], tuple[Array, ...]]:
    total = jax.nn.logsumexp(logits.astype(jnp.float32), axis=-1)
    index = jnp.where(labels == IGNORED, 0, labels)[..., None]
    chosen = jnp.take_along_axis(logits, index, axis=-1)[..., 0]
    losses = jnp.where(labels == IGNORED, 0.0, total - chosen.astype(jnp.float32))
    return losses, (logits, labels, total)


def _backward(
    saved: tuple[Array, ...], grad: Float[Array, "*b"]
) -> tuple[Float[Array, "*b v"], np.ndarray]:
    logits, labels, total = saved
    share = jnp.exp(logits.astype(jnp.float32) - total[..., None])
    grad = jnp.where(labels == IGNORED, 0.0, grad)[..., None]
    entry = jax.lax.broadcasted_iota(labels.dtype, logits.shape, logits.ndim - 1)
    logits_grad = grad * (share - (entry == labels[..., None]))
    return logits_grad.astype(logits.dtype), np.zeros(labels.shape, jax.dtypes.float0)


each.defvjp(_forward, _backward)
