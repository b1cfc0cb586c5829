"""What holds of the sequences of any record."""

import itertools

import numpy as np
from helpers.reserve_records import (
    PLACE_S,
    VIDEO,
    FakeRecord,
    encode,
    make,
    places_of,
    tokens_at,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdiffmask.data import reserve_sequences
from mmdiffmask.tokens import AUDIOSPAN, LTOVPOOL, MASK, MASKAUDIO


@st.composite
def fake_records(draw):
    t, s = draw(st.integers(1, 7)), draw(st.integers(1, 3))
    number = itertools.count()
    lines = []
    for _ in range(draw(st.integers(0, 6))):
        size = draw(st.integers(1, 25))
        start = draw(st.floats(-3.0, t * s * PLACE_S))
        end = start + draw(st.sampled_from([0.0, 1.0, 2.5, 8.0]))
        lines.append((" ".join(f"w{next(number)}" for _ in range(size)), start, end))
    lines.sort(key=lambda line: line[1])
    some = st.lists(st.integers(0, t - 1), max_size=t).map(tuple)
    name = draw(st.sampled_from("abcdef"))
    return FakeRecord(t, s, tuple(lines), draw(some), draw(some), name)


lengths = st.sampled_from([8, 40, 512])


@settings(deadline=None)
@given(fake_records(), lengths, st.integers(0, 5), st.sampled_from([0.0, 0.25, 0.5]))
def test_laws(record, length, seed, share):
    row = make(record, length, seed, target_share=share)
    words = [encode(text) for text in reserve_sequences.spoken(record)]
    has_sound = record.is_audio_valid.repeat(record.s)
    check_targets(row, record, length, share)
    for name in VIDEO:
        sequences = getattr(row, name)
        check_layout(sequences, length)
        check_sound(sequences, has_sound, length)
        for place, said in enumerate(words):
            found = [x for x in tokens_at(sequences, place) if x != LTOVPOOL]
            if MASK in found:  # nothing else of what is hidden can be seen
                assert found in ([MASK], [MASK, MASKAUDIO])
                check_span(row, sequences, place, said)
            elif AUDIOSPAN not in found:
                is_cut = sequences.tokens[0, -1] != 0 or (
                    # Matching ends with the last segment that there is.
                    name == VIDEO[2] and place // record.s >= segments_there(record)
                )
                assert found == said or (is_cut and found == said[: len(found)])
    told = [getattr(row, n) for n in VIDEO]
    pointers = np.concatenate([x.text_pointer[x.tokens == MASK] for x in told])
    rows = np.flatnonzero(row.text_spans.any(1))
    assert sorted(pointers[pointers >= 0]) == rows.tolist() == list(range(len(rows)))


def check_targets(row, record, length, share):
    heard = set(places_of(row.text2audio, MASK))
    told = set(places_of(row.audio2text, MASK))
    assert not heard & told
    is_there = (record.is_frame_valid | record.is_audio_valid).repeat(record.s)
    has_sound = record.is_audio_valid.repeat(record.s)
    assert all(has_sound[place] for place in heard)
    assert all(is_there[place] for place in told)
    if length == 512:  # nothing is cut
        count = max(1, round(share * is_there.sum()))
        assert len(heard) == min(count, has_sound.sum())
        assert len(told) == min(count, is_there.sum() - len(heard))
        assert places_of(row.text2audio, MASKAUDIO) == sorted(heard)
        segment = places_of(row.audio_text_matching, LTOVPOOL)
        assert segment == [record.s * i for i in range(segments_there(record))]


def segments_there(record):
    there = np.flatnonzero(record.is_frame_valid | record.is_audio_valid)
    return there[-1] + 1 if len(there) else 0


def check_layout(sequences, length):
    tokens, places, pointers = (array[0] for array in sequences)
    assert len(tokens) == len(places) == len(pointers) == length
    used = int((tokens != 0).sum())
    assert (tokens[:used] != 0).all() and (np.diff(places[:used]) >= 0).all()
    assert (places[:used] >= 0).all()
    assert (places[used:] == -1).all() and (pointers[used:] == -1).all()
    assert np.isin(tokens[pointers >= 0], (MASK, MASKAUDIO)).all()


def check_sound(sequences, has_sound, length):
    """Six tokens for a sub-segment with sound, side by side; fewer only at the end."""
    at = np.flatnonzero(sequences.tokens[0] == AUDIOSPAN)
    for place in set(sequences.audio_pointer[0][at].tolist()):
        assert has_sound[place]
        mine = at[sequences.audio_pointer[0][at] == place]
        assert (np.diff(mine) == 1).all()
        assert len(mine) == 6 or (len(mine) < 6 and mine[-1] == length - 1)


def check_span(row, sequences, place, said):
    """The row that the MASK points to holds its words; silence has no row."""
    at = (sequences.audio_pointer[0] == place) & (sequences.tokens[0] == MASK)
    (pointer,) = sequences.text_pointer[0][at]
    assert (pointer >= 0) == bool(said)
    if said:
        cut = said[:15]
        assert row.text_spans[pointer].tolist() == cut + [0] * (15 - len(cut))


@settings(deadline=None)
@given(fake_records(), lengths, st.integers(0, 3), st.integers(0, 3))
def test_a_pure_function(record, length, seed, epoch):
    one, other = (make(record, length, seed, epoch, cut_share=0.5) for _ in "ab")
    np.testing.assert_equal(one, other)
