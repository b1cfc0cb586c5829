"""Which quarter of a text's words a classifier may read, as rows of a sparse matrix."""

from collections.abc import Sequence

import numpy as np
import scipy.sparse
from jaxtyping import Float, Int

SHARE = 0.25  # of a text's words, as masks hide (paper: appendix B)
TOP, DRAWN, CHANCE, LEAST, ALL = NAMES = (
    "most like the anchors",
    "drawn by Eq. 4",
    "drawn at random",
    "least like the anchors",
    "all words",
)
IS_DRAWN = (DRAWN, CHANCE)  # another draw is another bag


def matrix(
    texts: Sequence[Int[np.ndarray, " _"]],
    similarity: Float[np.ndarray, " v"],
    bag: str,
    seeds: Sequence[Sequence[int]],
) -> scipy.sparse.csr_matrix:
    """(texts, words that are in a bag): 1 where a word is in the text's bag.

    Args:
      texts: the words of each, as places in the vocabulary.
      similarity: of the vocabulary's words to the anchors, at least 0.
      bag: one of `NAMES`.
      seeds: of each text's draw.
    """
    chosen = [
        np.unique(text[pick(similarity[text], bag, seed)])
        for text, seed in zip(texts, seeds, strict=True)
    ]
    words, column = np.unique(np.concatenate(chosen), return_inverse=True)
    ends = np.cumsum([0, *map(len, chosen)])
    shape = len(texts), max(len(words), 1)
    return scipy.sparse.csr_matrix((np.ones(len(column)), column, ends), shape=shape)


def pick(
    values: Float[np.ndarray, " w"], bag: str, seed: Sequence[int]
) -> Int[np.ndarray, " k"]:
    """The places of a text's words that are in the bag; ties at random.

    Args:
      values: the similarity of each word, in the text's order.
      bag: one of `NAMES`.
      seed: of the draw.
    """
    if bag == ALL or not len(values):
        return np.arange(len(values))
    lot = np.random.default_rng(seed).gumbel(size=len(values))
    if bag == DRAWN:  # Eq. 4: Gumbel noise on log-weights; weight 0 comes last
        score = np.log(np.maximum(values, 1e-300)) + lot
    else:
        score = {TOP: values, LEAST: -values, CHANCE: lot}[bag]
    k = max(1, round(SHARE * len(values)))
    return np.lexsort((-lot, -score))[:k]
