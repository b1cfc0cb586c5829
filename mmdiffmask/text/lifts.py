"""How much more often masks by the anchors hide a word than masks at random do."""

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from mmdiffmask.data import word_pieces
from mmdiffmask.masking import text_strategies, words
from mmdiffmask.text import masks

DRAWS = 4
LONGEST = 512  # words of a window


@dataclasses.dataclass(frozen=True)
class Lifts:
    """What a strategy hides where a quarter of each text's words is drawn.

    Attributes:
      label: of the strategy.
      count: word -> how often it stood there, over all draws.
      hidden: word -> how often it was hidden.
    """

    label: str
    count: collections.Counter[str]
    hidden: collections.Counter[str]

    @property
    def share(self) -> float:
        """Of all words that was hidden."""
        return self.hidden.total() / max(self.count.total(), 1)

    def lift(self, names: Iterable[str]) -> float:
        """Share of these words that was hidden, over that of all; nan: none stands."""
        names = [*names]
        n = sum(self.count[name] for name in names)
        if not n:
            return float("nan")
        return sum(self.hidden[name] for name in names) / n / self.share

    def most_hidden(self, n: int) -> list[str]:
        """The words that were hidden most often; ties by word."""
        return sorted(self.hidden, key=lambda word: (-self.hidden[word], word))[:n]


@dataclasses.dataclass(frozen=True)
class Shown:
    """A text in stretches, with what its first mask hides."""

    parts: tuple[tuple[str, bool], ...]


def of_texts(
    texts: Sequence[str],
    strategy: text_strategies.TextStrategy,
    scores: text_strategies.Settings,
    seed: int = 0,
    shown: int = 0,
) -> tuple[Lifts, list[Shown]]:
    """Draws `DRAWS` masks of each text by words alone; no tokenizer enters.

    Args:
      texts: distinct ones.
      strategy: of words.
      scores: what it scores words from.
      seed: of the draws.
      shown: of how many texts the first mask is told.
    """
    spans = [[m.span() for m in word_pieces.WORD.finditer(text)] for text in texts]
    windows = [list(_windows(t, s)) for t, s in zip(texts, spans, strict=True)]
    recipe = masks.Recipe(strategy, scores, seed, replacement="mask", draws=DRAWS)
    nothing = words.Vocabulary(np.int32(0), np.zeros(1, np.int32))
    count: collections.Counter[str] = collections.Counter()
    hidden: collections.Counter[str] = collections.Counter()
    first: dict[int, list[bool]] = {}
    for row in masks.of_texts(texts, windows, recipe, nothing):
        count.update(row.window.words)
        names, is_masked = row.window.words, row.is_masked.tolist()
        hidden.update(w for w, m in zip(names, is_masked, strict=True) if m)
        if row.place.text < shown and row.place.draw == 0:
            first.setdefault(row.place.text, []).extend(is_masked)
    pictures = [Shown(tuple(_parts(texts[i], spans[i], first[i]))) for i in first]
    return Lifts(strategy.label, count, hidden), pictures


def _windows(
    text: str, spans: Sequence[tuple[int, int]]
) -> Iterator[word_pieces.Window]:
    """Windows in which every word is one piece."""
    names = [text[start:end].lower() for start, end in spans]
    for at in range(0, len(names), LONGEST):
        part = tuple(names[at : at + LONGEST])
        place = np.arange(len(part), dtype=np.int32)
        yield word_pieces.Window(place, place, part)


def _parts(
    text: str, spans: Sequence[tuple[int, int]], is_masked: Sequence[bool]
) -> Iterator[tuple[str, bool]]:
    """The text in stretches that are hidden or not."""
    at = 0
    for (start, end), masked in zip(spans, is_masked, strict=True):
        if masked:
            yield text[at:start], False
            yield text[start:end], True
            at = end
    yield text[at:], False
