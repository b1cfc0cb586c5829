"""Nearest neighbours on frozen features: the votes of training rows."""

import numpy as np
from jaxtyping import Float, Int


def votes(
    train: Float[np.ndarray, "a d"],
    target: Int[np.ndarray, " a"],
    features: Float[np.ndarray, "e d"],
    n_classes: int,
    neighbours: int,
) -> Float[np.ndarray, "e k"]:
    """Votes for each class by the training rows with the highest cosine.

    Equal votes are decided by the summed cosine. Rows that tie for the last places
    share them, so that no order of the training rows matters.
    """
    cosine = _unit(features) @ _unit(train).T  # (e, a)
    k = min(neighbours, len(train))
    last = -np.partition(-cosine, k - 1, axis=1)[:, k - 1, None]  # of the neighbours
    above, level = (cosine > last).sum(1), (cosine == last).sum(1)
    order = np.argsort(-cosine, axis=1, kind="stable")[:, : (above + level).max()]
    near = np.take_along_axis(cosine, order, 1)
    share = np.where(near == last, ((k - above) / level)[:, None], near > last)
    total = np.zeros((len(features), n_classes))
    rows = np.arange(len(features))[:, None]
    # |sum of cosines| <= k, so a quarter of its mean never outweighs one vote.
    np.add.at(total, (rows, target[order]), share * (1.0 + near / (4.0 * k)))
    return total


def _unit(vectors: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(norm > 0, norm, 1.0)
