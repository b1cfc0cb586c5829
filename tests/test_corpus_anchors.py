"""Anchors of a corpus: tables and page, a kill while counting, mistakes."""

import re

import numpy as np
import pytest
from helpers import wordpieces

from mmdiffmask import __main__ as command_line
from mmdiffmask import corpus_anchors
from mmdiffmask.masking import text_strategies, web_counts
from mmdiffmask.text import counting, lifts, recipes

WEB = {"kinase": 5, "cells": 50, "the": 9000, "of": 8000, "and": 8500, "we": 100}
WORDS = [*WEB, "egfr", "assay", "shown", "data", "rate", "level"]


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(web_counts, "load", lambda: WEB)
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, 12)) for _ in range(60)]
    rows = [{"text": f"{t}!", "label": "kinase" in t} for t in texts]
    wordpieces.jsonl(tmp_path / "a.jsonl", rows)
    (tmp_path / "plain.txt").write_text("\n".join(texts))
    vectors = {w: np.array([0.2, 1.0, i]) for i, w in enumerate(WORDS)}
    np.savez("v.npz", **vectors | {"kinase": np.array([1.0, 0, 0])})
    return tmp_path


def run(capsys, *arguments):
    status = command_line.main(["anchors", *map(str, arguments)])
    return status, *capsys.readouterr()


USUAL = ("--text", "a.jsonl", "--embeddings", "v.npz", "--k", 1)


def test_tables_and_page(corpus, capsys):
    status, out, err = run(capsys, *USUAL)
    assert status == 0, err
    assert re.search(r"^ +1 +kinase +\d+ +5 ", out, re.M)
    (by_anchors, at_random) = re.search(
        r"^\(all anchors\) +([\d.]+) +([\d.]+)$", out, re.M
    ).groups()
    assert float(by_anchors) > 2.5 and 0.6 < float(at_random) < 1.4
    assert "Eq. 1: 2 labels" in out and "Eq. 1 holds here" in out
    assert "--set masking.anchors=kinase" in out
    page = (corpus / "anchors.html").read_text()
    assert (
        "<mark>" in page and "kinase" in page and "http" not in page.split("arxiv")[0]
    )
    assert not list(corpus.glob("*.npz.*"))
    assert run(capsys, *USUAL)[1] == out


def test_without_labels_or_with_other_files_to_judge_on(corpus, capsys):
    status, out, _ = run(capsys, "--text", "plain.txt", *USUAL[2:])
    assert status == 0 and "No text has a label" in out
    status, out, _ = run(capsys, *USUAL, "--test", "a.jsonl")
    assert status == 0 and "on other files" in out


def test_unseen_and_background(corpus, capsys):
    status, out, _ = run(
        capsys, *USUAL, "--unseen", "floor", "--similarity", "centroid"
    )
    assert status == 0 and "drop out" not in out and "the centroid of" in out
    (corpus / "b.tsv").write_text("word\tcount\nkinase\t90000\nassay\t2\n")
    status, out, _ = run(capsys, *USUAL, "--background", "b.tsv")
    assert status == 0 and re.search(r"^ +1 +assay +\d+ +2 ", out, re.M)
    status, out, _ = run(capsys, *USUAL, "--background", "plain.txt")
    assert status == 0


def test_odd_corpora(corpus, capsys):
    """One line; words of which most, or all, have no count; every setting at once."""
    (corpus / "one.txt").write_text("we assay the kinase")
    status, out, _ = run(capsys, "--text", "one.txt", *USUAL[2:])
    assert status == 0 and re.search(r"^ +1 +kinase +1 ", out, re.M)
    (corpus / "other.txt").write_text("egfr assay shown kinase")
    status, out, _ = run(capsys, "--text", "other.txt", *USUAL[2:])
    assert status == 0 and "More than half of the frequent words drop out" in out
    (corpus / "none.txt").write_text("egfr assay\nshown data")
    status, out, err = run(capsys, "--text", "none.txt", *USUAL[2:])
    assert (status, out) == (2, "") and "with --background" in err
    (corpus / "signs.txt").write_text("... !!!\n")
    status, _, err = run(capsys, "--text", "signs.txt", *USUAL[2:])
    assert status == 2 and "have no word" in err
    more = ("--k", 99, "--candidates", 0, "--unseen", "floor", "--similarity")
    status, out, err = run(capsys, *USUAL[:4], *more, "centroid")
    assert status == 0, err


def test_eq_2_as_written_needs_every_word(corpus, capsys, monkeypatch):
    monkeypatch.setattr(counting.word_counts, "MOST", 8)
    status, _, err = run(capsys, *USUAL, "--candidates", 0)
    assert status == 2 and "too many different words" in err


def test_a_sample_holds_so_many_characters(corpus, monkeypatch):
    monkeypatch.setattr(counting, "CHARACTERS", 500)
    monkeypatch.setattr(counting.word_counts, "AT_ONCE", 7)
    some = counting.count(["a.jsonl", "plain.txt"], kept=100).rows
    assert 0 < sum(len(row.text) for row in some) <= 500
    turned = counting.count(["plain.txt", "a.jsonl"], kept=100).rows
    assert {row.key for row in turned} == {row.key for row in some}


