"""Pieces to arrays: cutting, numbering spans, the layout of Reserve's batches."""

import numpy as np
import pytest

from mmdiffmask.data import pieces
from mmdiffmask.data.pieces import Piece


def test_cut_loses_the_end_and_what_it_hides():
    sequence = [Piece((11, 12), 0), Piece((), 1), Piece((3, 4), 2, (20,)), Piece((3,))]
    assert pieces.cut(sequence, 3) == [Piece((11, 12), 0), Piece((3,), 2, (20,))]
    assert pieces.cut(sequence, 2) == [Piece((11, 12), 0)]
    assert pieces.cut(sequence, 99) == [p for p in sequence if p.tokens]


def test_lay_out():
    sequence = [Piece((11, 12), 0), Piece((3, 4), 2, (20,), span=5)]
    laid = pieces.lay_out(sequence, 6)
    assert laid.tokens.tolist() == [[11, 12, 3, 4, 0, 0]]
    assert laid.audio_pointer.tolist() == [[0, 0, 2, 2, -1, -1]]
    assert laid.text_pointer.tolist() == [[-1, -1, 5, 5, -1, -1]]
    assert all(array.dtype == np.int32 for array in laid)


@pytest.mark.parametrize("kind", ["text2audio", "audio2text", "audio_text_matching"])
def test_the_layout_is_that_of_the_reference(shared, kind):
    """Its own batch, taken apart by sub-segment and laid out again."""
    with np.load(shared / "golden/reserve/pretrain.npz") as golden:
        tokens = golden[f"batch/{kind}"]
        places = golden[f"batch/{kind}/audio_ptr"]
        spans = golden[f"batch/{kind}/text_ptr"]
    for at in np.ndindex(tokens.shape[:2]):
        n_tokens = int((tokens[at] != 0).sum())
        ends = [*np.flatnonzero(np.diff(places[at][:n_tokens])) + 1, n_tokens]
        sequence, first = [], 0
        for end in ends:
            span = int(spans[at][first:end].max())
            place = int(places[at][first])
            sequence.append(Piece(tuple(tokens[at][first:end]), place, span=span))
            first = end
        laid = pieces.lay_out(sequence, tokens.shape[2])
        for found, wanted in zip(laid, (tokens, places, spans), strict=True):
            np.testing.assert_array_equal(found[0], wanted[at])


def mask(*hidden):
    return Piece((3,), 0, hidden)


def test_spans_are_numbered_in_order():
    sequences = [
        [Piece((11,)), mask(20, 21)],
        [mask(), mask(22)],
        [mask(*range(30, 50))],
    ]
    rng = np.random.default_rng(0)
    numbered, spans = pieces.number_spans(rng, sequences, (0, 0, 1), 4)
    assert [[p.span for p in row] for row in numbered] == [[-1, 0], [-1, 1], [2]]
    assert spans.shape == (4, 15) and spans.dtype == np.int32
    assert spans[0].tolist() == [20, 21] + [0] * 13
    assert spans[1].tolist() == [22] + [0] * 14
    assert spans[2].tolist() == list(range(30, 45))
    assert not spans[3].any()


def test_where_rows_are_short_the_last_rank_goes_first_and_then_chance():
    sequences = [[mask(20), mask(21)], [mask(22)], [mask(30), mask(31)]]
    kept = set()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        numbered, spans = pieces.number_spans(rng, sequences, (0, 0, 1), 4)
        assert spans[:3, 0].tolist() == [20, 21, 22]
        kept.add(int(spans[3, 0]))
        numbered, spans = pieces.number_spans(rng, sequences, (0, 0, 1), 2)
        found = [p.span for row in numbered for p in row]
        assert found[3:] == [-1, -1] and sorted(found[:3]) == [-1, 0, 1]
        assert spans[:, 0].tolist() == sorted(spans[:, 0].tolist())
    assert kept == {30, 31}
