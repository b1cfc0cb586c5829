"""Entities of texts: of signs in them, of files; what is wrong in one sentence."""

import json

import numpy as np
import pytest
from helpers import wordpieces
from hypothesis import given
from hypothesis import strategies as st

from mmdiffmask.data import texts as corpora
from mmdiffmask.data import tokenizer_files
from mmdiffmask.text import entities, masks

TEXT = "<< COX >> inhibitors, such as [[ x y ]]."
CLEAN = "COX inhibitors, such as x y."


def test_signs_by_hand():
    clean = entities.unmarked(TEXT, "here")
    assert clean.text == CLEAN
    assert [CLEAN[a:b] for a, b in clean.spans] == ["COX", "x y"]
    at = TEXT.index("inhibitors")
    assert CLEAN[clean.position[at] :].startswith("inhibitors")
    assert clean.position[-1] == len(CLEAN)
    assert entities.unmarked("a << b", "here").spans == []  # never closed
    with pytest.raises(ValueError, match="here: signs .* stand in each other"):
        entities.unmarked("[[<<  b", "here")


@given(st.text(st.sampled_from("<>[] ab"), max_size=20))
def test_the_text_is_that_without_markers(text):
    try:
        clean = entities.unmarked(text, "here")
    except ValueError:
        return
    assert clean.text == corpora.without_markers(text)
    assert all(0 <= a < b <= len(clean.text) for a, b in clean.spans)
    assert (np.diff(clean.position) >= 0).all()


@pytest.fixture
def pieces(tmp_path):
    return tokenizer_files.load(wordpieces.vocab_txt(tmp_path / "bert", ["cox", "as"]))


def of_words(source, text, pieces):
    (windows,) = pieces.windows([text], 64)
    passages = masks.passages(text, windows)
    return dict(zip(windows[0].words, source(passages)[0].tolist(), strict=True))


def test_rows_of_a_sentence_share_their_entities(tmp_path, pieces):
    path = wordpieces.jsonl(
        tmp_path / "a.jsonl",
        [
            {"id": "1", "text": TEXT},
            {"id": "2", "text": "COX << inhibitors >>, such as [[ x ]] y."},
            {"id": "3", "text": "no entity here"},
        ],
    )
    source = entities.load("markers", corpora.Texts([path]), are_marked=False)
    assert (source.n_texts, source.n_without) == (2, 1)
    found = of_words(source, CLEAN, pieces)
    # "x" alone is inside "x y", which has both words.
    assert found == {"cox": 0, "inhibitors": 1, "such": -1, "as": -1, "x": 2, "y": 2}
    with pytest.raises(ValueError, match="take them out with --without-markers"):
        entities.load("markers", corpora.Texts([path]), are_marked=True)
    plain = wordpieces.jsonl(tmp_path / "b.jsonl", [{"text": "plain"}])
    with pytest.raises(ValueError, match="has no << >> or"):
        entities.load("markers", corpora.Texts([plain]), are_marked=False)


@pytest.mark.parametrize("are_marked", [True, False])
@pytest.mark.parametrize("ending", [".jsonl", ".tsv"])
def test_a_file_counts_in_the_text_as_its_file_has_it(
    tmp_path, pieces, are_marked, ending
):
    path = wordpieces.jsonl(tmp_path / "a.jsonl", [{"id": 7, "text": TEXT}])
    at = TEXT.index("inhibitors")
    row = {"id": 7, "start": at, "end": at + 10, "label": "X"}
    spans = tmp_path / f"s{ending}"
    if ending == ".jsonl":
        wordpieces.jsonl(spans, [row])
    else:
        spans.write_text("id\tstart\tend\tlabel\n" + "\t".join(map(str, row.values())))
    source = entities.load(str(spans), corpora.Texts([path]), are_marked)
    found = of_words(source, TEXT if are_marked else CLEAN, pieces)
    assert {word for word, entity in found.items() if entity >= 0} == {"inhibitors"}


@pytest.mark.parametrize(
    "rows, sentence",
    [
        ([{"id": "9", "start": 0, "end": 1}], "1 ids are of no text, '9' for one"),
        ([{"id": "1", "start": 3, "end": 3}], "line 1: 3 to 3 is no stretch of '1'"),
        ([{"id": "1", "start": 0, "end": 99}], "0 to 99 is no stretch of '1', which"),
        ([{"id": "1", "start": -1, "end": 2}], "is no stretch"),
        ([{"id": "1", "start": 0}], "line 1: needs id, start and end"),
        ([{"id": "1", "start": 0, "end": 1.5}], "two whole numbers (read as objects)"),
        ([["1", 0, 1]], "line 1: needs id, start and end"),
        ([{"id": "2", "start": 0, "end": 1}], "another text has its id '2' too"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, rows, sentence):
    texts = [{"id": "1", "text": "abc d"}, {"id": "2", "text": "x"}]
    path = wordpieces.jsonl(tmp_path / "a.jsonl", [*texts, {"id": "2", "text": "y"}])
    spans = tmp_path / "s.jsonl"
    spans.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ValueError) as caught:
        entities.load(str(spans), corpora.Texts([path]), are_marked=True)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_of_objects_under_another_name_says_how_it_is_read(tmp_path):
    path = wordpieces.jsonl(tmp_path / "a.jsonl", [{"id": "1", "text": "abc d"}])
    spans = tmp_path / "s.spans"
    spans.write_text(json.dumps({"id": "1", "start": 0, "end": 3}))
    with pytest.raises(ValueError, match=r"read as tabs, as its name has no \.jsonl"):
        entities.load(str(spans), corpora.Texts([path]), are_marked=True)


def test_a_missing_file_is_one_sentence(tmp_path):
    path = wordpieces.jsonl(tmp_path / "a.jsonl", [{"text": "a"}])
    with pytest.raises(ValueError, match="is missing; name a .jsonl or .tsv file"):
        entities.load("none.tsv", corpora.Texts([path]), are_marked=True)
