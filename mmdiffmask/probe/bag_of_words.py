"""A floor of labels of texts: a convex head on which words stand in each text."""

from collections.abc import Sequence

import numpy as np
import scipy.sparse
import scipy.special
from jaxtyping import Bool, Float, Int

from mmdiffmask import softmax
from mmdiffmask.data import texts as corpora
from mmdiffmask.masking import word_counts
from mmdiffmask.probe import linear

PENALTY = 1e-3  # one for all corpora, so that none is chosen


def bags(texts: Sequence[str]) -> scipy.sparse.csr_matrix:
    """(texts, words) 1 where a text has a word; signs around entities are no words."""
    column: dict[str, int] = {}
    row_of, column_of = [], []
    for i, text in enumerate(texts):
        for name in sorted(set(word_counts.words(corpora.without_markers(text)))):
            row_of.append(i)
            column_of.append(column.setdefault(name, len(column)))
    shape = len(texts), max(len(column), 1)
    ones = np.ones(len(row_of))
    return scipy.sparse.csr_matrix((ones, (row_of, column_of)), shape=shape)


def predict(
    features: scipy.sparse.csr_matrix,
    labels: Sequence[str],
    is_fitted: Bool[np.ndarray, " e"],
) -> list[str]:
    """The class of each row that no head is fitted on, in order.

    Args:
      features: of all rows.
      labels: of all rows; those that are predicted are not read.
      is_fitted: rows that the head is fitted on.

    Raises:
      ValueError: as `softmax.minimise`.
    """
    known = [labels[i] for i in np.flatnonzero(is_fitted)]
    classes = sorted(set(known))
    target = linear.class_index(known, classes)
    kernel, bias = _fit(features[is_fitted], target, len(classes))
    scores = features[~is_fitted] @ kernel + bias
    return [classes[i] for i in scores.argmax(1)]


def _fit(
    features: scipy.sparse.csr_matrix, target: Int[np.ndarray, " e"], n_classes: int
) -> tuple[Float[np.ndarray, "d k"], Float[np.ndarray, " k"]]:
    """Softmax regression of sparse features at its optimum, as `softmax.objective`."""
    d = features.shape[1]
    turned, size = features.T.tocsr(), d * n_classes

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        kernel, bias = flat[:size].reshape(d, n_classes), flat[size:]
        value, error = softmax.of_scores(features @ kernel + bias, target)
        value += 0.5 * PENALTY * float((kernel**2).sum())
        slope = turned @ error + PENALTY * kernel
        return value, np.concatenate([slope.ravel(), error.sum(0)])

    flat, _ = softmax.minimise(loss, size + n_classes)
    return flat[:size].reshape(d, n_classes), flat[size:]
