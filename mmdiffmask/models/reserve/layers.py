"""Transformer parts of MERLOT-Reserve: attention, MLP, stack, pooling.

Module names are those of the released checkpoints; `models.reserve.initial` has the
initial values. Source: reserve.md section 2.
"""

import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from mmdiffmask.models import activations, backward, norms
from mmdiffmask.models.reserve import positions
from mmdiffmask.types import Array

Vectors = Float[Array, "b n d"]  # of a batch of sequences
Scale = Float[Array, "#b n s"]  # `positions.position_scale`: of queries and keys
Bias = Float[Array, "#b 1 n n"] | None  # added to the logits: see `backward.attend`
Weights = Float[Array, "b h n n"]  # how much query i (axis 2) takes of key j (axis 3)


def pair_mask(is_valid: Bool[Array, "b n"]) -> Bool[Array, "b n n"]:
    """True where position i may look at j: both are real."""
    return is_valid[:, :, None] & is_valid[:, None, :]


def gelu(x: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """Reserve's approximation, x * sigmoid(1.702 x)."""
    return activations.by_name(backward.RESERVE_GELU).value(x)


def unit_normalize(x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
    """x / sqrt(sum(x^2) + 1e-5), in float32 (reserve.md section 2.6)."""
    x = x.astype(jnp.float32)
    return x * jax.lax.rsqrt(jnp.sum(jnp.square(x), -1, keepdims=True) + 1e-5)


class SelfAttention(nn.Module):
    """Multi-head self-attention with one fused projection.

    Matrix products over (batch, head, position, dimension): on CPU this took 0.90 of
    the time of `jax.nn.dot_product_attention`, forward and backward, for 112 x 61 and
    16 x 169 tokens of 2 heads, and it has the weights at hand.
    """

    hidden: int
    head_size: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Vectors, scale: Scale, bias: Bias) -> tuple[Vectors, Weights]:
        """The projected output and the weights, for `x` after its LayerNorm."""
        heads = self.hidden // self.head_size
        qkv = nn.DenseGeneral(
            (3 * heads, self.head_size),
            dtype=self.dtype,
            dot_general=backward.product,
            name="qkv",
        )(x)
        scaled = qkv[:, :, : 2 * heads] * scale[:, :, None, :].astype(self.dtype)
        query, key = jnp.split(scaled, 2, axis=2)
        query = query * self.head_size**-0.5
        mixed, weights = backward.attend(query, key, qkv[:, :, 2 * heads :], bias)
        projected = nn.DenseGeneral(
            self.hidden,
            axis=(-2, -1),
            use_bias=False,
            dtype=self.dtype,
            dot_general=backward.product,
            name="attn_proj",
        )(mixed)
        return projected, weights


class MLP(nn.Module):
    """Two dense layers, four times as wide between; no bias in the second."""

    hidden: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
        """Maps every position by itself."""
        dense = functools.partial(nn.Dense, dtype=self.dtype)
        wide = dense(
            4 * self.hidden, dot_general=backward.product, name="intermediate"
        )(x)
        out = dense(
            self.hidden,
            use_bias=False,
            dot_general=backward.activated_product,  # of Reserve's gelu
            name="out",
        )
        return out(wide)


class Layer(nn.Module):
    """One pre-norm layer: attention, then MLP, each added to its input."""

    hidden: int
    head_size: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Vectors, scale: Scale, bias: Bias) -> tuple[Vectors, Weights]:
        """The new sequence and this layer's attention weights."""
        norm = functools.partial(norms.LayerNorm, dtype=self.dtype)
        attention = SelfAttention(
            self.hidden, self.head_size, self.dtype, name="attention_layer"
        )
        mixed, weights = attention(norm(name="pre_attn_ln")(x), scale, bias)
        x = x + mixed
        mlp = MLP(self.hidden, self.dtype, name="mlp_layer")
        return x + mlp(norm(name="pre_mlp_ln")(x)), weights


