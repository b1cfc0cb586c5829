"""Records to Reserve's sequences: a table, shares, and a record of the pipeline."""

import dataclasses

import numpy as np
import pytest
from helpers import raw_trees
from helpers.reserve_records import (
    ONE_WORD_EACH,
    PLACE_S,
    VIDEO,
    FakeRecord,
    make,
    places_of,
    shown,
    tokens_at,
)

from mmdiffmask import config
from mmdiffmask.data import reserve_sequences, tokenizers
from mmdiffmask.data.records import schema, shards
from mmdiffmask.tokens import AUDIOSPAN, LTOVPOOL, MASK, MASKAUDIO
from preprocessing.media import segments


def test_sub_segments_last_as_long_as_preprocessing_says():
    assert schema.SUB_SEGMENT_S == segments.SUB_SEGMENT_S


def test_words_are_timed_by_their_characters():
    lines = (
        ("in out", -3.0 * PLACE_S, 3.0 * PLACE_S),  # one before the record
        ("ab cdef g", 0.0, 8.1 * PLACE_S),  # middles at 1, 5 and 8.5 of 9 characters
        ("now at once", 3.5 * PLACE_S, 3.5 * PLACE_S),
        ("late", 8.0 * PLACE_S, 11.0 * PLACE_S),
    )
    said = reserve_sequences.spoken(FakeRecord(t=3, s=3, lines=lines))
    assert said == ("ab", "out", "", "now at once", "cdef", "", "", "g", "")


def test_a_table():
    """Four sub-segments, each with one word; one is a target of each kind."""
    row = make(FakeRecord(lines=ONE_WORD_EACH), word_share=1.0, heard_share=1.0)
    (heard,) = places_of(row.text2audio, MASKAUDIO)
    (told,) = places_of(row.audio2text, MASK)
    wanted = [[10 + i] for i in range(4)]
    wanted[heard] = [MASK, MASKAUDIO]
    assert [tokens_at(row.text2audio, i) for i in range(4)] == wanted
    wanted = [[10 + i] if abs(i - told) == 1 else [AUDIOSPAN] * 6 for i in range(4)]
    wanted[told] = [MASK]
    assert [tokens_at(row.audio2text, i) for i in range(4)] == wanted
    assert shown(row.audio_text_matching) == [LTOVPOOL, *[AUDIOSPAN] * 6] * 4
    assert places_of(row.audio_text_matching, LTOVPOOL) == [0, 1, 2, 3]
    assert row.random_text is None
    assert row.text_spans[:2, 0].tolist() == [10 + heard, 10 + told]
    assert not row.text_spans[2:].any() and not row.text_spans[:, 1:].any()
    at = row.text2audio.tokens[0] == MASKAUDIO
    assert row.text2audio.text_pointer[0][at].tolist() == [0]
    at = row.audio2text.tokens[0] == MASK
    assert row.audio2text.text_pointer[0][at].tolist() == [1]
    assert row.video_of_segment.tolist() == [0] * 4


def test_seed_epoch_and_name_draw_anew():
    record = FakeRecord(t=16, lines=ONE_WORD_EACH)
    named = dataclasses.replace(record, example_id="q2")
    rows = [make(record), make(record, seed=1), make(record, epoch=1), make(named)]
    targets = {tuple(places_of(row.text2audio, MASK)) for row in rows}
    assert len(targets) == 4


def test_every_sub_segment_is_a_target_as_often():
    record = FakeRecord(t=4, lines=ONE_WORD_EACH)
    counts = np.zeros((2, 4))
    for epoch in range(400):
        row = make(record, epoch=epoch)
        counts[0, places_of(row.text2audio, MASK)] += 1
        counts[1, places_of(row.audio2text, MASK)] += 1
    assert (abs(counts - 100) < 4 * np.sqrt(400 * 0.25 * 0.75)).all()


def test_a_clip_without_sound_is_words():
    record = FakeRecord(lines=ONE_WORD_EACH, silent=(0, 1, 2, 3))
    row = make(record, heard_share=1.0)
    assert shown(row.text2audio) == [10, 11, 12, 13]
    (told,) = places_of(row.audio2text, MASK)
    assert shown(row.audio2text) == [MASK if i == told else 10 + i for i in range(4)]
    wanted = [x for i in range(4) for x in (LTOVPOOL, 10 + i)]
    assert shown(row.audio_text_matching) == wanted


def test_a_clip_without_words_is_sound():
    row = make(FakeRecord(s=3), heard_share=0.0, word_share=1.0)
    assert shown(row.text2audio) == [MASK, MASKAUDIO] * 3
    assert shown(row.audio2text).count(MASK) == 3
    assert shown(row.audio2text).count(AUDIOSPAN) == 9 * 6
    assert shown(row.audio_text_matching) == [LTOVPOOL] * 4
    assert not row.text_spans.any()
    for name in VIDEO:
        assert (getattr(row, name).text_pointer == -1).all()


def test_one_segment():
    row = make(FakeRecord(t=1, lines=ONE_WORD_EACH), heard_share=0.0, cut_share=1.0)
    assert shown(row.text2audio) == [MASK, MASKAUDIO]
    assert shown(row.audio2text) == [AUDIOSPAN] * 6  # the other kind has no target left
    assert shown(row.audio_text_matching) == [LTOVPOOL, 10]
    assert row.video_of_segment.tolist() == [0]


