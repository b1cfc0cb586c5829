"""Texts become windows of word pieces, and these the rows of a batch."""

import dataclasses
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from mmdiffmask.data import texts as corpora
from mmdiffmask.data import tokenizer_files, word_classes, word_pieces
from mmdiffmask.masking import budget
from mmdiffmask.tokens import name_hash
from mmdiffmask.types import HiddenPieces, TextBatch

AT_ONCE = 1024  # texts that are tokenized at once
EVAL_SEED = 0  # held-out masks are the same for every row and every seed


class Layout(NamedTuple):
    """How a window stands in a row: the tokenizer, its length with ends, padding."""

    pieces: tokenizer_files.Pieces
    length: int
    pad: int


@dataclasses.dataclass(frozen=True)
class Windows:
    """The windows of some texts, by their position; texts are read anew each time.

    Attributes:
      texts: the corpus that they are of.
      layout: of a row.
      place: of the text of each window, in `texts`.
      number: of each window among those of its text.
      longest_word: pieces of the longest word.
    """

    texts: Sequence[corpora.Text]
    layout: Layout
    place: Int[np.ndarray, " w"]
    number: Int[np.ndarray, " w"]
    longest_word: int

    def __len__(self) -> int:
        return len(self.place)

    def window(self, position: int) -> tuple[corpora.Text, word_pieces.Window]:
        """A window, and the text that it is of."""
        text = self.texts[int(self.place[position])]
        pieces, length, _ = self.layout
        of_text = pieces.windows([text.text], length)[0]
        return text, of_text[self.number[position]]

    def name(self, position: int) -> str:
        """What messages call a window: the id of its text, and which of it."""
        text = self.texts[int(self.place[position])]
        number = self.number[position]
        return f"{text.id}#{number}" if number else text.id

    def hash(self, position: int) -> np.uint32:
        """By which masks of a window are looked up."""
        text = self.texts[int(self.place[position])]
        return corpora.window_hash(text.text, int(self.number[position]))


def windows(
    texts: Sequence[corpora.Text],
    places: Sequence[int],
    layout: Layout,
    most: int | None = None,
) -> Windows:
    """The windows of the texts at these places, in order.

    Texts without a word piece have none.

    Args:
      texts: of a split.
      places: in it.
      layout: of a row.
      most: how many are wanted; None: all.
    """
    of_window: list[tuple[int, int]] = []
    longest = 0
    for first in range(0, len(places), AT_ONCE):
        part = places[first : first + AT_ONCE]
        cut = layout.pieces.windows([texts[i].text for i in part], layout.length)
        for place, of_text in zip(part, cut, strict=True):
            for number, window in enumerate(of_text):
                of_window.append((place, number))
                longest = max(longest, _longest(window.unit_of_piece))
        if most is not None and len(of_window) >= most:
            break
    table = np.array(of_window[:most], np.int64).reshape(-1, 2)
    return Windows(texts, layout, table[:, 0], table[:, 1], longest)


def slots(ratio: float, some: Windows) -> int:
    """The most pieces of a window that a mask can hide.

    A word that is drawn first is hidden whole, even where it alone passes the budget.

    Args:
      ratio: share of a window's pieces that is hidden.
      some: the windows.
    """
    ends = len(some.layout.pieces.before) + len(some.layout.pieces.after)
    room = some.layout.length - ends
    return min(room, max(budget.most_tokens(ratio, room), some.longest_word))


def _longest(unit_of_piece: Int[np.ndarray, " n"]) -> int:
    sizes = np.bincount(unit_of_piece[unit_of_piece >= 0], minlength=1)
    return int(sizes.max())


# position, epoch -> what is hidden of the window's pieces, and what stands there
Draw = Callable[[int, int], tuple[Bool[np.ndarray, " n"], Int[np.ndarray, " n"]]]


def make_row(
    some: Windows,
    draw: Draw | None = None,
    anchors: Collection[str] = frozenset(),
    width: int | None = None,
) -> Callable[..., TextBatch]:
    """(position, epoch = 0) -> the row of a window.

    Args:
      some: windows.
      draw: the run's own masks; None: nothing is hidden.
      anchors: a class of words of their own.
      width: pieces of a row, with ends and padding; None: as the layout has it.
    """
    layout = some.layout._replace(length=width or some.layout.length)
    classes = frozenset(word.lower() for word in anchors)

    def row(position: int, epoch: int = 0) -> TextBatch:
        text, window = some.window(position)
        plain = _plain(layout, window, classes)
        plain = plain._replace(
            example_hash=some.hash(position),
            clip_hash=name_hash(corpora.without_markers(text.text)),
        )
        if draw is None:
            return plain
        hidden = pad(*draw(position, epoch), layout=layout, ids=plain.input_ids)
        return plain._replace(is_hidden=hidden.is_masked, shown_ids=hidden.shown_ids)

    return row


def _plain(
    layout: Layout, window: word_pieces.Window, anchors: Collection[str]
) -> TextBatch:
    """The row of a window without its hashes; nothing is hidden."""
    pieces, length, padding = layout
    ids = (*pieces.before, *window.ids.tolist(), *pieces.after)
    inner = slice(len(pieces.before), len(pieces.before) + len(window.ids))
    input_ids = np.full(length, padding, np.int32)
    input_ids[: len(ids)] = ids
    unit = np.full(length, -1, np.int32)
    unit[inner] = window.unit_of_piece
    of_word = np.append(word_classes.of_words(window.words, anchors), -1)
    word_class = np.full(length, -1, np.int8)
    word_class[inner] = of_word[window.unit_of_piece]  # -1 takes the last
    return TextBatch(
        input_ids=input_ids,
        attention_mask=np.arange(length) < len(ids),
        unit_of_token=unit,
        unit_score=np.zeros(length, np.float32),
        is_box_unit=np.ones(length, bool),
        word_class=word_class,
        is_hidden=np.zeros(length, bool),
        shown_ids=input_ids,
        example_hash=np.uint32(0),
        clip_hash=np.uint32(0),
        is_real=np.bool_(True),
    )


def pad(
    is_masked: Bool[np.ndarray, " n"],
    shown: Int[np.ndarray, " n"],
    *,
    layout: Layout,
    ids: Int[np.ndarray, " l"],
) -> HiddenPieces:
    """A mask of a window's pieces as that of its row.

    Args:
      is_masked: which pieces are hidden.
      shown: the pieces with those replaced.
      layout: of the row.
      ids: of the row.
    """
    inner = slice(len(layout.pieces.before), len(layout.pieces.before) + len(shown))
    hidden, shown_ids = np.zeros(len(ids), bool), ids.copy()
    hidden[inner], shown_ids[inner] = is_masked, shown
    return HiddenPieces(hidden, shown_ids)
