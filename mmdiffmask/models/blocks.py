"""A transformer's block and stack, with what families differ in as settings.

BERT's block (Devlin et al. 2019) is the default: norms behind the sums, biases
everywhere. Names of parameters are this project's; each family maps its checkpoints'.
"""

import dataclasses
import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, PRNGKeyArray

from mmdiffmask.models import backward, dropout, norms
from mmdiffmask.types import Array

DENSE = ("query", "key", "value", "attention_output", "intermediate", "output")

Vectors = Float[Array, "b n d"]
Weights = Float[Array, "b h n n"]  # how much query i (axis 2) takes of key j (axis 3)
Bias = Float[Array, "#b 1 #n n"] | None  # added to the logits: see `backward.attend`


@dataclasses.dataclass(frozen=True)
class BlockSizes:
    """What a block is like.

    Attributes:
      hidden: width of the sequence.
      heads: of attention; they divide `hidden`.
      intermediate: width between the two dense layers.
      activation: between them, a name of `activations.ACTIVATIONS`.
      epsilon: of the norms.
      hidden_dropout: rate for what is added to the sequence.
      attention_dropout: rate for attention weights.
      norm_first: norms stand before attention and before the dense layers, on what
        they read; else behind each sum.
      without_bias: those of `DENSE` that have none.
      dtype: of computing; parameters are float32.
    """

    hidden: int
    heads: int
    intermediate: int
    activation: str = "gelu"
    epsilon: float = 1e-12
    hidden_dropout: float = 0.1
    attention_dropout: float = 0.1
    norm_first: bool = False
    without_bias: tuple[str, ...] = ()
    dtype: str = "float32"


class Encoding(NamedTuple):
    """What a stack gives.

    `seq` is the last layer's sequence. On request, `states` are the sequences before
    the first layer and behind each, and `attentions` each layer's weights.
    """

    seq: Vectors
    states: tuple[Vectors, ...] = ()
    attentions: tuple[Weights, ...] = ()


def key_bias(is_valid: Bool[Array, "b n"]) -> Float[Array, "b 1 1 n"]:
    """What lets every position, padding too, look at real ones alone."""
    return jnp.where(is_valid, 0.0, backward.NOT_ALLOWED)[:, None, None]


class Block(nn.Module):
    """Attention, then two dense layers, each added to the sequence."""

    sizes: BlockSizes

    def setup(self):
        """The norms are named by the sum that they belong to."""
        size, dtype = self.sizes, jnp.dtype(self.sizes.dtype)
        for name in DENSE[:4]:
            setattr(self, name, self._dense(name, size.hidden, backward.product))
        self.intermediate = self._dense(
            "intermediate", size.intermediate, backward.product
        )
        self.output = self._dense(
            "output",
            size.hidden,
            functools.partial(backward.activated_product, activation=size.activation),
        )
        self.attention_norm = norms.LayerNorm(dtype, size.epsilon)
        self.output_norm = norms.LayerNorm(dtype, size.epsilon)

    def _dense(self, name: str, width: int, dot_general: object) -> nn.Dense:
        return nn.Dense(
            width,
            use_bias=name not in self.sizes.without_bias,
            dtype=jnp.dtype(self.sizes.dtype),
            dot_general=dot_general,
        )

    def __call__(
        self,
        x: Vectors,
        bias: Bias,
        head_mask: Float[Array, " h"] | None = None,
        key: PRNGKeyArray | None = None,
    ) -> tuple[Vectors, Weights]:
        """The new sequence and the attention weights, before dropout.

        Args:
          x: the sequence.
          bias: where it may look; None: everywhere.
          head_mask: what each head's output is multiplied by, its weights too.
          key: of dropout; None: nothing is dropped.
        """
        size = self.sizes
        keys = dropout.split(key, "weights", "attended", "mapped")
        drop = functools.partial(dropout.drop, rate=size.hidden_dropout)
        first, second = self.attention_norm, self.output_norm
        read = first(x) if size.norm_first else x
        attended, weights = self._attend(read, bias, head_mask, keys["weights"])
        x = x + drop(keys["attended"], attended)
        x = x if size.norm_first else first(x)
        read = second(x) if size.norm_first else x
        x = x + drop(keys["mapped"], self.output(self.intermediate(read)))
        return x if size.norm_first else second(x), weights

    def _attend(
        self,
        x: Vectors,
        bias: Bias,
        head_mask: Float[Array, " h"] | None,
        key: PRNGKeyArray | None,
    ) -> tuple[Vectors, Weights]:
        size, rate = self.sizes, self.sizes.attention_dropout
        batch, length, _ = x.shape
        shape = (batch, length, size.heads, size.hidden // size.heads)
        query, keys, value = (
            dense(x).reshape(shape) for dense in (self.query, self.key, self.value)
        )
        is_kept = None
        if key is not None and rate > 0.0:
            is_kept = dropout.draw(key, rate, (batch, size.heads, length, length))
        query = query * shape[-1] ** -0.5
        mixed, weights = backward.attend(query, keys, value, bias, is_kept, rate)
        if head_mask is not None:
            head_mask = head_mask.astype(mixed.dtype)
            mixed = mixed * head_mask[None, None, :, None]
            weights = weights * head_mask[None, :, None, None]
        return self.attention_output(mixed.reshape(x.shape)), weights


class Stack(nn.Module):
    """Blocks one after another."""

    sizes: BlockSizes
    layers: int
    remat: bool = False

    @nn.compact
    def __call__(
        self,
        x: Vectors,
        bias: Bias,
        head_mask: Float[Array, "layers h"] | None = None,
        key: PRNGKeyArray | None = None,
        every_layer: bool = False,
    ) -> Encoding:
        """Encodes embedded sequences; arguments as of `Block`.

        Args:
          x: embeddings.
          bias: where each position may look.
          head_mask: a row for each layer.
          key: of dropout.
          every_layer: whether `states` and `attentions` are wanted.
        """
        block = nn.remat(Block) if self.remat else Block
        states, attentions = [x], []
        for index in range(self.layers):
            x, weights = block(self.sizes, name=f"layer_{index:02d}")(
                x,
                bias,
                None if head_mask is None else head_mask[index],
                None if key is None else jax.random.fold_in(key, index),
            )
            states.append(x)
            attentions.append(weights)
        if not every_layer:
            return Encoding(x)
        return Encoding(x, tuple(states), tuple(attentions))