def test_nothing_there():
    row = make(FakeRecord(t=2, absent=(0, 1)))
    assert all(shown(getattr(row, name)) == [] for name in VIDEO)


def test_words_beside_a_target_by_their_share():
    record = FakeRecord(t=12, lines=ONE_WORD_EACH)
    found = []
    for epoch in range(300):
        row = make(record, epoch=epoch, word_share=0.8)
        told = places_of(row.audio2text, MASK)
        for place in set(range(8)) - set(told):
            is_word = AUDIOSPAN not in tokens_at(row.audio2text, place)
            if {place - 1, place + 1} & set(told):
                found.append(is_word)
            else:
                assert not is_word
    assert abs(np.mean(found) - 0.8) < 4 * np.sqrt(0.8 * 0.2 / len(found))


def test_cut_in_two():
    record = FakeRecord(t=7, absent=(5, 6))
    cuts = [make(record, epoch=e, cut_share=0.4).video_of_segment for e in range(400)]
    firsts = [int(np.argmax(c)) for c in cuts if c.any()]
    assert set(firsts) == {1, 2, 3, 4}  # each part has a segment that is there
    assert all((np.diff(c) >= 0).all() and c.max() <= 1 for c in cuts)
    assert abs(len(firsts) / 400 - 0.4) < 4 * np.sqrt(0.4 * 0.6 / 400)


def test_special_tokens_are_no_words():
    lines = (("w1 <mask> w2", 0.0, 0.0), ("<mask>", 2.0, 2.0))
    row = make(FakeRecord(t=2, lines=lines, silent=(0, 1)), target_share=0.0)
    assert MASK not in shown(row.text2audio)
    assert shown(row.audio2text).count(MASK) == 1


def test_random_text_adds_a_sequence_and_changes_nothing_else(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(" ".join(f"w{i}" for i in range(100, 160)) + "\n")
    record = FakeRecord(t=8, lines=ONE_WORD_EACH)
    plain = make(record, spans=6)
    row = make(record, spans=6, random_text=str(path), random_spans=5)
    for name in (*VIDEO, "video_of_segment"):
        np.testing.assert_equal(getattr(row, name), getattr(plain, name))
    assert plain.text_spans.shape == (6, 15) and row.text_spans.shape == (11, 15)
    n_video = int(plain.text_spans.any(1).sum())
    np.testing.assert_array_equal(row.text_spans[:n_video], plain.text_spans[:n_video])
    tokens, places, pointers = (array[0] for array in row.random_text)
    assert (places == -1).all() and (tokens == MASK).sum() == 5
    assert pointers[tokens == MASK].tolist() == list(range(n_video, n_video + 5))
    whole = []
    for token, pointer in zip(tokens, pointers, strict=True):
        whole += row.text_spans[pointer].tolist() if pointer >= 0 else [token]
    assert [x for x in whole if x] == list(range(110, 170))


def test_random_text_gives_way_to_the_video(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(" ".join(f"w{i}" for i in range(100, 160)) + "\n")
    record = FakeRecord(t=8, lines=ONE_WORD_EACH)  # two targets of each kind
    row = make(record, spans=1, random_text=str(path), random_spans=4)
    assert row.text_spans.shape == (5, 15)
    assert (row.text_spans[:4, 0] < 18).all() and row.text_spans[4, 0] >= 110
    tokens, _, pointers = (array[0] for array in row.random_text)
    assert (tokens == MASK).sum() == 4
    assert sorted(pointers[tokens == MASK].tolist()) == [-1, -1, -1, 4]


def test_too_many_spans_are_dropped_at_random():
    record = FakeRecord(t=8, lines=ONE_WORD_EACH)
    kept = set()
    for epoch in range(20):
        row = make(record, epoch=epoch, spans=1)
        masks = [getattr(row, name) for name in VIDEO[:2]]
        pointers = [
            p for m in masks for p in m.text_pointer[0][m.tokens[0] == MASK].tolist()
        ]
        assert sorted(pointers) == [-1, -1, -1, 0]
        kept.add(pointers.index(0))
    assert len(kept) > 2


def test_a_missing_random_text_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="none.txt: cannot be read"):
        make(FakeRecord(), random_text=str(tmp_path / "none.txt"))


def test_a_record_of_the_pipeline_reads_right(tmp_path):
    raw_trees.write_tvqa(tmp_path / "raw", train=1, val=1)
    raw_trees.make(tmp_path / "raw", tmp_path / "out")
    record = shards.open_split(tmp_path / "out", "train")[0]
    tokenizer = tokenizers.load("toy")
    # A line from 1.33 s to 3.33 s; the middle of "then" is at 3.07 s, of 3.11 s.
    assert reserve_sequences.spoken(record) == ("", "(Ann:)Cafe then", "")
    row = reserve_sequences.reserve_row(
        record,
        config.Data(segments=3, sub_segments=1, text_length=64),
        config.Reserve(),
        tokenizer.encode_plain,
        0,
        0,
    )
    told = {}
    for name in VIDEO[:2]:
        sequences = getattr(row, name)
        for place, pointer in zip(
            places_of(sequences, MASK),
            sequences.text_pointer[0][sequences.tokens[0] == MASK],
            strict=True,
        ):
            ids = row.text_spans[pointer] if pointer >= 0 else []
            told[place] = tokenizer.decode([int(i) for i in ids if i]).strip()
    assert len(told) == 2
    assert all(told[i] == ("", "(ann:)cafe then", "")[i] for i in told)
