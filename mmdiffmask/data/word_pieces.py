"""Windows of word pieces from texts, and the word that each piece is of."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

WORD = re.compile(r"[^\W_]+")


class Window(NamedTuple):
    """A stretch of a text, without the pieces that open and close it.

    Attributes:
      ids: of its n pieces.
      unit_of_piece: the word of each piece, in [0, w); -1 = background (punctuation).
      words: the w words, in lower case.
      spans: first character and end of each piece in the text; None: not known.
    """

    ids: Int[np.ndarray, " n"]
    unit_of_piece: Int[np.ndarray, " n"]
    words: tuple[str, ...]
    spans: Int[np.ndarray, "n 2"] | None = None


def units_of_pieces(
    word_spans: Int[np.ndarray, "w 2"], piece_spans: Int[np.ndarray, "n 2"]
) -> Int[np.ndarray, " n"]:
    """The first word of the unit that each piece is of; -1 where it touches no word.

    A piece is of the word that it shares a character with. Where one piece touches
    several words ("a_b" may be one piece) they are one unit, so that none of them is
    hidden in part.

    Args:
      word_spans: first character and end of each word, in order.
      piece_spans: the same of the pieces.
    """
    if not len(word_spans):
        return np.full(len(piece_spans), -1)
    start, end = piece_spans[:, 0], piece_spans[:, 1]
    first = np.searchsorted(word_spans[:, 1], start, side="right")
    last = np.searchsorted(word_spans[:, 0], end, side="left") - 1
    touches = (first <= last) & (start < end)
    unit_of_word = np.arange(len(word_spans))
    for i in np.flatnonzero(touches & (first < last)):  # seldom
        stretch = unit_of_word[first[i] : last[i] + 1]
        unit_of_word[np.isin(unit_of_word, stretch)] = stretch.min()
    return np.where(touches, unit_of_word[np.minimum(first, len(word_spans) - 1)], -1)


def cut(unit_of_piece: Int[np.ndarray, " n"], room: int) -> Iterator[slice]:
    """Stretches of at most `room` pieces that cut no word and leave nothing out.

    A word of more pieces than that is cut all the same: its parts are words.
    """
    n = len(unit_of_piece)
    unit = unit_of_piece
    is_border = (unit[1:] != unit[:-1]) | (unit[1:] < 0)
    borders = np.concatenate([np.flatnonzero(is_border) + 1, [n]])
    start = 0
    while start < n:
        at = np.searchsorted(borders, start + room, side="right") - 1
        stop = int(borders[at]) if at >= 0 else 0
        stop = stop if stop > start else min(start + room, n)
        yield slice(start, stop)
        start = stop


def windows(
    text: str, ids: Sequence[int], offsets: Sequence[tuple[int, int]], room: int
) -> list[Window]:
    """All windows of a text, in order.

    Args:
      text: the text.
      ids: of its pieces, without those that open and close it.
      offsets: first character and end of each piece in the text.
      room: most pieces of a window.
    """
    if not ids:
        return []
    spans = np.array([m.span() for m in WORD.finditer(text)], np.int64).reshape(-1, 2)
    of_piece = np.array(offsets, np.int32).reshape(-1, 2)
    units = units_of_pieces(spans, of_piece)
    all_ids = np.array(ids, np.int32)
    stretches = [slice(0, len(ids))] if len(ids) <= room else list(cut(units, room))
    return [
        _window(text, all_ids[x], units[x], spans)._replace(spans=of_piece[x])
        for x in stretches
    ]


def _window(
    text: str,
    ids: Int[np.ndarray, " n"],
    units: Int[np.ndarray, " n"],
    spans: Int[np.ndarray, "w 2"],
) -> Window:
    """The window of these pieces, with its words numbered from 0."""
    # Pieces stand in the order of their words: a word begins where its number changes.
    named = np.unique(units[units >= 0])
    local = np.where(units >= 0, np.searchsorted(named, units), -1).astype(np.int32)
    words = tuple(text[spans[i, 0] : spans[i, 1]].lower() for i in named)
    return Window(ids, local, words)
