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
from jaxtyping import Bool, Float

from mmdiffmask.models import activations
from mmdiffmask.types import Array

NORM_EPSILON = 1e-5  # reserve.md section 2.1
RESERVE_GELU = "quick_gelu"
NOT_ALLOWED = -1e10  # added to a logit; -inf would be NaN in rows without any key


def _late(x: Array, grad: Array) -> Array:
    """`x`, such that nothing is computed of it before the gradient of x is there.

    Else XLA computes it in the forward pass already, or keeps what that has, and the
    first touch of fresh memory costs more than computing it again. On CPU barriers are
    dropped before this is decided (so rematerialisation, too, does nothing there).
    """
    return lax.platform_dependent(
        x,
        grad,
        cpu=lambda x, grad: jnp.where(jnp.isnan(grad), jnp.nan, x),
        default=lambda x, grad: lax.optimization_barrier((x, grad))[0],
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def layer_norm(
    x: Float[Array, "*b d"],
    scale: Float[Array, " d"],
    bias: Float[Array, " d"],
    epsilon: float = NORM_EPSILON,
) -> Float[Array, "*b d"]:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, in float32.

    The variance is mean(x^2) - mean(x)^2, at least 0, as in Reserve's reference.
    """
    return _layer_norm_forward(x, scale, bias, epsilon)[0]


def _layer_norm_forward(
    x: Float[Array, "*b d"],
    scale: Float[Array, " d"],
    bias: Float[Array, " d"],
    epsilon: float,
) -> tuple[Float[Array, "*b d"], tuple[Array, ...]]:
    wide = x.astype(jnp.float32)
    mean = wide.mean(axis=-1, keepdims=True)
    variance = jnp.square(wide).mean(axis=-1, keepdims=True) - jnp.square(mean)
    inverse = lax.rsqrt(jnp.maximum(variance, 0.0) + epsilon)
    scale, bias = (jnp.expand_dims(v, range(x.ndim - 1)) for v in (scale, bias))
    normed = (wide - mean) * (inverse * scale) + bias
    return normed.astype(x.dtype), (x, mean, inverse, scale)


def _layer_norm_backward(
    _: float, saved: tuple[Array, ...], grad: Float[Array, "*b d"]
) -> tuple[Float[Array, "*b d"], Float[Array, " d"], Float[Array, " d"]]:
    x, mean, inverse, scale = saved
    x = _late(x, grad)
    lead = tuple(range(x.ndim - 1))
    grad = grad.astype(jnp.float32)
    unit = (x.astype(jnp.float32) - mean) * inverse
    scaled = grad * scale
    along = (scaled * unit).mean(axis=-1, keepdims=True)
    x_grad = inverse * (scaled - scaled.mean(axis=-1, keepdims=True) - unit * along)
    return x_grad.astype(x.dtype), (grad * unit).sum(axis=lead), grad.sum(axis=lead)


layer_norm.defvjp(_layer_norm_forward, _layer_norm_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(5,))
def attend(
    query: Float[Array, "b n h s"],
    key: Float[Array, "b n h s"],
    value: Float[Array, "b n h s"],
    bias: Float[Array, "#b 1 #n n"] | None,
    is_kept: Bool[Array, "b h n n"] | None = None,
    drop_rate: float = 0.0,
) -> tuple[Float[Array, "b n h s"], Float[Array, "b h n n"]]:
    """softmax(query key^T + bias) value, and the softmax: the attention weights.

    `bias` is a mask, 0 or `NOT_ALLOWED`, and takes no gradient. Where there is
    `is_kept`, of weights that were dropped at `drop_rate`, values are mixed by those
    that are kept, divided by 1 - `drop_rate`; the weights that come back are whole.
    """
    heads = [_by_head(x) for x in (query, key, value)]
    mixed, weights = _attend(*heads, bias, is_kept, drop_rate)
    return _by_head(mixed), weights


def _attend(
    query: Float[Array, "b h n s"],
    key: Float[Array, "b h n s"],
    value: Float[Array, "b h n s"],
    bias: Float[Array, "#b 1 #n n"] | None,
    is_kept: Bool[Array, "b h n n"] | None,
    drop_rate: float,
) -> tuple[Float[Array, "b h n s"], Float[Array, "b h n n"]]:
    logits = jnp.einsum("bhqs,bhks->bhqk", query, key)
    if bias is not None:
        logits = logits + bias.astype(logits.dtype)
    weights = jax.nn.softmax(logits, axis=-1)
    used = _dropped(weights, is_kept, drop_rate)
    return jnp.einsum("bhqk,bhks->bhqs", used, value), weights


def _dropped(weights: Array, is_kept: Array | None, drop_rate: float) -> Array:
    if is_kept is None:
        return weights
    return jnp.where(is_kept, weights / (1.0 - drop_rate), 0.0)


def _by_head(x: Array) -> Array:
    """(b n h s) to (b h n s), and back."""
    return x.transpose(0, 2, 1, 3)


def _attend_forward(
    query: custom_derivatives.CustomVJPPrimal,
    key: custom_derivatives.CustomVJPPrimal,
    value: custom_derivatives.CustomVJPPrimal,
    bias: custom_derivatives.CustomVJPPrimal | None,
    is_kept: custom_derivatives.CustomVJPPrimal | None,
    drop_rate: float,
) -> tuple[tuple[Array, Array], tuple[Array | None, ...]]:
    heads = [_by_head(x.value) for x in (query, key, value)]
    bias, is_kept = (None if x is None else x.value for x in (bias, is_kept))
    mixed, weights = _attend(*heads, bias, is_kept, drop_rate)
    return (_by_head(mixed), weights), (*heads, bias, is_kept, mixed, weights)


def _attend_backward(
    drop_rate: float,
    saved: tuple[Array | None, ...],
    grads: tuple[
        Array | custom_derivatives.SymbolicZero, Array | custom_derivatives.SymbolicZero
    ],
) -> tuple[Array | None, ...]:
    query, key, value, bias, is_kept, mixed, weights = saved
    grad, of_weights = _by_head(grads[0]), grads[1]
    # sum_k weights_grad * weights = sum_s grad * mixed: a row of s, not of n.
    along = (grad * mixed).sum(axis=-1, keepdims=True)
    weights_grad = jnp.einsum("bhqs,bhks->bhqk", grad, value)
    weights_grad = _dropped(weights_grad, is_kept, drop_rate)
    if not isinstance(of_weights, custom_derivatives.SymbolicZero):
        weights_grad = weights_grad + of_weights
        along = along + (of_weights * weights).sum(axis=-1, keepdims=True)
    logits_grad = weights * (weights_grad - along)
    used = _dropped(weights, is_kept, drop_rate)
    return (
        _by_head(jnp.einsum("bhqk,bhks->bhqs", logits_grad, key)),
        _by_head(jnp.einsum("bhqk,bhqs->bhks", logits_grad, query)),
        _by_head(jnp.einsum("bhqk,bhqs->bhks", used, grad)),
        None if bias is None else jnp.zeros_like(bias),
        None,
    )


attend.defvjp(_attend_forward, _attend_backward, symbolic_zeros=True)


def product(
    x: Array,
    kernel: Array,
    dimension_numbers: lax.DotDimensionNumbers,
    precision: None = None,
) -> Array:
    """The `dot_general` of the dense layers: last axes of x with first of kernel."""
    ((axes, _), _) = dimension_numbers
    assert precision is None
    return _product(len(axes), x, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _product(axes: int, x: Array, kernel: Array) -> Array:
    return jnp.tensordot(x, kernel, axes)


def _product_forward(
    axes: int, x: Array, kernel: Array
) -> tuple[Array, tuple[Array, Array]]:
    return jnp.tensordot(x, kernel, axes), (x, kernel)


def _product_backward(
    axes: int, saved: tuple[Array, Array], grad: Array
) -> tuple[Array, Array]:
    x, kernel = saved
    x_grad = _input_grad(axes, kernel, grad)
    return x_grad, _kernel_grad(axes, x, grad, x_grad)


def _input_grad(axes: int, kernel: Array, grad: Array) -> Array:
    """Of `tensordot(x, kernel, axes)`: the gradient of x."""
    lead = grad.ndim - kernel.ndim + axes
    inner, outer = tuple(range(lead, grad.ndim)), tuple(range(axes, kernel.ndim))

    def plain(kernel: Array, grad: Array) -> Array:
        return jnp.tensordot(grad, kernel, (inner, outer))

    def flat(kernel: Array, grad: Array) -> Array:
        # XLA copies a kernel of more than two axes.
        product = lax.dot_general(
            _flat(grad, lead), _flat(kernel, axes), (((1,), (1,)), ((), ()))
        )
        return product.reshape(*grad.shape[:lead], *kernel.shape[:axes])

    return lax.platform_dependent(kernel, grad, cpu=flat, default=plain)


def _kernel_grad(axes: int, x: Array, grad: Array, x_grad: Array) -> Array:
    """Of `tensordot(x, kernel, axes)`: the gradient of kernel."""
    lead = x.ndim - axes

    def plain(x: Array, grad: Array, x_grad: Array) -> Array:
        return jnp.tensordot(x, grad, (tuple(range(lead)),) * 2)

    def flat(x: Array, grad: Array, x_grad: Array) -> Array:
        left, right = _flat(x, lead), _flat(grad, lead)
        if right.shape[1] < 4 * left.shape[1]:
            product = lax.dot_general(left, right, (((0,), (0,)), ((), ())))
        else:
            # Rows of a multiple of 4096 bytes share lines of the cache: the product
            # over first axes of [964, 768] and [964, 3072] took twice as long.
            left = lax.optimization_barrier(_flat(_late(x, x_grad), lead).T)
            product = left @ right
        return product.reshape(*x.shape[lead:], *grad.shape[lead:])

    return lax.platform_dependent(x, grad, x_grad, cpu=flat, default=plain)


def _flat(x: Array, lead: int) -> Array:
    """(product of the first `lead` axes, product of the others)."""
    return x.reshape(math.prod(x.shape[:lead]), -1)


_product.defvjp(_product_forward, _product_backward)


def activated_product(
    x: Array,
    kernel: Array,
    dimension_numbers: lax.DotDimensionNumbers,
    precision: None = None,
    activation: str = RESERVE_GELU,
) -> Array:
    """activation(x) kernel, as the `dot_general` of a dense layer; keeps x alone."""
    assert dimension_numbers == (((x.ndim - 1,), (0,)), ((), ()))
    assert precision is None
    return _activated_product(activation, x, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _activated_product(activation: str, x: Array, kernel: Array) -> Array:
    return activations.by_name(activation).value(x) @ kernel


def _activated_product_forward(
    activation: str, x: Array, kernel: Array
) -> tuple[Array, tuple[Array, Array]]:
    return activations.by_name(activation).value(x) @ kernel, (x, kernel)


def _activated_product_backward(
    activation: str, saved: tuple[Array, Array], grad: Array
) -> tuple[Array, Array]:
    x, kernel = saved
    wide_grad = _input_grad(1, kernel, grad)
    x = _late(x, wide_grad)
    value, slope = activations.by_name(activation).with_slope(x)
    return wide_grad * slope, _kernel_grad(1, value, grad, wide_grad)


_activated_product.defvjp(_activated_product_forward, _activated_product_backward)
