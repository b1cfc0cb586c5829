"""Selective Masking: the rule restated piece by piece, Eq. 8, the linear heads."""

import numpy as np
import pytest
import scipy.optimize
from helpers import wordpieces

from mmdiffmask import softmax
from mmdiffmask.data import texts as corpora
from mmdiffmask.text import encoders, labelled, masks, selective

WORDS = ["the", "cell", "kinase", "parser", "grammar", "is", "of"]
ROWS = [
    {"text": f"{first} {a} of the {b}", "label": label}
    for label, (a, b) in (("bio", ("kinase", "cell")), ("nlp", ("parser", "grammar")))
    for first in ("the", "is", "cell, is", "grammar is", "x", "y z")
]


@pytest.fixture
def classifier(tmp_path, monkeypatch):
    monkeypatch.setenv("MMDIFFMASK_CACHE", str(tmp_path))
    path = wordpieces.jsonl(tmp_path / "a.jsonl", [*ROWS, *ROWS, {"text": "no label"}])
    encoder = encoders.load(str(wordpieces.encoder(tmp_path / "encoder", WORDS)))
    return labelled.load(corpora.Texts([path], "label"), "label", encoder)


def test_the_classifier_reads_each_pair_once_and_learns(classifier):
    assert len(classifier.examples) == len(ROWS) and classifier.labels == ["bio", "nlp"]
    assert len(classifier.right) >= 10


def test_the_rule_piece_by_piece(classifier):
    source = selective.Importance(classifier, classifier.encoder.pieces.fingerprint)
    assert len(source.marks) == len(source.tried) > 0
    passes = 0
    for example, mark in zip(source.tried, source.marks, strict=True):
        ids, label = example.passage.ids, example.label
        whole = classifier.probabilities([ids])[0, label]
        buffer, expected = [], []
        for i, may_matter in zip(ids, selective.is_tried(example.passage), strict=True):
            matters = False
            if may_matter:
                passes += 1
                likely = classifier.probabilities([np.array([*buffer, i])])[0, label]
                matters = whole - likely < 0.01
            buffer += [] if matters else [i]
            expected.append(matters)
        assert mark.tolist() == expected
    assert source.passes == passes


def test_all_texts_are_marked_by_what_was_learnt(classifier):
    pieces = classifier.encoder.pieces
    source = selective.Importance(classifier, pieces.fingerprint)
    texts = ["the kinase is new", *(row["text"] for row in ROWS)]
    some = [
        p
        for pair in zip(texts, pieces.windows(texts, 60), strict=True)
        for p in masks.passages(*pair)
    ]
    values = source(some)
    assert all(((0 < v) & (v < 1)).all() for v in values)
    by_text = {p.text: v for p, v in zip(some, values, strict=True)}
    matter = np.concatenate(source.marks)
    learnt = np.concatenate([by_text[e.passage.text] for e in source.tried])
    assert learnt[matter].mean() > learnt[~matter].mean() + 0.1


def test_eq_8(classifier):
    source = selective.Gain(classifier, classifier.encoder.pieces.fingerprint)
    example = classifier.right[0]
    ids = example.passage.ids
    whole = classifier.probabilities([ids])[0, example.label]
    up_to = [ids[: i + 1] for i in range(len(ids))]
    expected = whole - classifier.probabilities(up_to)[:, example.label]
    (value,) = source([example.passage])
    np.testing.assert_allclose(value, np.maximum(expected, 0), atol=1e-6)
    assert value[-1] == pytest.approx(0, abs=1e-6)
    unknown = example.passage._replace(text="another text")
    assert not source([unknown])[0].any()


def test_function_words_and_punctuation_are_never_tried():
    passage = masks.Passage(
        "The cell, of",
        0,
        np.arange(5),
        np.array([0, 1, 1, -1, 2]),
        ("the", "cell", "of"),
    )
    assert selective.is_tried(passage).tolist() == [False, True, True, False, False]


def test_a_head_is_at_the_optimum_of_its_objective():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 3)) * [1, 5, 0.1] + 2
    target = (features[:, 0] + rng.normal(size=40) > 2).astype(int)
    head = softmax.fit_weighted(features, target, [1.0, 3.0])
    scaled = (features - features.mean(0)) / (features.std(0) + 1e-6)
    weight = np.where(target, 3.0, 1.0)

    def objective(flat):
        logits = scaled @ flat[:6].reshape(3, 2) + flat[6:]
        log_share = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        loss = -(weight * log_share[np.arange(40), target]).sum() / weight.sum()
        return loss + 0.005 * (flat[:6] ** 2).sum()

    point = np.concatenate([head.head.kernel.ravel(), head.head.bias])
    gradient = scipy.optimize.approx_fprime(point, objective, 1e-6)
    np.testing.assert_allclose(gradient, 0, atol=1e-4)
    np.testing.assert_allclose(head.probabilities(features).sum(1), 1)


def test_too_few_labels_are_one_sentence(classifier, tmp_path):
    path = wordpieces.jsonl(tmp_path / "b.jsonl", ROWS[:3])
    texts = corpora.Texts([path], "label")
    with pytest.raises(ValueError, match="1 labels in the field 'label'.*--labelled"):
        labelled.load(texts, "label", classifier.encoder)
