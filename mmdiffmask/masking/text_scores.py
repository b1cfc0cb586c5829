"""Scores of the words or pieces of texts, of which strategies make weights."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

Similarity = Callable[[Sequence[str]], Float[np.ndarray, " w"]]


class Passage(NamedTuple):
    """A window of a text, as scores see it.

    Attributes:
      text: the whole text.
      number: which of its windows.
      ids: of the window's n pieces, without those that open and close a text.
      word_of_piece: word of each piece, in [0, w); -1 = punctuation.
      words: the w words, in lower case.
      spans: first character and end of each piece in the text; None: not known.
    """

    text: str
    number: int
    ids: Int[np.ndarray, " n"]
    word_of_piece: Int[np.ndarray, " n"]
    words: Sequence[str]
    spans: Int[np.ndarray, "n 2"] | None = None


# (passages) -> a number for each word, or for each piece, of each of them
Values = Callable[[Sequence[Passage]], list[np.ndarray]]


class Settings(NamedTuple):
    """What words and pieces are scored from; a strategy says which it needs.

    Attributes:
      similarity: (words) -> each one's similarity to the anchors, at least 0.
      n_texts: how many distinct texts the corpus has.
      texts_with: word -> in how many of them it stands.
      attention: of pieces: an encoder's attention from [CLS], sums to 1.
      likeness: of words: similarity to the text that they stand in, at least 0.
      entities: of words: which entity of the text each is of; -1: none.
      importance: of pieces: how likely each matters for the label (Gu et al.).
      gain: of pieces: Eq. 8, at least 0.
      excess: of words: the start's loss there less a reference's.
    """

    similarity: Similarity | None = None
    n_texts: int = 0
    texts_with: Mapping[str, int] | None = None
    attention: Values | None = None
    likeness: Values | None = None
    entities: Values | None = None
    importance: Values | None = None
    gain: Values | None = None
    excess: Values | None = None


# (passages, settings) -> a score for each word, or for each piece, of each of them
Score = Callable[[Sequence[Passage], Settings], list[np.ndarray]]


def by_anchors(passages: Sequence[Passage], settings: Settings) -> list[np.ndarray]:
    """Similarity of each word to the anchors. Paper: Eq. 3."""
    # All words at once: it keeps what it computed.
    settings.similarity(sorted({word for p in passages for word in p.words}))
    return [settings.similarity(p.words) for p in passages]


def by_tfidf(passages: Sequence[Passage], settings: Settings) -> list[np.ndarray]:
    """How often the word stands here, times log(texts / texts that have it)."""
    return [_tfidf(p.words, settings) for p in passages]


def _tfidf(words: Sequence[str], settings: Settings) -> Float[np.ndarray, " w"]:
    if not words:
        return np.zeros(0)
    names, place, count = np.unique(words, return_inverse=True, return_counts=True)
    having = np.array([settings.texts_with.get(str(word), 1) for word in names])
    score = count * np.log(np.maximum(settings.n_texts / having, 1.0))
    return score[place.reshape(-1)]


def by_likeness(passages: Sequence[Passage], settings: Settings) -> list[np.ndarray]:
    """Similarity of each word to its text, as KeyBERT ranks keywords; no anchors."""
    return settings.likeness(passages)


def by_attention(passages: Sequence[Passage], settings: Settings) -> list[np.ndarray]:
    """[CLS] attention of each piece, by the encoder that a run starts from."""
    return settings.attention(passages)


def by_entity(passages: Sequence[Passage], settings: Settings) -> list[np.ndarray]:
    """1 for words of an entity, 0 for the others."""
    return [(e >= 0).astype(np.float64) for e in settings.entities(passages)]


def by_importance(passages: Sequence[Passage], settings: Settings) -> list[np.ndarray]:
    """How likely each piece matters for the label, by Gu et al. (2020)."""
    return settings.importance(passages)


def by_gain(passages: Sequence[Passage], settings: Settings) -> list[np.ndarray]:
    """P(label | text) less P(label | pieces before this one). Paper: Eq. 8."""
    return settings.gain(passages)


def by_excess(passages: Sequence[Passage], settings: Settings) -> list[np.ndarray]:
    """The start's loss at each word, hidden, less a reference's; at least 0.

    A word that the reference knows no better has 0, so it is hidden after all others;
    where all have 0 the draw is uniform. From RHO-1 (Lin et al. 2024); `text.excess`
    says how words are hidden, and where this departs.
    """
    return [np.maximum(value, 0.0) for value in settings.excess(passages)]
