"""The ten sequences of a question; the reference's own are in the parity test."""

import pytest

from mmdiffmask.data import tvqa_sequences

QUESTION, ANSWERS, SUBTITLES = [20, 1, 21, 22], [[30], [31, 32]], [[40, 41], [], [42]]


def test_sequences_of_two_answers():
    found = tvqa_sequences.option_sequences(QUESTION, ANSWERS, SUBTITLES, 1, 12)
    assert found.text_tokens.tolist() == [
        [20, 1, 21, 22, 30, 3, 40, 41, 42, 0, 0, 0],
        [20, 1, 21, 22, 31, 32, 3, 40, 41, 42, 0, 0],
    ]
    assert found.text_segment.tolist() == [
        [0, 0, 0, 0, 0, 0, 1, 1, 3, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 1, 1, 3, 0, 0],
    ]
    assert found.audio_tokens[0].tolist() == [20, 1, 21, 22, 30, 3, *[5] * 6]
    assert found.audio_segment[1].tolist() == [0] * 7 + [1] * 5


def test_mask_is_always_there():
    found = tvqa_sequences.option_sequences(QUESTION, ANSWERS, SUBTITLES, 1, 5)
    assert found.text_tokens[:, -1].tolist() == [3, 3]
    assert found.audio_tokens[:, -1].tolist() == [3, 3]
    alone = tvqa_sequences.option_sequences([], [[]], [[7] * 9], 3, 4)
    assert alone.text_tokens.tolist() == [[3, 7, 7, 7]]
    with pytest.raises(ValueError, match="no room for MASK"):
        tvqa_sequences.option_sequences(QUESTION, ANSWERS, SUBTITLES, 1, 0)


def test_an_answer_can_not_bring_a_special_token():
    def encode(text):
        return [3 if word == "<|MASK|>" else len(word) + 100 for word in text.split()]

    found = tvqa_sequences.answer_tokens(encode, "a <|MASK|> cat")
    assert found == [107, 101, 103]
