"""A BERT encoder's last hidden states of one text, in numpy.

For a few hundred words, as labels of boxes are: nothing is compiled or trained.
"""

import math
from collections.abc import Mapping

import numpy as np
import scipy.special
from jaxtyping import Float, Int

Weights = Mapping[str, np.ndarray]  # by the names of Hugging Face's BertModel


def encode(
    weights: Weights,
    ids: Int[np.ndarray, " n"],
    heads: int,
    epsilon: float = 1e-12,
    prefix: str = "",
    types: Int[np.ndarray, " n"] | None = None,
) -> Float[np.ndarray, "n d"]:
    """The last hidden states of one text without padding (Devlin et al. 2019).

    Args:
      weights: kernels are (out, in), as torch keeps them.
      ids: its word pieces, with those that open and close it.
      heads: of attention.
      epsilon: of the layer norms.
      prefix: of the names, such as "bert.".
      types: number of the sentence of each piece; None: all are of the first.

    Raises:
      ValueError: if the text has more pieces than there are positions.
    """
    embeddings = prefix + "embeddings."
    positions = weights[f"{embeddings}position_embeddings.weight"]
    if len(ids) > len(positions):
        raise ValueError(
            f"{len(ids)} word pieces: at most {len(positions)} can be read"
        )
    x = weights[f"{embeddings}word_embeddings.weight"][ids]
    x = x + positions[: len(ids)]
    types = np.zeros(len(ids), int) if types is None else types
    x = x + weights[f"{embeddings}token_type_embeddings.weight"][types]
    x = _norm(weights, f"{embeddings}LayerNorm", x, epsilon)
    layer = 0
    while f"{prefix}encoder.layer.{layer}.output.dense.weight" in weights:
        x = _layer(weights, f"{prefix}encoder.layer.{layer}.", x, heads, epsilon)
        layer += 1
    return x


def _layer(
    weights: Weights, name: str, x: np.ndarray, heads: int, epsilon: float
) -> np.ndarray:
    """Attention and a feed-forward layer, each with a layer norm behind its sum."""
    query, key, value = (
        _linear(weights, f"{name}attention.self.{part}", x)
        .reshape(len(x), heads, -1)
        .swapaxes(0, 1)
        for part in ("query", "key", "value")
    )  # (h, n, d / h)
    scores = query @ key.swapaxes(1, 2) / math.sqrt(query.shape[-1])
    mixed = scipy.special.softmax(scores, axis=-1) @ value
    mixed = mixed.swapaxes(0, 1).reshape(x.shape)
    mixed = _linear(weights, f"{name}attention.output.dense", mixed)
    x = _norm(weights, f"{name}attention.output.LayerNorm", x + mixed, epsilon)
    wide = _linear(weights, f"{name}intermediate.dense", x)
    wide = wide * scipy.special.ndtr(wide)  # gelu, exact
    wide = _linear(weights, f"{name}output.dense", wide)
    return _norm(weights, f"{name}output.LayerNorm", x + wide, epsilon)


def _linear(weights: Weights, name: str, x: np.ndarray) -> np.ndarray:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _norm(weights: Weights, name: str, x: np.ndarray, epsilon: float) -> np.ndarray:
    x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt(np.square(x).mean(-1, keepdims=True) + epsilon)
    return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]
