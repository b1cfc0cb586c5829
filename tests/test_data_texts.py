"""Texts of a corpus: read by offset, named by content, mistakes told by line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmdiffmask.data import texts


def write(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_lines_and_objects_are_read_by_offset(tmp_path):
    plain = write(tmp_path, "a.txt", b"\xef\xbb\xbfone\r\n\n  \ntwo \xc3\xa9\nlast")
    rows = [{"id": 7, "text": "x y", "label": "L"}, {"text": "one"}]
    objects = write(tmp_path, "b.jsonl", "\n".join(map(json.dumps, rows)))
    corpus = texts.Texts([plain, objects], label_field="label")
    assert [t.text for t in corpus] == ["one", "two é", "last", "x y", "one"]
    assert [t.label for t in corpus] == [None] * 3 + ["L", None]
    assert corpus[3].id == "7" and corpus[4].id == corpus[0].id
    assert corpus[0].id == texts.content_id("one") and len(corpus) == 5
    assert corpus[1].where == f"{plain}, text 2"
    again = texts.Texts([objects, plain])
    assert {t.id for t in again} == {t.id for t in corpus}
    assert again.fingerprint() != corpus.fingerprint()
    with pytest.raises(IndexError):
        corpus[5]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=8))
def test_every_text_comes_back(tmp_path_factory, written):
    path = tmp_path_factory.mktemp("texts") / "a.jsonl"
    path.write_text("".join(json.dumps({"text": x}) + "\n" for x in written))
    corpus = texts.Texts([path])
    assert [corpus[i].text for i in reversed(range(len(corpus)))] == written[::-1]


def test_a_window_s_key_is_of_the_text_alone():
    keys = [texts.window_hash(text, w) for text in ("a", "b") for w in range(3)]
    assert len(set(keys)) == 6
    assert texts.window_hash("a", 0) == keys[0]


def test_signs_around_entities_are_taken_out(tmp_path):
    path = write(tmp_path, "a.txt", "<< EGF receptor >> and [[ gefitinib ]] (Iressa)")
    (text,) = texts.Texts([path], are_marked=False)
    assert text.text == "EGF receptor and gefitinib (Iressa)"
    assert text.id == texts.content_id(text.text)


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("a.jsonl", '{"text": "x"}\n{"txt": "y"}', "a.jsonl, text 2: lacks 'text'"),
        ("a.jsonl", '{"text": 3}', "a 'text' that is no text"),
        ("a.jsonl", "{", "is no JSON"),
        ("a.jsonl", "[1]", "but no object"),
        ("a.jsonl", '{"text": "x", "id": [1]}', "neither text nor a whole number"),
        ("a.jsonl", '{"text": "\\ud800"}', "no valid UTF-8"),
        ("a.txt", b"caf\xe9", "text 1: is no valid UTF-8"),
        ("a.txt", "wide".encode("utf-16"), "is no UTF-8 text"),
        ("a.json", "[]", "an object a line"),
    ],
)
def test_what_holds_no_text_is_named(tmp_path, name, content, words):
    path = write(tmp_path, name, content)
    with pytest.raises(ValueError) as caught:
        list(texts.Texts([path]))
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_files_that_are_not_there_are_refused(tmp_path, monkeypatch):
    for path, words in ((tmp_path, "is a folder"), (tmp_path / "x", "is missing")):
        with pytest.raises(ValueError, match=words):
            texts.Texts([path])
    with pytest.raises(ValueError, match="no file"):
        texts.Texts([])
    monkeypatch.setattr(texts, "LONGEST", 9)
    with pytest.raises(ValueError, match="one text a line"):
        texts.Texts([write(tmp_path, "long.txt", "0123456789")])
