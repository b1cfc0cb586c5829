"""A BERT encoder's last hidden states of one text or of several alike, in numpy.

For a few thousand words, as labels of boxes are: nothing is compiled or trained.
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
    types = None if types is None else types[None]
    return encode_alike(weights, ids[None], heads, epsilon, prefix, types)[0]


def encode_alike(
    weights: Weights,
    ids: Int[np.ndarray, "b n"],
    heads: int,
    epsilon: float = 1e-12,
    prefix: str = "",
    types: Int[np.ndarray, "b n"] | None = None,
) -> Float[np.ndarray, "b n d"]:
    """`encode` of texts that have equally many word pieces, at once."""
    b, n = ids.shape
    embeddings = prefix + "embeddings."
    positions = weights[f"{embeddings}position_embeddings.weight"]
    if n > len(positions):
        raise ValueError(f"{n} word pieces: at most {len(positions)} can be read")
    x = weights[f"{embeddings}word_embeddings.weight"][ids]
    x = x + positions[:n]
    types = np.zeros((b, n), int) if types is None else types
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
        .reshape(*x.shape[:2], heads, -1)
        .swapaxes(1, 2)
        for part in ("query", "key", "value")
    )  # (b, h, n, d / h)
    scores = query @ key.swapaxes(2, 3) / math.sqrt(query.shape[-1])
    mixed = scipy.special.softmax(scores, axis=-1) @ value
    mixed = mixed.swapaxes(1, 2).reshape(x.shape)
    mixed = _linear(weights, f"{name}attention.output.dense", mixed)
    x = _norm(weights, f"{name}attention.output.LayerNorm", x + mixed, epsilon)
    wide = _linear(weights, f"{name}intermediate.dense", x)
    wide = wide * scipy.special.ndtr(wide)  # gelu, exact
    wide = _linear(weights, f"{name}output.dense", wide)
    return _norm(weights, f"{name}output.LayerNorm", x + wide, epsilon)


def _linear(weights: Weights, name: str, x: np.ndarray) -> np.ndarray:
    # One product of all rows: numpy would multiply text by text.
    rows = x.reshape(-1, x.shape[-1]) @ weights[f"{name}.weight"].T
    return rows.reshape(*x.shape[:-1], -1) + weights[f"{name}.bias"]


def _norm(weights: Weights, name: str, x: np.ndarray, epsilon: float) -> np.ndarray:
    x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt(np.square(x).mean(-1, keepdims=True) + epsilon)
    return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]
