"""Cloze texts: what is hidden, what is shown, and that nothing gives it away."""

import dataclasses
import types

import numpy as np
import pytest
from hypothesis import given, settings, strategies

from mmdiffmask import config
from mmdiffmask.data import cloze, tokenizers, vocabulary
from mmdiffmask.tokens import MASK

DATA = config.Data(text_length=64)
RESERVE = config.Reserve(words="toy", cloze_masks=2)
WORDS = vocabulary.load("toy")
TOKENIZER = tokenizers.load("toy")
RECORD = types.SimpleNamespace(
    example_id="general~1",
    question="Which object stays still?",
    answers=("a cup", "a kite", "a star", "a crate", "a ball"),
    answer_index=1,
    span_percent=(10, 90),
    subtitles=("A red thing stays still on the beach.", "", "(Ben:)We talk."),
    is_frame_valid=np.array([True, False, True]),
    is_audio_valid=np.array([True, True, True]),
    spectrogram=np.zeros((3, 1, 60, 65), np.float16),
)


def make(epoch=0, seed=0, record=RECORD, **changes):
    reserve = dataclasses.replace(RESERVE, **changes)
    return cloze.row(record, DATA, reserve, WORDS, TOKENIZER.encode_plain, seed, epoch)


def text_of(row):
    return TOKENIZER.decode(row.tokens[row.tokens > 0].tolist())


def test_narration_hides_content_and_names_it():
    row = make(cloze_masks=3)
    assert text_of(row) == " a<|MASK|> thing stays still<|MASK|> . (ben:)we talk."
    assert [WORDS.texts[t] for t in row.target if t >= 0] == ["red", "on the beach"]
    narrated = [WORDS.texts[i] for i in np.flatnonzero(row.is_narrated)]
    assert narrated == ["red", "on the beach"]
    first, last = np.flatnonzero(row.tokens)[[0, -1]]
    assert (row.segment[first], row.segment[last]) == (1, 3)


def test_question_hides_its_answer():
    row = make(cloze_questions=1.0)
    assert text_of(row).startswith(
        " 10 to 90<|START|> which object stays still? answer:<|MASK|> a red thing"
    )
    assert [WORDS.texts[t] for t in row.target if t >= 0] == ["a kite"]
    assert row.segment[0] == 0 and "kite" not in text_of(row)
    narrated = [WORDS.texts[i] for i in np.flatnonzero(row.is_narrated)]
    assert narrated == ["red", "kite", "on the beach"]
    unknown = types.SimpleNamespace(**vars(RECORD) | {"answer_index": -1})
    assert "answer:" not in text_of(make(record=unknown, cloze_questions=1.0))


@settings(max_examples=30, deadline=None)
@given(strategies.integers(0, 50), strategies.integers(1, 4), strategies.integers(1, 4))
def test_a_pure_function_that_shows_real_frames(epoch, masks, frames):
    settings_ = {"cloze_masks": masks, "cloze_frames": frames, "cloze_questions": 0.5}
    one, two = (make(epoch, **settings_) for _ in range(2))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(one.frame) == frames and RECORD.is_frame_valid[one.frame].all()
    count = (one.tokens == MASK).sum()
    assert count == (one.target >= 0).sum() <= masks
    shown = text_of(one)
    for target in one.target[one.target >= 0]:
        assert WORDS.texts[target] not in shown


def test_epochs_and_seeds_differ():
    draws = {
        make(epoch, seed, cloze_masks=1).tokens.tobytes()
        for epoch in range(6)
        for seed in range(2)
    }
    assert len(draws) == 2  # either of the two words


def test_no_subtitles_is_an_empty_text():
    record = types.SimpleNamespace(**vars(RECORD) | {"subtitles": ("", "", "")})
    row = make(record=record)
    assert not row.tokens.any() and (row.target == -1).all()
    assert not row.is_narrated.any()


@pytest.mark.parametrize("length", [8, 9, 10])
def test_cut_texts_keep_their_targets_in_order(length):
    data = config.Data(text_length=length)
    row = cloze.row(RECORD, data, RESERVE, WORDS, TOKENIZER.encode_plain, 0, 0)
    assert len(row.tokens) == length
    assert (row.tokens == MASK).sum() <= (row.target >= 0).sum()