@pytest.mark.parametrize(
    "more, sentence",
    [
        (("--page", "x.txt"), "needs an .html file"),
        (("--k", "0"), "at least 1"),
        (("--embeddings", "no.npz"), "no.npz: no such file"),
        (("--background", "no.tsv"), "no.tsv: is missing"),
        (("--background", "no.txt"), "no.txt: is missing"),
        (("--test", "no.jsonl"), "no.jsonl: is missing"),
        (("--text", "bad.jsonl"), "bad.jsonl, text 1: lacks 'text'"),
        (("--text", "one.jsonl"), "1 labels of 60 distinct texts"),
    ],
)
def test_mistakes_are_one_sentence(corpus, capsys, more, sentence):
    (corpus / "bad.jsonl").write_text('{"txt": 1}\n')
    lines = (corpus / "a.jsonl").read_text().replace("false", "true")
    (corpus / "one.jsonl").write_text(lines)
    status, out, err = run(capsys, *USUAL, *more)
    assert (status, out) == (2, "") and sentence in err, err
    assert err.strip().count("\n") == 0


def test_a_killed_count_goes_on(corpus, monkeypatch):
    monkeypatch.setattr(counting, "SAVED_EVERY", 1)
    monkeypatch.setattr(counting.word_counts, "AT_ONCE", 7)
    state = corpus / "state.npz"
    paths = ["a.jsonl", "plain.txt"]
    whole = counting.count(paths, "label", is_per_text=True, kept=20)
    save, saves = counting._Progress.save, []

    def stops(self, *arguments):
        save(self, *arguments)
        saves.append(1)
        if len(saves) == 11:
            raise KeyboardInterrupt

    monkeypatch.setattr(counting._Progress, "save", stops)
    with pytest.raises(KeyboardInterrupt):
        counting.count(paths, "label", is_per_text=True, kept=20, state=state)
    numbers = []
    parse = counting.corpora.parse
    monkeypatch.setattr(
        counting.corpora,
        "parse",
        lambda *a: numbers.append(a[1:3]) or parse(*a),
    )
    again = counting.count(paths, "label", is_per_text=True, kept=20, state=state)
    assert len(numbers) < 60 and not state.exists()
    # Messages count from the file's beginning, wherever the pass went on.
    (first, *_), last = numbers, numbers[-1]
    assert last == ("plain.txt", 60) and first[1] > 1
    assert [n for _, n in numbers] == list(range(first[1], first[1] + len(numbers)))
    assert again.rows == whole.rows and again.n_texts == whole.n_texts == 120
    assert again.words.counts == whole.words.counts
    assert again.words.texts_with == whole.words.texts_with
    turned = counting.count(paths[::-1], "label", kept=20)
    assert {row.key for row in turned.rows} == {row.key for row in whole.rows}
    assert len(whole.rows) <= 20


def test_lifts_by_hand():
    texts = ["a b c d e f g h"] * 1
    scores = text_strategies.Settings(
        similarity=lambda words: np.array([1.0 if w == "b" else 0.0 for w in words])
    )
    _, anchored = text_strategies.pair()
    lift, (shown,) = lifts.of_texts(texts, anchored, scores, shown=1)
    assert lift.share == 0.25 and lift.lift(["b"]) == 4
    assert ("b", True) in shown.parts
    assert "".join(text for text, _ in shown.parts) == texts[0]
    assert lift.most_hidden(1) == ["b"] and np.isnan(lift.lift(["z"]))


ANCHORS = {
    "chemprot": "adrenoceptor inos microm microg cyclooxygenase tcdd antagonist"
    " inhibited akt agonist inhibitor inhibition inhibits caspase inhibitory histamine"
    " inhibiting pretreatment antagonists phosphorylation",
    "acl_arc": "charniak coreference treebank lexical grammars syntactic morphological"
    " corpus parsing semantic linguistic parser sentences grammar parse lin collins"
    " retrieval extraction chen",  # "parsers" ties with "chen" for rank 200
}


@pytest.mark.parametrize("corpus_name", ANCHORS)
def test_anchors_of_real_corpora(shared, corpus_name):
    path = str(shared / "data" / corpus_name / "train.jsonl")
    counts = counting.count([path]).words.counts
    chosen = recipes.choose(counts, recipes.Sources())
    assert " ".join(chosen) == ANCHORS[corpus_name]


@pytest.mark.slow
@pytest.mark.parametrize(
    "corpus_name, names",
    [
        ("chemprot", "human activity inhibited inhibitor cells increased antagonist"),
        (
            "acl_arc",
            "system model language information translation learning lexical semantic",
        ),
    ],
)
def test_lifts_of_real_corpora(shared, corpus_name, names):
    """Figure 3's words, the anchors, and words at random (MiniLM's vectors)."""
    from mmdiffmask import label_vectors

    if label_vectors.folder() is None:
        pytest.skip(f"no MiniLM: {label_vectors.INSTALL}")
    path = str(shared / "data" / corpus_name / "train.jsonl")
    report = corpus_anchors.measure([path], recipes.Sources(), label_field="none")
    by_anchors, at_random = report.anchor_lifts
    assert report.by_anchors.lift(names.split()) >= 1.5
    assert by_anchors >= 2.3 and 0.95 <= at_random <= 1.05
