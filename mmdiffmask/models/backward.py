"""The costly operations of a transformer with backward passes written by hand.

Each computes what its formula says; automatic differentiation gives the same numbers
but keeps more arrays, broadcasts of row statistics among them, and multiplies in
forms that XLA is slow at on CPU. docs/speed.md holds what each one is worth.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax import custom_derivatives, lax
from jaxtyping import Float

from mmdiffmask.types import Array

NORM_EPSILON = 1e-5  # RESERVE.md section 2.1
GELU_SLOPE = 1.702


@jax.custom_vjp
def gelu(x: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """Reserve's approximation, x * sigmoid(1.702 x); keeps x alone for backward."""
    return x * jax.nn.sigmoid(GELU_SLOPE * x)


def _gelu_forward(x):
    return gelu(x), x


def _gelu_backward(x, grad):
    gate = jax.nn.sigmoid(GELU_SLOPE * x)
    return (grad * (gate * (1.0 + GELU_SLOPE * x * (1.0 - gate))),)


gelu.defvjp(_gelu_forward, _gelu_backward)


@jax.custom_vjp
def layer_norm(
    x: Float[Array, "*b d"], scale: Float[Array, " d"], bias: Float[Array, " d"]
) -> Float[Array, "*b d"]:
    """(x - mean) / sqrt(variance + 1e-5) * scale + bias, in float32.

    The variance is mean(x^2) - mean(x)^2, at least 0, as in the reference.
    """
    return _layer_norm_forward(x, scale, bias)[0]


def _layer_norm_forward(x, scale, bias):
    wide = x.astype(jnp.float32)
    mean = wide.mean(axis=-1, keepdims=True)
    variance = jnp.square(wide).mean(axis=-1, keepdims=True) - jnp.square(mean)
    inverse = lax.rsqrt(jnp.maximum(variance, 0.0) + NORM_EPSILON)
    scale, bias = (jnp.expand_dims(v, range(x.ndim - 1)) for v in (scale, bias))
    normed = (wide - mean) * (inverse * scale) + bias
    return normed.astype(x.dtype), (x, mean, inverse, scale)


def _layer_norm_backward(saved, grad):
    x, mean, inverse, scale = saved
    lead = tuple(range(x.ndim - 1))
    grad = grad.astype(jnp.float32)
    unit = (x.astype(jnp.float32) - mean) * inverse
    scaled = grad * scale
    along = (scaled * unit).mean(axis=-1, keepdims=True)
    x_grad = inverse * (scaled - scaled.mean(axis=-1, keepdims=True) - unit * along)
    return x_grad.astype(x.dtype), (grad * unit).sum(axis=lead), grad.sum(axis=lead)


layer_norm.defvjp(_layer_norm_forward, _layer_norm_backward)


@jax.custom_vjp
def attend(
    query: Float[Array, "b h n s"],
    key: Float[Array, "b h n s"],
    value: Float[Array, "b h n s"],
    bias: Float[Array, "#b 1 n n"] | None,
) -> tuple[Float[Array, "b h n s"], Float[Array, "b h n n"]]:
    """softmax(query key^T + bias) value, and the softmax: the attention weights.

    `bias` is a mask and takes no gradient.
    """
    logits = jnp.einsum("bhqs,bhks->bhqk", query, key)
    if bias is not None:
        logits = logits + bias.astype(logits.dtype)
    weights = jax.nn.softmax(logits, axis=-1)
    return jnp.einsum("bhqk,bhks->bhqs", weights, value), weights


def _attend_forward(query, key, value, bias):
    query, key, value = (x.value for x in (query, key, value))
    bias = None if bias is None else bias.value
    mixed, weights = attend(query, key, value, bias)
    return (mixed, weights), (query, key, value, bias, weights, mixed)


def _attend_backward(saved, grads):
    query, key, value, bias, weights, mixed = saved
    grad, of_weights = grads
    # sum_k weights_grad * weights = sum_s grad * mixed: a row of s, not of n.
    along = (grad * mixed).sum(axis=-1, keepdims=True)
    weights_grad = jnp.einsum("bhqs,bhks->bhqk", grad, value)
    if not isinstance(of_weights, custom_derivatives.SymbolicZero):
        weights_grad = weights_grad + of_weights
        along = along + (of_weights * weights).sum(axis=-1, keepdims=True)
    logits_grad = weights * (weights_grad - along)
    return (
        jnp.einsum("bhqk,bhks->bhqs", logits_grad, key),
        jnp.einsum("bhqk,bhqs->bhks", logits_grad, query),
        jnp.einsum("bhqk,bhqs->bhks", weights, grad),
        None if bias is None else jnp.zeros_like(bias),
    )


attend.defvjp(_attend_forward, _attend_backward, symbolic_zeros=True)


def product(x: Array, kernel: Array, dimension_numbers, precision=None) -> Array:
    """The `dot_general` of the dense layers: last axes of x with first of kernel."""
    ((axes, _), _) = dimension_numbers
    assert precision is None
    return _product(len(axes), x, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _product(axes: int, x: Array, kernel: Array) -> Array:
    return jnp.tensordot(x, kernel, axes)


def _product_forward(axes, x, kernel):
    return jnp.tensordot(x, kernel, axes), (x, kernel)


def _product_backward(axes, saved, grad):
    # XLA picks what suits a TPU or GPU; on CPU products of more than two axes are
    # copied into another order first.
    plain = functools.partial(_plain_backward, axes)
    flat = functools.partial(_flat_backward, axes)
    return lax.platform_dependent(*saved, grad, cpu=flat, default=plain)


def _plain_backward(axes, x, kernel, grad):
    return jax.vjp(lambda *a: jnp.tensordot(*a, axes), x, kernel)[1](grad)


def _flat_backward(axes, x, kernel, grad):
    inside = math.prod(kernel.shape[:axes])
    flat_x, flat_kernel = x.reshape(-1, inside), kernel.reshape(inside, -1)
    flat_grad = grad.reshape(len(flat_x), -1)
    x_grad = lax.dot_general(flat_grad, flat_kernel, (((1,), (1,)), ((), ())))
    if flat_grad.shape[1] >= 4 * inside:
        # Rows of a multiple of 4096 bytes fall on the same lines of the cache: for
        # [964, 768] and [964, 3072] the product over first axes took twice as long.
        kernel_grad = lax.optimization_barrier(flat_x.T) @ flat_grad
    else:
        kernel_grad = lax.dot_general(flat_x, flat_grad, (((0,), (0,)), ((), ())))
    return x_grad.reshape(x.shape), kernel_grad.reshape(kernel.shape)


_product.defvjp(_product_forward, _product_backward)
