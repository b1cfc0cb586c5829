"""The command on anchors: what it prints, what it writes, and what it refuses."""

import json
import re

import numpy as np
import pytest

from mmdiffmask import __main__ as command_line
from mmdiffmask import anchor_choice, config, configure, examples, label_vectors
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.masking import web_counts

WEB = {"the": 900, "castle": 10, "woman": 50, "walks": 40}
TEXTS = ["The woman walks.", "the woman walks", "Zzz: the castle!", "A castle"]


@pytest.fixture(autouse=True)
def _few_words(monkeypatch, tmp_path):
    monkeypatch.setattr(web_counts, "load", lambda: WEB)
    monkeypatch.chdir(tmp_path)


def run(capsys, *arguments):
    """Status, what stands on stdout and what on stderr."""
    status = command_line.main(["anchors", *map(str, arguments)])
    return status, *capsys.readouterr()


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps({"q": text}) + "\n" for text in TEXTS))
    return path


def test_a_choice_by_hand():
    choice = anchor_choice.choose(TEXTS, k=2, max_candidates=200)
    # Distinct texts: the woman walks / zzz the castle / a castle: eight words.
    assert (choice.texts, choice.words, choice.unseen) == (4, 8, ("zzz",))
    assert choice.anchors == ("castle", "walks") and choice.competing == 4
    expected = [(2 / 8) / (10 / 1000), (1 / 8) / (40 / 1000)]
    np.testing.assert_allclose([score for _, score in choice.scores], expected)
    assert choice == anchor_choice.choose(TEXTS[::-1], k=2, max_candidates=200)
    every = anchor_choice.choose(TEXTS, k=99, max_candidates=None)
    assert every.anchors == ("castle", "walks", "woman", "the")


@pytest.mark.parametrize(
    "texts, k, words",
    [
        (["", " ... "], 3, "no word"),
        (["zzz"], 3, "no frequent word"),
        (TEXTS, 0, "at least 1"),
    ],
)
def test_what_gives_no_anchor_is_refused(texts, k, words):
    with pytest.raises(ValueError, match=words):
        anchor_choice.choose(texts, k, None)


@pytest.fixture
def vectors(tmp_path):
    """Of the anchors, of COCO's classes all alike, and of two persons."""
    from preprocessing.boxes import yolox

    rows = {name: np.array([0.0, 0, 1]) for name in yolox.COCO}
    rows |= {"castle": np.array([1.0, 0, 0]), "woman": np.array([0.0, 1, 0])}
    rows |= {"person": np.array([0.6, 0.8, 0]), "walks": np.array([-1.0, 0, 0])}
    np.savez(tmp_path / "vectors.npz", **rows)
    return "vectors.npz"


def test_the_printed_line_is_taken_by_a_run(capsys, questions, vectors):
    words = ("--text", questions, "--k", 3, "--embeddings", vectors)
    status, out, _ = run(capsys, *words)
    assert status == 0
    assert "4 texts, 8 words" in out and "1 without a web count drop out: zzz" in out
    assert "Words for persons do not lead: woman (3)" in out
    assert "Weights of 80 labels by the nearest" in out
    assert re.search(r"^ 0\.800  person +woman$", out, re.M)
    assert re.search(r"^ 0\.000  toaster +", out, re.M)
    line = out.splitlines()[-1]
    settings = configure.override(config.Experiment("x"), line.split("--set ")[1:])
    masking = settings.masking
    assert masking.anchors == ("castle", "walks", "woman")
    assert set(examples.embeddings_of(masking)) >= {*masking.anchors, "toaster"}
    assert run(capsys, *words)[1] == out


def test_the_centroid(capsys, questions, vectors):
    words = ("--text", questions, "--k", 1, "--embeddings", vectors)
    words += ("--similarity", "centroid")
    status, out, _ = run(capsys, *words)
    assert status == 0 and re.search(r"^ 0\.600  person$", out, re.M)
    assert out.splitlines()[-1].endswith("--set masking.similarity=centroid")
    assert "None of the 1 is a word for persons" in out


def test_without_vectors_the_way_to_them_is_printed(capsys, questions, monkeypatch):
    monkeypatch.setattr(label_vectors, "folder", lambda: None)
    status, out, _ = run(capsys, "--text", questions)
    assert status == 0 and label_vectors.INSTALL in out and "Weights" not in out


def test_vectors_are_written_once(capsys, questions, monkeypatch, tmp_path):
    class Encoder:
        def vectors(self, texts):
            return {text: np.array([len(text), 1.0]) for text in texts}

    monkeypatch.setattr(label_vectors, "folder", lambda: tmp_path)
    monkeypatch.setattr(label_vectors, "load", Encoder)
    words = ("--text", questions, "--out", "new.npz")
    for _ in range(2):
        status, out, _ = run(capsys, *words)
        assert status == 0 and "masking.label_embeddings=new.npz" in out
    status, out, err = run(capsys, *words, "--k", 1)
    assert (status, out) == (2, "")
    assert "new.npz holds other vectors; name a new file with --out" in err


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((), "name records, or files of texts with --text"),
        (("--text", "none.jsonl"), "none.jsonl: is missing"),
        (("no/records",), "no/records"),
        (("--text", "questions.jsonl", "--k", "-1"), "at least 1"),
        (("--text", "questions.jsonl", "--candidates", "-1"), "at least 1"),
        (("--text", "questions.jsonl", "--embeddings", "x.npz"), "x.npz: no such"),
    ],
)
def test_mistakes_are_one_sentence(capsys, questions, arguments, words):
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "") and words in err and err.count("\n") == 1


def test_records(capsys, tiny_records, monkeypatch):
    monkeypatch.setattr(label_vectors, "folder", lambda: None)
    labels = anchor_choice.labels_of_records(tiny_records)
    assert ("body", "person") in {(label.kind, label.name) for label in labels}
    assert sum(label.boxes for label in labels) > 0
    corpus = Corpus.of(tiny_records)
    dev = corpus.split_train(config.Data().dev_share, boxed_only=False).dev
    texts = anchor_choice.questions(tiny_records)
    assert 0 < len(texts) == len(corpus.entries("train")) - len(dev)
    status, out, _ = run(capsys, tiny_records)
    assert status == 0 and out.startswith(f"{len(texts)} texts, ")
