"""Labels of texts: groups, folds, the official test in two parts, floors."""

import collections
import dataclasses

import numpy as np
import pytest
from helpers import labelled_texts

from mmdiffmask import config, statistics
from mmdiffmask.data import texts as corpora
from mmdiffmask.probe import folds, results, text_floors, text_labels, text_rows

PROBE = config.Probe(folds=3, l2=(1e-2, 1.0), fractions=(0.1,), fraction_draws=2)
FILES = labelled_texts.files()
ROWS = labelled_texts.rows(FILES)


@pytest.fixture(scope="module")
def folded():
    return text_labels.probe(PROBE, "label", ROWS, labelled_texts.bags(ROWS))


@pytest.fixture(scope="module")
def official():
    plain = dataclasses.replace(PROBE, folds=0)
    return text_labels.probe(plain, "label", ROWS, labelled_texts.bags(ROWS))


def f1_by_hand(named, target):
    values = []
    for one in set(target):
        right = sum(a == b == one for a, b in zip(named, target, strict=True))
        count = sum(a == one for a in named) + sum(b == one for b in target)
        values.append(2 * right / count)
    return sum(values) / len(values)


def f1(predicted, target, n):
    counts = statistics.class_counts(np.array(predicted), np.array(target), n)
    return statistics.macro_f1(counts.sum(0, keepdims=True))[0]


def test_macro_f1_is_the_mean_of_the_classes_that_occur():
    rng = np.random.default_rng(0)
    named, target = rng.integers(0, 5, 60), rng.integers(0, 4, 60)
    expected = f1_by_hand(named.tolist(), target.tolist())
    assert f1(named, target, 6) == pytest.approx(expected)
    assert f1([0, 0, 1], [0, 1, 1], 3) == pytest.approx((2 / 3 + 2 / 3) / 2)


def test_equal_texts_are_one_group_whatever_their_signs():
    places = [ROWS.names.index(f"test {i:06}") for i in range(5)]
    assert [ROWS.groups[i] for i in places] == list(ROWS.groups[:5])
    assert [ROWS.texts[i] for i in places] != list(ROWS.texts[:5])
    assert ROWS.is_in_train[places].all() and ROWS.is_in_train.sum() == 65
    fold_of = folds.deal({group: group for group in ROWS.groups}, 3)
    assert len(fold_of) == 105  # 110 rows


def test_folds_score_every_row_and_the_official_test_stands_beside(folded):
    every, test = folded["label"], folded["label/test"]
    assert list(folded) == ["label", "label/test"]
    assert len(every.clips) == 110 and len(test.clips) == 30
    assert {name: sum(x) for name, x in every.texts.parts.items()} == {"new": 45}
    assert {name: sum(x) for name, x in test.texts.parts.items()} == {
        "seen": 5,
        "new": 25,
    }
    head = every.heads["mean"]
    is_right = np.array(head.predicted) == np.array(every.texts.target)
    np.testing.assert_array_equal(is_right, np.array(head.is_right) > 0.5)
    assert is_right.mean() > 0.9 and len(head.l2_of_fold) == 3
    assert [one.fraction for one in head.few] == [0.1, 0.1]
    assert all(0 < one.macro_f1 <= 1 and one.labels == 11 for one in head.few)
    assert not every.heads["cls"].few and not test.heads["mean"].few


def test_dev_chooses_nothing_where_it_may_hold_texts_of_train(folded):
    """Labels of dev that are turned round change the folds, not the official test."""
    turned = FILES | {
        "dev": [row | {"label": "abc"[len(row["text"]) % 3]} for row in FILES["dev"]]
    }
    rows = labelled_texts.rows(turned)
    other = text_labels.probe(PROBE, "label", rows, labelled_texts.bags(rows))
    assert other["label/test"] == folded["label/test"]
    assert other["label"] != folded["label"]


