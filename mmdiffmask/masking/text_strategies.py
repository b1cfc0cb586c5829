"""Masking methods of texts as weights of words or pieces: the registry."""

import dataclasses
import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mmdiffmask.masking import strategies

Similarity = Callable[[Sequence[str]], Float[np.ndarray, " w"]]


class Settings(NamedTuple):
    """What words are scored from.

    Attributes:
      similarity: (words) -> each one's similarity to the anchors, at least 0.
      n_texts: how many distinct texts the corpus has.
      texts_with: word -> in how many of them it stands.
    """

    similarity: Similarity | None = None
    n_texts: int = 0
    texts_with: Mapping[str, int] | None = None


# (the words of a window, settings) -> their scores
Score = Callable[[Sequence[str], Settings], Float[np.ndarray, " w"]]


def by_anchors(words: Sequence[str], settings: Settings) -> Float[np.ndarray, " w"]:
    """Similarity of each word to the anchors. Paper: Eq. 3."""
    return settings.similarity(words)


def by_tfidf(words: Sequence[str], settings: Settings) -> Float[np.ndarray, " w"]:
    """How often the word stands here, times log(texts / texts that have it)."""
    names, place, count = np.unique(words, return_inverse=True, return_counts=True)
    having = np.array([settings.texts_with.get(str(word), 1) for word in names])
    score = count * np.log(np.maximum(settings.n_texts / having, 1.0))
    return score[place.reshape(-1)]


@dataclasses.dataclass(frozen=True)
class TextStrategy:
    """A masking method of texts.

    Attributes:
      name: its name in settings; part of the key of its masks.
      label: what reports call it.
      units: what it hides as a whole. Words leave punctuation alone; pieces are all.
      score: of the words; a piece has its word's, punctuation 0. None: all 0.
      weight: of each unit, from the scores.
      origin: where the method is from.
    """

    name: str
    label: str
    units: Literal["piece", "word"]
    score: Score | None
    weight: strategies.Weight
    origin: str

    @property
    def is_anchored(self) -> bool:
        """Whether words count by their similarity to the anchors."""
        return self.score is by_anchors

    @property
    def is_counted(self) -> bool:
        """Whether it needs to know in how many texts a word stands."""
        return self.score is by_tfidf

    def unit_of_piece(self, word_of_piece: Int[np.ndarray, " n"]) -> np.ndarray:
        """The unit of each piece, from the word of each (-1 = punctuation)."""
        if self.units == "word":
            return word_of_piece
        return np.arange(len(word_of_piece), dtype=np.int32)

    def unit_scores(
        self,
        word_of_piece: Int[np.ndarray, " n"],
        word_scores: Float[np.ndarray, " w"],
    ) -> Float[np.ndarray, " u"]:
        """The score of each unit, from those of the words."""
        if self.units == "word":
            return word_scores
        return np.append(word_scores, 0.0)[word_of_piece]  # -1 takes the last


_ROWS = (
    TextStrategy(
        "random-piece",
        "random pieces",
        units="piece",
        score=None,
        weight=strategies.uniform,
        origin="paper, Eq. 5",
    ),
    TextStrategy(
        "random-word",
        "random words",
        units="word",
        score=None,
        weight=strategies.uniform,
        origin="paper, Eq. 5",
    ),
    TextStrategy(
        "difference-word",
        "Difference-Masking (words)",
        units="word",
        score=by_anchors,
        weight=strategies.by_score,
        origin="paper, Eq. 3 and 4",
    ),
    TextStrategy(
        "difference-piece",
        "Difference-Masking (pieces)",
        units="piece",
        score=by_anchors,
        weight=strategies.by_score,
        origin="paper, Table 7",
    ),
    TextStrategy(
        "tfidf",
        "words by TF-IDF",
        units="word",
        score=by_tfidf,
        weight=strategies.by_score,
        origin="control without background corpus or encoder",
    ),
)
REGISTRY = {row.name: row for row in _ROWS}


def find(name: str) -> TextStrategy:
    """The row of that name.

    Raises:
      ValueError: for an unknown name, with the nearest known one.
    """
    if name not in REGISTRY:
        nearest = difflib.get_close_matches(name, REGISTRY, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"strategy {name}: texts have {', '.join(REGISTRY)}; did you mean"
            f" {nearest}?"
        )
    return REGISTRY[name]


def pair(units: str = "word") -> tuple[TextStrategy, TextStrategy]:
    """The rows that hide at random, and by the anchors, what `units` says."""
    rows = [row for row in REGISTRY.values() if row.units == units]
    by_chance = next(row for row in rows if row.score is None)
    return by_chance, next(row for row in rows if row.is_anchored)
