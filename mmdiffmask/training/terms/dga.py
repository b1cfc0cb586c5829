"""DGA (Ke et al. 2023): continued pretraining that spares the heads that matter.

Heads that matter for what a model knows in general take smaller gradients, and a
contrastive term tells a text's vector from the one that those heads alone give.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import traverse_util
from jaxtyping import Bool, Float, PRNGKeyArray

from mmdiffmask.models import dropout
from mmdiffmask.models.bert import model
from mmdiffmask.models.bert.settings import BertSettings
from mmdiffmask.training import contrast
from mmdiffmask.types import Array

Params = dict[str, Any]
NAME, HELD = "dga", "importance"  # the term; what a run holds fixed for it
TEMPERATURE = 0.05
TEXTS = 10_000  # the first ones, by which heads are judged
_ALONG = {"query": -1, "key": -1, "value": -1, "attention_output": 0}


@functools.partial(jax.jit, static_argnums=0)
def sensitivity(
    settings: BertSettings, params: Params, pieces: model.Pieces, key: PRNGKeyArray
) -> Float[Array, "layers h"]:
    """How much each head moves what dropout changes: the sum over texts.

    Of each text: the size of the gradient of KL(one pass || another), which differ in
    dropout alone, by a head mask of ones. The passes' distributions are the softmax of
    each piece's last state; the loss is the mean over pieces.

    Args:
      settings: the model.
      params: of the body.
      pieces: texts.
      key: of dropout; another one for each text is made of it.
    """
    ones = jnp.ones((settings.layers, settings.heads))

    def of_text(one: model.Pieces, key: PRNGKeyArray) -> Float[Array, "layers h"]:
        texts = jax.tree.map(lambda x: x[None], one)
        return jnp.abs(
            jax.grad(divergence, argnums=2)(settings, params, ones, texts, key)
        )

    keys = jax.random.split(key, len(pieces.ids))
    is_real = pieces.is_valid.any(1)
    each = jax.vmap(of_text)(pieces, keys)
    return jnp.sum(jnp.where(is_real[:, None, None], each, 0.0), axis=0)


def divergence(
    settings: BertSettings,
    params: Params,
    head_mask: Float[Array, "layers h"],
    pieces: model.Pieces,
    key: PRNGKeyArray,
) -> Float[Array, ""]:
    """KL of two passes under dropout, the mean over all real pieces."""
    first, second = (
        jax.nn.log_softmax(_states(settings, params, pieces, head_mask, one), axis=-1)
        for one in dropout.split(key, "first", "second").values()
    )
    each = jnp.sum(jnp.exp(first) * (first - second), axis=-1)
    count = jnp.maximum(pieces.is_valid.sum(), 1)
    return jnp.where(pieces.is_valid, each, 0.0).sum() / count


def _states(
    settings: BertSettings,
    params: Params,
    pieces: model.Pieces,
    head_mask: Float[Array, "layers h"] | None,
    key: PRNGKeyArray,
) -> Float[Array, "b n d"]:
    """Last states in float32."""
    bert = model.Bert(settings)
    encoding = bert.apply({"params": params}, pieces, head_mask, key)
    return encoding.seq.astype(jnp.float32)


def importance(sensitivity: Float[Array, "layers h"]) -> Float[Array, "layers h"]:
    """|tanh| of the sensitivities, standardised within each layer; in [0, 1).

    A layer whose heads are all alike has 0: they are spared alike, that is, not.
    """
    centred = sensitivity - sensitivity.mean(axis=1, keepdims=True)
    spread = sensitivity.std(axis=1, keepdims=True)
    return jnp.abs(jnp.tanh(centred / jnp.where(spread > 0, spread, 1.0)))


def spare(params: Params, importance: Float[Array, "layers h"]) -> Params:
    """The same parameters, of which the heads' take gradients times 1 - importance.

    Those are the dense layers of queries, keys, values and the attention's output. The
    output's bias belongs to no head and takes its whole gradient.

    Args:
      params: with the body's `encoder/layer_00` and so on.
      importance: of each head.
    """
    flat = traverse_util.flatten_dict(params)
    for path, value in flat.items():
        if len(path) != 4 or path[0] != "encoder" or path[2] not in _ALONG:
            continue
        axis = _ALONG[path[2]]
        if axis == 0 and value.ndim == 1:
            continue
        share = 1.0 - importance[int(path[1].rpartition("_")[2])]
        share = jnp.repeat(share, value.shape[axis] // len(share))
        shape = [1] * value.ndim
        shape[axis] = len(share)
        flat[path] = _scaled(value, jnp.broadcast_to(share.reshape(shape), value.shape))
    return traverse_util.unflatten_dict(flat)


@jax.custom_vjp
def _scaled(x: Float[Array, "..."], share: Float[Array, "..."]) -> Float[Array, "..."]:
    """x, whose gradient is multiplied by `share`."""
    return x


def _scaled_forward(
    x: Float[Array, "..."], share: Float[Array, "..."]
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    return x, share


def _scaled_backward(
    share: Float[Array, "..."], grad: Float[Array, "..."]
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    return grad * share, jnp.zeros_like(share)


_scaled.defvjp(_scaled_forward, _scaled_backward)


def loss(
    settings: BertSettings,
    params: Params,
    importance: Float[Array, "layers h"],
    pieces: model.Pieces,
    first: Float[Array, "b n d"],
    key: PRNGKeyArray,
) -> Float[Array, ""]:
    """The contrast of a pass with two more: other dropout, and the heads that matter.

    Args:
      settings: the model.
      params: of the body; the caller has them spared, for this and for other terms.
      importance: of each head.
      pieces: texts with what is hidden replaced.
      first: their last states under dropout.
      key: of the other passes' dropout.
    """
    keys = dropout.split(key, "again", "general")
    again = _states(settings, params, pieces, None, keys["again"])
    importance = jax.lax.stop_gradient(importance)
    general = _states(settings, params, pieces, importance, keys["general"])
    vectors = [_pooled(x, pieces) for x in (first.astype(jnp.float32), again, general)]
    return contrast_of(*vectors, is_real=pieces.is_valid.any(1))


def _pooled(seq: Float[Array, "b n d"], pieces: model.Pieces) -> Float[Array, "b d"]:
    """The mean over the real pieces of each text."""
    is_real = pieces.is_valid[..., None]
    count = jnp.maximum(is_real.sum(axis=1), 1)
    return jnp.where(is_real, seq, 0.0).sum(axis=1) / count


def contrast_of(
    full: Float[Array, "b d"],
    again: Float[Array, "b d"],
    general: Float[Array, "b d"],
    is_real: Bool[Array, " b"],
) -> Float[Array, ""]:
    """InfoNCE: each text's vector against its vector under other dropout.

    Negatives are the other texts' vectors under other dropout, and those of all texts
    by the heads that matter in general.

    Args:
      full: of each text.
      again: under other dropout.
      general: with the head mask.
      is_real: False for rows that pad the batch.
    """
    scale = jnp.float32(-math.log(TEMPERATURE))
    x = contrast.scaled(full, scale)
    y = contrast.scaled(jnp.concatenate([again, general]), scale)
    pairs = contrast.Pairs(
        x=jnp.concatenate([x, jnp.zeros_like(x)]),
        y=y,
        is_row=jnp.concatenate([is_real, jnp.zeros_like(is_real)]),
        is_candidate=jnp.tile(is_real, 2),
    )
    each, _ = contrast.row_losses(pairs)
    return each.sum() / jnp.maximum(is_real.sum(), 1)
