"""Masks of windows of texts, in batches of one shape each."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from mmdiffmask.data import texts as corpus
from mmdiffmask.data import tokenizer_files, word_pieces
from mmdiffmask.masking import sampling, text_strategies, words
from mmdiffmask.masking.text_scores import Passage

BATCH = 256  # windows that are drawn at once
SHORTEST = 64  # pieces that the shortest windows are padded to


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How masks are drawn.

    Attributes:
      strategy: whose weights count.
      scores: what words are scored from.
      seed: of the masks.
      ratio: share of a window's pieces that is hidden.
      replacement: one of `words.REPLACEMENTS`.
      draws: how many masks each window has.
    """

    strategy: text_strategies.TextStrategy
    scores: text_strategies.Settings = text_strategies.Settings()
    seed: int = 0
    ratio: float = 0.25  # appendix B
    replacement: str = "bert"
    draws: int = 1


class Place(NamedTuple):
    """A window and which of its masks: `text` numbers the texts that came in."""

    text: int
    window: int
    draw: int


class Masked(NamedTuple):
    """A window with one of its masks; `ids` has what is hidden replaced."""

    place: Place
    window: word_pieces.Window
    is_masked: Bool[np.ndarray, " n"]
    ids: Int[np.ndarray, " n"]


class _Item(NamedTuple):
    place: Place
    window: word_pieces.Window
    window_hash: np.uint32
    unit_of_piece: np.ndarray
    unit_score: np.ndarray


def vocabulary(pieces: tokenizer_files.Pieces, replacement: str) -> words.Vocabulary:
    """What stands in for hidden pieces.

    Raises:
      ValueError: if the replacement is unknown, or needs a mask that is not there.
    """
    words.check_replacement(replacement)
    mask = pieces.require_mask() if words.REPLACEMENTS[replacement][0] else -1
    return words.Vocabulary(np.int32(mask), pieces.ordinary)


def of_texts(
    texts: Sequence[str],
    windows: Sequence[Sequence[word_pieces.Window]],
    recipe: Recipe,
    choice: words.Vocabulary,
) -> Iterator[Masked]:
    """Every window of the texts under each of its masks, in the order of the texts.

    Args:
      texts: as they stand in the corpus.
      windows: of each text.
      recipe: how to draw.
      choice: what stands in for hidden pieces.
    """
    items = list(_items(texts, windows, recipe))
    # Windows of like length share a shape. It follows from the window alone, so that
    # the draw, which may depend on the shape, does not depend on the others.
    by_shape: dict[int, list[int]] = {}
    for i, item in enumerate(items):
        by_shape.setdefault(padded(len(item.window.ids)), []).append(i)
    drawn: list[tuple[np.ndarray, np.ndarray] | None] = [None] * len(items)
    for n, members in by_shape.items():
        for first in range(0, len(members), BATCH):
            part = members[first : first + BATCH]
            hidden, ids = _draw([items[i] for i in part], n, recipe, choice)
            for row, i in enumerate(part):
                size = len(items[i].window.ids)
                drawn[i] = hidden[row, :size], ids[row, :size]
    for item, (hidden, ids) in zip(items, drawn, strict=True):
        yield Masked(item.place, item.window, hidden, ids)


def padded(n: int) -> int:
    """The shape of a window of n pieces: the next power of 2, at least 64."""
    return max(SHORTEST, 1 << (n - 1).bit_length())


def passages(text: str, windows: Sequence[word_pieces.Window]) -> list[Passage]:
    """The windows of a text as strategies see them."""
    return [
        Passage(text, i, w.ids, w.unit_of_piece, w.words, w.spans)
        for i, w in enumerate(windows)
    ]


def _items(
    texts: Sequence[str],
    windows: Sequence[Sequence[word_pieces.Window]],
    recipe: Recipe,
) -> Iterator[_Item]:
    """The windows of all texts, each as often as it has masks."""
    all_passages = [
        passage
        for text, of_text in zip(texts, windows, strict=True)
        for passage in passages(text, of_text)
    ]
    units = iter(recipe.strategy.units_of(all_passages, recipe.scores))
    for number, (text, of_text) in enumerate(zip(texts, windows, strict=True)):
        for w, window in enumerate(of_text):
            unit, score = next(units)
            key = corpus.window_hash(text, w)
            for draw in range(recipe.draws):
                yield _Item(Place(number, w, draw), window, key, unit, score)


def _draw(
    items: Sequence[_Item], n: int, recipe: Recipe, choice: words.Vocabulary
) -> tuple[np.ndarray, np.ndarray]:
    """What is hidden (b, n) and what stands there, of at most `BATCH` windows."""
    batch = words.Batch(
        ids=np.zeros((BATCH, n), np.int32),
        unit_of_piece=np.full((BATCH, n), -1, np.int32),
        unit_score=np.zeros((BATCH, n), np.float32),
        n_pieces=np.zeros(BATCH, np.int32),
        window_hash=np.zeros(BATCH, np.uint32),
        draw=np.zeros(BATCH, np.int32),
    )
    for row, item in enumerate(items):
        size = len(item.window.ids)
        batch.ids[row, :size] = item.window.ids
        batch.unit_of_piece[row, :size] = item.unit_of_piece
        batch.unit_score[row, : len(item.unit_score)] = item.unit_score
        batch.n_pieces[row] = size
        batch.window_hash[row] = item.window_hash
        batch.draw[row] = item.place.draw
    hidden, ids = words.mask_batch(
        sampling.seed_key(recipe.seed),
        batch,
        choice,
        strategy=recipe.strategy,
        ratio=recipe.ratio,
        replacement=recipe.replacement,
    )
    return np.asarray(hidden), np.asarray(ids)