def test_without_folds_dev_chooses_the_penalty(official):
    label = official["label"]
    assert list(official) == ["label"] and len(label.clips) == 30
    assert label.heads["mean"].l2 in PROBE.l2
    assert len(label.heads["mean"].few) == 2


def test_floors_by_hand(folded, official):
    test = official["label"].texts
    of_train = [row["label"] for row in FILES["train"]]
    counts = collections.Counter(of_train)
    most = "abc".index(min(counts, key=lambda name: (-counts[name], name)))
    assert set(test.floors[text_floors.LARGEST]) == {most}
    copied = test.floors[text_floors.COPIED]
    assert copied[:5] == test.target[:5] and set(copied[5:]) == {most}
    words = test.floors[text_floors.WORDS]
    assert np.mean(np.array(words) == np.array(test.target)) > 0.9
    # No fold holds a text of another, so there is nothing to copy.
    every = folded["label"].texts
    assert every.floors[text_floors.COPIED] == every.floors[text_floors.LARGEST]


def test_a_class_that_a_draw_lacks_is_no_error():
    files = FILES | {"train": [*FILES["train"], FILES["train"][0] | {"label": "rare"}]}
    rows = labelled_texts.rows(files)
    plain = dataclasses.replace(PROBE, folds=0, fractions=(0.05,))
    (label,) = text_labels.probe(
        plain, "label", rows, labelled_texts.bags(rows)
    ).values()
    assert len(label.texts.classes) == 4 and len(label.heads["mean"].few) == 2


def test_probe_json_gives_back_what_it_got(folded):
    key = results.make_key(probe=dataclasses.asdict(PROBE))
    probed = results.Probed(key=key, labels=folded, step=3)
    assert results.from_json(results.as_json(probed)) == probed


def test_rows_without_labels_are_refused():
    bare = {"train": [corpora.Text("1", "a", None, "")], "test": []}
    with pytest.raises(ValueError, match=r"data.train: no text has a field 'kind'"):
        text_rows.read(bare, "kind")


def corpus(folder):
    texts = {
        split: corpora.Texts([folder / f"{split}.jsonl"], "label")
        for split in text_rows.SPLITS
    }
    return text_rows.read(texts, "label")


def scored(rows, is_scored, fold):
    floors = text_floors.predict(rows, is_scored, fold)
    target = [rows.classes.index(x) for x in rows.some(is_scored).labels]
    n = len(rows.classes)
    return {
        name: (f1(named, target, n), np.mean(np.array(named) == np.array(target)))
        for name, named in floors.items()
    }


def test_floors_of_acl_arc(shared):
    rows = corpus(shared / "data" / "acl_arc")
    assert len(rows) == 1941 and len(set(rows.groups)) == 1424
    is_new = rows.of("dev", "test") & ~rows.is_in_train
    assert is_new.sum() == 158
    known = rows.some(rows.of("train", "test"))
    is_test = known.of("test")
    assert (is_test & known.is_in_train).sum() == 52
    floors = scored(known, is_test, np.where(is_test, 0, -1))
    assert floors[text_floors.LARGEST][0] == pytest.approx(0.113, abs=5e-4)
    assert floors[text_floors.COPIED][0] == pytest.approx(0.466, abs=5e-4)
    fold_of = folds.deal({group: group for group in rows.groups}, 5)
    fold = np.array([fold_of[group] for group in rows.groups])
    floors = scored(rows, np.ones(len(rows), bool), fold)
    assert floors[text_floors.WORDS][0] == pytest.approx(0.39, abs=0.01)


def test_floors_of_chemprot(shared):
    rows = corpus(shared / "data" / "chemprot")
    known = rows.some(rows.of("train", "test"))
    is_test = known.of("test")
    assert is_test.sum() == 3469
    assert len(set(known.some(is_test).groups)) == 1397
    assert (is_test & known.is_in_train).sum() == 4
    floors = scored(known, is_test, np.where(is_test, 0, -1))
    assert floors[text_floors.WORDS][1] == pytest.approx(0.61, abs=0.01)
