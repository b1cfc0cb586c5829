"""The closed vocabulary: finding its words in texts, and files that are none."""

import json

import numpy as np
import pytest

from mmdiffmask.data import tokenizers, vocabulary
from mmdiffmask.tokens import MASK
from preprocessing.toy import vocabulary as toy_words


@pytest.fixture(scope="module")
def toy():
    return vocabulary.load("toy")


def test_shipped_file_is_what_the_toy_set_says(tmp_path, toy):
    assert toy_words.PATH == vocabulary.TOY
    assert toy_words.write(tmp_path / "words.json") == len(toy)
    assert (tmp_path / "words.json").read_bytes() == vocabulary.TOY.read_bytes()


def test_longest_content_is_found_once_and_whole(toy):
    text = "A red ball stays still and Somebody in blue is walking in the room."
    found = [(text[a:b], toy.word_class[e]) for a, b, e in toy.find(text)]
    assert found == [
        ("red", "colour"),
        ("ball", "object"),
        ("blue", "colour"),
        ("walking", "action"),
        ("in the room", "scene"),
    ]
    assert toy.find("a redder balloonist, stars") == []
    assert toy.index("The Ball") == toy.index("the ball") >= 0
    assert toy.index("the submarine") == -1


def test_spans_are_the_tokens_of_the_entries(toy):
    tokenizer = tokenizers.load("toy")
    spans = toy.spans(tokenizer.encode_plain)
    assert spans.shape == (len(toy), 15)
    for row, text in zip(spans, toy.texts, strict=True):
        assert tokenizer.decode(row[row > 0].tolist()).strip() == text.lower()


def test_special_tokens_come_in_by_id_alone():
    encode = tokenizers.load("toy").encode
    ids = vocabulary.tokens_of(["a ", MASK, " ball <|MASK|>"], encode)
    assert ids.count(MASK) == 1 and ids[1] == MASK


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such vocabulary"),
        ("{", "no vocabulary"),
        ('["a"]', "no vocabulary"),
        ('{"a": {"texts": ["b"]}}', "no vocabulary"),
        ("{}", "has no entry"),
    ],
)
def test_files_that_are_none(tmp_path, content, message):
    path = tmp_path / "words.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=message):
        vocabulary.load(path)


def test_entries_that_can_not_serve(tmp_path):
    encode = tokenizers.load("toy").encode_plain
    for texts, message in (
        (["ball", "Ball"], "the same tokens"),
        ([" ".join(["ball"] * 16)], "1 to 15"),
        ([""], "1 to 15"),
    ):
        path = tmp_path / "words.json"
        path.write_text(json.dumps({"x": {"is_content": True, "texts": texts}}))
        with pytest.raises(ValueError, match=message):
            vocabulary.load(path).spans(encode)
    assert isinstance(vocabulary.load(path).is_content, np.ndarray)
