"""Activations by name, each with its slope: what a backward pass by hand needs."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from mmdiffmask.types import Array

RESERVE_SLOPE = 1.702


class Activation(NamedTuple):
    """A function of each value: its result, and its result with its derivative."""

    value: Callable[[Array], Array]
    with_slope: Callable[[Array], tuple[Array, Array]]


def _gated(slope: float) -> Activation:
    """x * sigmoid(slope x)."""

    def value(x: Float[Array, "*b"]) -> Float[Array, "*b"]:
        return x * jax.nn.sigmoid(slope * x)

    def with_slope(
        x: Float[Array, "*b"],
    ) -> tuple[Float[Array, "*b"], Float[Array, "*b"]]:
        gate = jax.nn.sigmoid(slope * x)
        return x * gate, gate * (1.0 + slope * x * (1.0 - gate))

    return Activation(value, with_slope)


def _exact(x: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """x times the share of a normal variable that is below x."""
    return _exact_with_slope(x)[0]


def _exact_with_slope(
    x: Float[Array, "*b"],
) -> tuple[Float[Array, "*b"], Float[Array, "*b"]]:
    below = 0.5 * (1.0 + lax.erf(x * math.sqrt(0.5)))
    density = jnp.exp(-0.5 * jnp.square(x)) * math.sqrt(0.5 / math.pi)
    return x * below, below + x * density


def _tanh(x: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """The approximation of `_exact` that GPT-2 has."""
    return _tanh_with_slope(x)[0]


def _tanh_with_slope(
    x: Float[Array, "*b"],
) -> tuple[Float[Array, "*b"], Float[Array, "*b"]]:
    square, factor = jnp.square(x), math.sqrt(2.0 / math.pi)
    bent = jnp.tanh(factor * x * (1.0 + 0.044715 * square))
    inner = factor * (1.0 + 3 * 0.044715 * square)
    gate = 0.5 * (1.0 + bent)
    return x * gate, gate + 0.5 * x * (1.0 - jnp.square(bent)) * inner


def _relu(x: Float[Array, "*b"]) -> Float[Array, "*b"]:
    return jnp.maximum(x, 0.0)


def _relu_with_slope(
    x: Float[Array, "*b"],
) -> tuple[Float[Array, "*b"], Float[Array, "*b"]]:
    return jnp.maximum(x, 0.0), (x > 0).astype(x.dtype)


_TANH = Activation(_tanh, _tanh_with_slope)
# By the names of Hugging Face's `hidden_act`.
ACTIVATIONS = {
    "gelu": Activation(_exact, _exact_with_slope),
    "gelu_new": _TANH,
    "gelu_pytorch_tanh": _TANH,
    "gelu_fast": _TANH,
    "quick_gelu": _gated(RESERVE_SLOPE),  # Reserve's too
    "relu": Activation(_relu, _relu_with_slope),
    "silu": _gated(1.0),
    "swish": _gated(1.0),
}


def by_name(name: str) -> Activation:
    """The activation of that name.

    Raises:
      ValueError: if there is none; names those that there are.
    """
    if name not in ACTIVATIONS:
        raise ValueError(
            f"activation {name!r} is not known; known: {', '.join(ACTIVATIONS)}"
        )
    return ACTIVATIONS[name]
