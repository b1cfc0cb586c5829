"""Anchors: Eq. 2 and Eq. 3 against hand-made tables."""

import json

import numpy as np
import pytest

from mmdiffmask.masking import anchors, web_counts
from mmdiffmask.types import Boxes


def test_words_are_counted_once_per_distinct_text():
    texts = ["A cell-line of 2 cells", "the cell", "the cell"]
    assert anchors.count_words(texts) == {
        "a": 1, "cell": 2, "line": 1, "of": 1, "2": 1, "cells": 1, "the": 1,
    }  # fmt: skip


def test_tf_icf_is_the_ratio_of_frequencies():
    target = {"the": 50, "inhibitor": 30, "cell": 20, "zzz": 1}
    web = {"the": 9000, "inhibitor": 10, "cell": 990}
    got = anchors.tf_icf(target, web, k=2)
    assert [word for word, _ in got] == ["inhibitor", "cell"]
    np.testing.assert_allclose(got[0][1], (30 / 101) / (10 / 10000))


def test_only_frequent_words_compete_and_ties_go_by_word():
    target = {"beta": 5, "alpha": 5, "rare": 1, "an": 90}
    web = {"beta": 7, "alpha": 7, "rare": 1, "an": 1}
    got = [word for word, _ in anchors.tf_icf(target, web, max_candidates=2)]
    assert got == ["alpha", "beta"]
    everything = anchors.tf_icf(target, web, max_candidates=None, min_length=1)
    assert everything[0][0] == "an"


def test_no_anchor_is_an_error():
    with pytest.raises(ValueError, match="no anchor"):
        anchors.tf_icf({"xyz": 3}, {"abc": 5})


def test_similarity_nearest_and_centroid():
    words = np.array([[1.0, 0], [0, 2.0], [-1, 0], [-1, -1]])
    ends = np.array([[3.0, 0], [0, 1.0]])
    np.testing.assert_allclose(anchors.similarity(words, ends), [1, 1, 0, 0])
    half = np.sqrt(0.5)
    np.testing.assert_allclose(
        anchors.similarity(words, ends, "centroid"), [half, half, 0, 0], atol=1e-12
    )


def test_similarity_refuses_zero_vectors_and_other_reductions():
    with pytest.raises(ValueError, match="length 0"):
        anchors.similarity(np.zeros((1, 2)), np.ones((1, 2)))
    with pytest.raises(ValueError, match="nearest or centroid"):
        anchors.similarity(np.ones((1, 2)), np.ones((1, 2)), "mean")


def test_label_equal_to_an_anchor_needs_no_encoder():
    assert anchors.label_similarity(["person", "dog"], ["person"]).tolist() == [1, 0]


def test_labels_by_their_vectors(tmp_path):
    path = tmp_path / "labels.npz"
    vectors = {"person": np.array([1.0, 0]), "red ball": np.array([0.6, 0.8])}
    np.savez(path, **vectors)
    loaded = anchors.load_embeddings(path)
    got = anchors.label_similarity(["red ball", "person"], ["person"], loaded)
    np.testing.assert_allclose(got, [0.6, 1.0])
    with pytest.raises(ValueError, match="no vector for dog"):
        anchors.label_similarity(["dog"], ["person"], loaded)


