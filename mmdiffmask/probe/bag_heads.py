"""Heads on sparse bags of words: softmax regression of rows that many texts share."""

from typing import NamedTuple

import numpy as np
import scipy.optimize
import scipy.sparse
import scipy.special
from jaxtyping import Float

from mmdiffmask import softmax

# Where penalties are only compared.
ROUGH = softmax.FINE._replace(aim=1e-5, limit=float("inf"))


class BagHead(NamedTuple):
    """A linear head: kernel and bias."""

    kernel: Float[np.ndarray, "d n"]
    bias: Float[np.ndarray, " n"]

    def scores(self, features: scipy.sparse.csr_matrix) -> Float[np.ndarray, "g n"]:
        """The score of each class."""
        return features @ self.kernel + self.bias


def fit(
    features: scipy.sparse.csr_matrix,
    counts: Float[np.ndarray, "g n"],
    penalty: float,
    start: BagHead | None = None,
    *,
    is_rough: bool = False,
) -> BagHead:
    """Softmax regression at its optimum (`softmax.minimise`).

    Texts of the same features are one row with counts of their labels.

    Args:
      features: of the groups.
      counts: how many texts of each group have each label.
      penalty: of half the kernel's square, beside the mean loss of a text.
      start: a head from which it is not far.
      is_rough: near the optimum is enough.
    """
    d, n, texts = features.shape[1], counts.shape[1], counts.sum()
    turned, of_group = features.T.tocsr(), counts.sum(1, keepdims=True) / texts
    share = counts / texts
    origin = np.zeros(d * n + n) if start is None else np.append(*map(np.ravel, start))

    def loss(step: np.ndarray) -> tuple[float, np.ndarray]:
        point = origin + step
        kernel, bias = point[: d * n].reshape(d, n), point[d * n :]
        log_p = scipy.special.log_softmax(features @ kernel + bias, axis=1)
        value = -(share * log_p).sum() + 0.5 * penalty * (kernel**2).sum()
        error = np.exp(log_p) * of_group - share
        slope = turned @ error + penalty * kernel
        return float(value), np.concatenate([slope.ravel(), error.sum(0)])

    step, _ = softmax.minimise(loss, d * n + n, ROUGH if is_rough else softmax.FINE)
    point = origin + step
    return BagHead(point[: d * n].reshape(d, n), point[d * n :])
