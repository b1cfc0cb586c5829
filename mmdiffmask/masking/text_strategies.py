"""Masking methods of texts as weights of words or pieces: the registry."""

import dataclasses
import difflib
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mmdiffmask.masking import strategies, text_scores
from mmdiffmask.masking.text_scores import Passage, Settings

Similarity = text_scores.Similarity
Need = Literal[
    "anchors",
    "counts",
    "attention",
    "likeness",
    "entities",
    "importance",
    "gain",
    "reference",
]


class Units(NamedTuple):
    """The units of a window's n pieces (-1 = never hidden), and each unit's score."""

    unit_of_piece: Int[np.ndarray, " n"]
    score: Float[np.ndarray, " u"]


@dataclasses.dataclass(frozen=True)
class TextStrategy:
    """A masking method of texts.

    Attributes:
      name: its name in settings; part of the key of its masks.
      label: what reports call it.
      units: what it hides as a whole. Words leave punctuation alone; pieces are all;
        an entity is all its words.
      score: of words or of pieces; None: all 0.
      weight: of each unit, from the scores.
      origin: where the method is from.
      needs: what `Settings` must have for its scores.
      scored: what `score` scores; a piece has its word's, punctuation 0.
      select: "sample" units by weight, or take those of "top" weight.
      limit: of hidden pieces, below the budget; the first unit is hidden whole all the
        same. None: the budget alone counts.
    """

    name: str
    label: str
    units: Literal["piece", "word", "entity"]
    score: text_scores.Score | None
    weight: strategies.Weight
    origin: str
    needs: tuple[Need, ...] = ()
    scored: Literal["word", "piece"] = "word"
    select: Literal["sample", "top"] = "sample"
    limit: int | None = None

    @property
    def is_anchored(self) -> bool:
        """Whether words count by their similarity to the anchors."""
        return "anchors" in self.needs

    def units_of(self, passages: Sequence[Passage], settings: Settings) -> list[Units]:
        """The units of some windows with their scores, in the same order.

        Args:
          passages: the windows; many at once cost less.
          settings: with what the strategy needs.
        """
        if self.score is None:
            sizes = [
                len(p.words) if self.scored == "word" else len(p.ids) for p in passages
            ]
            scores = [np.zeros(size) for size in sizes]
        else:
            scores = self.score(passages, settings)
        if self.units == "piece":
            return [
                Units(np.arange(len(p.ids), dtype=np.int32), self._of_pieces(p, score))
                for p, score in zip(passages, scores, strict=True)
            ]
        words = [p.word_of_piece for p in passages]
        if self.units == "entity":
            entities = settings.entities(passages)
            words = [_joined(*pair) for pair in zip(words, entities, strict=True)]
        return [Units(*pair) for pair in zip(words, scores, strict=True)]

    def _of_pieces(
        self, passage: Passage, score: Float[np.ndarray, " x"]
    ) -> Float[np.ndarray, " n"]:
        if self.scored == "piece":
            return score
        return np.append(score, 0.0)[passage.word_of_piece]  # -1 takes the last


def _joined(
    word_of_piece: Int[np.ndarray, " n"], entity_of_word: Int[np.ndarray, " w"]
) -> Int[np.ndarray, " n"]:
    """The words of an entity as one unit, which has the number of the first."""
    first: dict[int, int] = {}
    unit = [
        word if entity < 0 else first.setdefault(entity, word)
        for word, entity in enumerate(entity_of_word.tolist())
    ]
    return np.array([*unit, -1], np.int32)[word_of_piece]


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
        score=text_scores.by_anchors,
        weight=strategies.by_score,
        origin="paper, Eq. 3 and 4",
        needs=("anchors",),
    ),
    TextStrategy(
        "difference-piece",
        "Difference-Masking (pieces)",
        units="piece",
        score=text_scores.by_anchors,
        weight=strategies.by_score,
        origin="paper, Table 7",
        needs=("anchors",),
    ),
    TextStrategy(
        "tfidf",
        "words by TF-IDF",
        units="word",
        score=text_scores.by_tfidf,
        weight=strategies.by_score,
        origin="control without background corpus or encoder",
        needs=("counts",),
    ),
    TextStrategy(
        "keywords",
        "keywords",
        units="word",
        score=text_scores.by_likeness,
        weight=strategies.by_score,
        origin="control without anchors, after KeyBERT",
        needs=("likeness",),
    ),
    TextStrategy(
        "attnmask",
        "AttnMask",
        units="piece",
        score=text_scores.by_attention,
        weight=strategies.by_score,
        origin="paper, Eq. 6",
        needs=("attention",),
        scored="piece",
    ),
    TextStrategy(
        "mst",
        "MST",
        units="piece",
        score=text_scores.by_attention,
        weight=strategies.by_inverse_score,
        origin="paper, Eq. 7",
        needs=("attention",),
        scored="piece",
    ),
    TextStrategy(
        "entitybert",
        "EntityBERT",
        units="word",
        score=text_scores.by_entity,
        weight=strategies.by_score,
        origin="Lin et al. (2021): words of entities first, then others",
        needs=("entities",),
    ),
    # One unit: budget 1 takes the first one whole, and no other fits.
    TextStrategy(
        "salient-span",
        "Salient Span",
        units="entity",
        score=text_scores.by_entity,
        weight=strategies.by_score,
        origin="Guu et al. (2020): one entity, else one word",
        needs=("entities",),
        limit=1,
    ),
    TextStrategy(
        "selective",
        "Selective Masking",
        units="piece",
        score=text_scores.by_importance,
        weight=strategies.by_score,
        origin="Gu et al. (2020); knows labels",
        needs=("importance",),
        scored="piece",
        select="top",
    ),
    TextStrategy(
        "selective-eq8",
        "Selective Masking, Eq. 8",
        units="piece",
        score=text_scores.by_gain,
        weight=strategies.by_score,
        origin="paper, Eq. 8 as printed; knows labels",
        needs=("gain",),
        scored="piece",
    ),
    TextStrategy(
        "excess",
        "excess loss",
        units="word",
        score=text_scores.by_excess,
        weight=strategies.by_score,
        origin="Lin et al. (2024), RHO-1, for hidden words",
        needs=("reference",),
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