def test_bad_embedding_files_are_named(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        anchors.load_embeddings(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no zip")
    with pytest.raises(ValueError, match=r"text\.npz: not an \.npz"):
        anchors.load_embeddings(tmp_path / "text.npz")
    np.savez(tmp_path / "odd.npz", a=np.ones(2), b=np.ones(3))
    with pytest.raises(ValueError, match="same size"):
        anchors.load_embeddings(tmp_path / "odd.npz")


@pytest.mark.parametrize("ends, expected", [(["person"], [1, 1]), (["face"], [1, 0])])
def test_face_is_part_of_a_person(ends, expected):
    boxes = Boxes(
        np.zeros(2, int), np.zeros((2, 4)), ("face", "body"), ("face", "person"),
        np.ones(2), np.full(2, -1), ("true",) * 2,
    )  # fmt: skip
    assert anchors.box_similarity(boxes, ends).tolist() == expected


def test_cases_of_bodies_under_other_words():
    boxes = Boxes(
        np.zeros(3, int), np.zeros((3, 4)), ("body", "body", "object"),
        ("child", "Girl", "child"), np.ones(3), np.full(3, -1), ("file",) * 3,
    )  # fmt: skip
    assert anchors.box_similarity(boxes, ["person"]).tolist() == [1, 1, 0]
    assert anchors.box_similarity(boxes, ["child"]).tolist() == [1, 0, 1]
    known = {"person": np.array([1.0, 0]), "child": np.array([0.6, 0.8])}
    found = anchors.box_similarity(boxes, ["person"], known)
    np.testing.assert_allclose(found, [0.6, 1, 0.6])


def ranked(target, web, candidates):
    """Eq. 2 in numpy, with words of three or more characters."""
    words = np.array(sorted(word for word in target if len(word) > 2))
    count = np.array([target[word] for word in words], float)
    frequent = np.argsort(-count, kind="stable")[:candidates]
    words, count = words[frequent], count[frequent]
    background = np.array([web.get(word, 0) for word in words], float)
    words, count, background = (x[background > 0] for x in (words, count, background))
    score = count / sum(target.values()) / (background / sum(web.values()))
    order = np.lexsort((words, -score))
    return [(str(words[i]), score[i]) for i in order]


@pytest.mark.parametrize("candidates", [None, 6, 12, 200])
def test_tf_icf_restated(candidates):
    rng = np.random.default_rng(0)
    names = [a + b + c for a in "abc" for b in "def" for c in ("", "g", "hi")]
    target = {name: int(rng.integers(1, 9)) for name in names}
    web = {name: int(rng.integers(0, 5)) for name in names[3:]}
    expected = ranked(target, web, candidates)
    got = anchors.tf_icf(target, web, k=1000, max_candidates=candidates)
    assert [word for word, _ in got] == [word for word, _ in expected]
    np.testing.assert_allclose([s for _, s in got], [s for _, s in expected])
    assert anchors.tf_icf(target, web, 3, candidates) == got[:3]
    back = dict(reversed(target.items()))  # the order of words does not matter
    assert anchors.tf_icf(back, web, 1000, candidates) == got


def test_words_that_the_web_lacks_drop_out_and_take_a_place():
    target = {"xyz": 9, "cell": 5, "the": 5, "of": 99, "rare": 1}
    web = {"cell": 10, "the": 1000, "rare": 1}
    assert anchors.competing(target, web, 3) == (["cell", "the"], ["xyz"])
    assert anchors.competing(target, web, None)[0] == ["cell", "the", "rare"]
    assert anchors.competing(target, web, None, 4) == (["cell", "rare"], [])


# The anchors that the released code names, and how many of them come out.
CHEMPROT = """inos adrenoceptor inhibit tcdd akt agonist vegf caspase inhibiting ec
 cyclin microm antagonist potency antagonists inhibitory potent inhibits
 tyrosine synthase"""
ACL_ARC = """charniak coreference treebank parsers grammars parse syntactic linguistic
 lexical roth och parser parsing extraction chen sentences phrase semantic sentence
 dialogue"""


@pytest.mark.parametrize(
    "name, released, shares, first",
    [
        ("chemprot", CHEMPROT, 12, ["adrenoceptor", "inos", "microm", "microg"]),
        ("acl_arc", ACL_ARC, 14, ["charniak", "coreference", "treebank", "lexical"]),
    ],
)
def test_anchors_of_two_corpora(shared, name, released, shares, first):
    lines = (shared / "data" / name / "train.jsonl").read_text().splitlines()
    counts = anchors.count_words(json.loads(line)["text"] for line in lines)
    got = [word for word, _ in anchors.tf_icf(counts, web_counts.load())]
    assert got[:4] == first
    assert len(set(got) & set(released.split())) == shares


def test_the_centroid_of_several_anchors_needs_vectors():
    ends, rows = ["a", "b"], np.array([[1.0, 0], [0, 1], [1, 1]])
    known = dict(zip("abc", rows, strict=True))
    with pytest.raises(ValueError, match=r"masking\.similarity=centroid"):
        anchors.label_similarity(["a"], ends, None, "centroid")
    got = anchors.label_similarity(["a", "c"], ends, known, "centroid")
    np.testing.assert_allclose(got, [np.sqrt(0.5), 1])
    got = anchors.label_similarity(["a", "c"], ends, known, "nearest")
    np.testing.assert_allclose(got, [1, np.sqrt(0.5)])
    alone = anchors.label_similarity(["a", "c"], ["a"], None, "centroid")
    assert alone.tolist() == [1, 0]
