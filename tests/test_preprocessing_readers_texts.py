"""Texts whose words are counted, of every form of file; what is none is named."""

import json

import pytest

from preprocessing.readers import texts


def test_questions_are_read_and_answers_are_not(tmp_path):
    rows = [{"q": "Who?", "a0": "Nobody"}, {"text": "A cell."}, {"question": "Why?"}]
    lines = tmp_path / "lines.jsonl"
    lines.write_text("\n\n".join(map(json.dumps, rows)) + "\n")
    assert texts.read(lines) == ("Who?", "A cell.", "Why?")
    whole = tmp_path / "list.json"
    whole.write_text(" " + json.dumps(rows, indent=1))
    assert texts.read(whole) == texts.read(lines)


def test_subtitles_and_lines(tmp_path):
    said = tmp_path / "a.srt"
    said.write_text("1\n00:00:01,000 --> 00:00:02,000\nHello\nthere.\n")
    assert texts.read(said) == ("Hello there.",)
    plain = tmp_path / "a.txt"
    plain.write_text("One line.\n\nAnother.\n")
    assert texts.read(str(plain)) == ("One line.", "Another.")
    plain.write_text("")
    assert texts.read(plain) == ()


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("a.jsonl", b'{"q": "x"}\n{"a": 1}', "line 2: has none of 'q', 'question'"),
        ("a.jsonl", b'{"q": 3}', "line 1: 'q' is no text"),
        ("a.json", b'[{"q": "x"}, 4]', "entry 2: is no object"),
        ("a.json", b'[{"q": "x"', "no JSON"),
        ("a.jsonl", b"\xff\xff", "line 1: is not UTF-8"),
        ("a.srt", b"nothing here", "a.srt: "),
        ("a.txt", b"PK\x03\x04\0\0\0", "is no text"),
    ],
)
def test_what_is_no_text_is_named(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        texts.read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    for path in (tmp_path, tmp_path / "none.jsonl", tmp_path / "none.txt"):
        with pytest.raises(ValueError, match="name a file to read"):
            texts.read(path)
