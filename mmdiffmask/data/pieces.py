"""Token sequences of fixed shape, from pieces of text, sound and hidden spans."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from mmdiffmask.data import video
from mmdiffmask.tokens import SPAN_LENGTH
from mmdiffmask.types import Sequences


class Piece(NamedTuple):
    """Tokens that belong together: words, sound or MASK of one sub-segment.

    Attributes:
      tokens: their ids.
      place: the sub-segment they belong to, over the whole example; -1 = none.
      hidden: the ids that a MASK in `tokens` stands for; () = nothing to be told.
      span: row of `text_spans` with the hidden ids; -1 = none.
    """

    tokens: tuple[int, ...]
    place: int = -1
    hidden: tuple[int, ...] = ()
    span: int = -1


def word_ids(encode: Callable[[str], Sequence[int]], text: str) -> tuple[int, ...]:
    """Ids of a text without special tokens, which are no words."""
    return tuple(video.words(encode, text))


def cut(pieces: Sequence[Piece], length: int) -> list[Piece]:
    """The pieces that `length` tokens hold; the last one may lose its end.

    A MASK past the end goes with what it hides: a text that no position predicts must
    not become a span.
    """
    kept, left = [], length
    for piece in pieces:
        if left > 0 and piece.tokens:
            kept.append(piece._replace(tokens=piece.tokens[:left]))
            left -= len(piece.tokens)
    return kept


def number_spans(
    rng: np.random.Generator,
    sequences: Sequence[Sequence[Piece]],
    rank: Sequence[int],
    rows: int,
) -> tuple[list[list[Piece]], Int[np.ndarray, "k 15"]]:
    """Gives the hidden texts their rows, in the order in which they occur.

    Args:
      rng: says which are dropped where there are too many.
      sequences: pieces, cut to length already.
      rank: of each sequence; hidden texts of a higher rank are dropped first.
      rows: k, the most hidden texts.

    Returns:
      The sequences with `span` set, -1 where nothing is hidden or it was dropped; and
      the hidden texts, cut to 15 tokens: 0 = padding, an empty row = no span.
    """
    hiding = [
        (i, j)
        for i, pieces in enumerate(sequences)
        for j, piece in enumerate(pieces)
        if piece.hidden
    ]
    drawn = rng.permutation(len(hiding))
    by_rank = sorted(drawn.tolist(), key=lambda at: rank[hiding[at][0]])  # stable
    numbered = [list(pieces) for pieces in sequences]
    spans = np.zeros((rows, SPAN_LENGTH), np.int32)
    for row, at in enumerate(sorted(by_rank[:rows])):
        i, j = hiding[at]
        numbered[i][j] = numbered[i][j]._replace(span=row)
        hidden = numbered[i][j].hidden[:SPAN_LENGTH]
        spans[row, : len(hidden)] = hidden
    return numbered, spans


def lay_out(pieces: Sequence[Piece], length: int) -> Sequences:
    """One sequence as arrays (1, length): padding has token 0 and pointers -1.

    All tokens of a piece carry its pointers, MASKAUDIO that of its MASK too, as in
    Reserve's batches.
    """
    tokens = np.zeros((1, length), np.int32)
    audio_pointer, text_pointer = np.full_like(tokens, -1), np.full_like(tokens, -1)
    first = 0
    for piece in pieces:
        stretch = slice(first, first + len(piece.tokens))
        tokens[0, stretch] = piece.tokens
        audio_pointer[0, stretch], text_pointer[0, stretch] = piece.place, piece.span
        first = stretch.stop
    return Sequences(tokens, audio_pointer, text_pointer)