class Encoded(NamedTuple):
    """What a transformer stack gives.

    `seq` is after final_ln without the CLS row, `cls` that row projected (None where
    the stack has no CLS), `weights` the last layer's attention over all positions,
    CLS first.
    """

    seq: Float[Array, "b n d"]
    cls: Float[Array, "b d"] | None
    weights: Float[Array, "b h m m"]


class Encoder(nn.Module):
    """The transformer stack that all four encoders share (reserve.md section 2.1)."""

    hidden: int
    head_size: int
    layers: int
    dtype: jnp.dtype
    has_cls: bool = True
    remat: bool = False

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b n d"],
        coordinates: Float[Array, "#b n axes"],
        is_valid: Bool[Array, "b n"] | None = None,
        attend: Bool[Array, "b n n"] | None = None,
    ) -> Encoded:
        """Encodes a batch of sequences.

        Args:
          x: embeddings.
          coordinates: positions, in the dtype of computing; CLS stands at 0.
          is_valid: real positions look at real ones, padding at nothing (which is
            uniform attention, never read). CLS is real. None: all are real.
          attend: instead of `is_valid`, where there is no CLS: True where position i
            may look at j.
        """
        x = x.astype(self.dtype)
        if self.has_cls:
            assert attend is None, "a stack with CLS takes is_valid"
            x, coordinates, is_valid = self._with_cls(x, coordinates, is_valid)
        if is_valid is not None:
            assert attend is None, "is_valid or attend, not both"
            attend = pair_mask(is_valid)
        scale = positions.position_scale(coordinates, self.head_size)
        bias = None
        if attend is not None:
            bias = jnp.where(attend, 0.0, backward.NOT_ALLOWED)[:, None]
        norm = functools.partial(norms.LayerNorm, dtype=self.dtype)
        x = norm(name="pre_ln")(x)
        layer = nn.remat(Layer) if self.remat else Layer
        weights = None
        for index in range(self.layers):
            encode = layer(
                self.hidden, self.head_size, self.dtype, name=f"layer_{index:02d}"
            )
            x, weights = encode(x, scale, bias)
        x = norm(name="final_ln")(x)
        if not self.has_cls:
            return Encoded(x, None, weights)
        project = nn.Dense(self.hidden, dtype=self.dtype, name="cls_proj")
        return Encoded(x[:, 1:], project(x[:, 0]), weights)

    def _with_cls(self, x: Array, coordinates: Array, is_valid: Array | None) -> tuple:
        """Puts CLS in front of sequence, coordinates and validity."""
        cls = self.param("cls", nn.initializers.normal(0.02), (self.hidden,))
        first = jnp.broadcast_to(cls.astype(self.dtype), (len(x), 1, self.hidden))
        x = jnp.concatenate([first, x], axis=1)
        coordinates = jnp.pad(coordinates, ((0, 0), (1, 0), (0, 0)))
        if is_valid is not None:
            is_valid = jnp.pad(is_valid, ((0, 0), (1, 0)), constant_values=True)
        return x, coordinates, is_valid


class AttentionPool(nn.Module):
    """Pools groups of vectors by attention with one query, their mean.

    No residual, norm or position (reserve.md section 2.3).
    """

    hidden: int
    head_size: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Float[Array, "b n g d"]) -> Float[Array, "b n d"]:
        """Pools the g vectors of every group."""
        heads = self.hidden // self.head_size
        split = functools.partial(
            nn.DenseGeneral,
            (heads, self.head_size),
            dtype=self.dtype,
            dot_general=backward.product,
        )
        query = split(name="query")(x.mean(axis=2)) * self.head_size**-0.5
        key, value = split(name="key")(x), split(name="value")(x)
        # Sums of products, not einsum: so small a matrix product costs more on CPU.
        weights = jax.nn.softmax((query[:, :, None] * key).sum(axis=-1), axis=2)
        pooled = (weights[..., None] * value).sum(axis=2)
        out = nn.DenseGeneral(self.hidden, axis=(-2, -1), dtype=self.dtype, name="out")
        return out(pooled)
