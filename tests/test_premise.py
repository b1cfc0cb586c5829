"""Eq. 1 on texts whose labels hang on the anchors' kin, on other words, on nothing."""

import numpy as np
import pytest
import scipy.sparse
import scipy.special

from mmdiffmask import premise
from mmdiffmask.probe import bag_heads
from mmdiffmask.text import bags
from mmdiffmask.text.counting import Row

KIN = ["kinase", "enzyme"]  # like the anchors
OTHER = ["monday", "friday"]
FILL = [f"fill{i}" for i in range(12)]


def similarity(words):
    return np.array([0.9 if w in KIN else 0.3 if w in FILL else 0.0 for w in words])


def rows(tell, n=120):
    """Texts of 12 words, one in `tell` naming the label."""
    rng = np.random.default_rng(0)
    result = []
    for key in range(n):
        label = int(rng.integers(2))
        words = [*rng.permutation(FILL)[:10].tolist(), KIN[0], OTHER[0]]
        pair = KIN if tell == "kin" else OTHER
        words[words.index(pair[0])] = pair[label]
        if tell == "nothing":
            label = int(rng.integers(2))
        result.append(Row(key, " ".join(rng.permutation(words).tolist()), f"l{label}"))
    return result


def test_kin_of_the_anchors_that_tell_are_seen():
    measured = premise.measure(rows("kin"), similarity)
    assert measured.is_folded and measured.groups == 120 and measured.classes == 2
    assert measured.accuracy[bags.TOP].value == 1
    assert measured.accuracy[bags.ALL].value > 0.95
    assert measured.accuracy[bags.LEAST].value < 0.65
    chance = measured.accuracy[bags.CHANCE].value
    assert chance < measured.accuracy[bags.DRAWN].value < 1
    gain = measured.gains["accuracy", bags.TOP]
    assert gain.low > 0 and gain.value == pytest.approx(1 - chance)
    again = premise.measure(rows("kin"), similarity)
    assert again == measured


def test_the_reverse_is_seen_too():
    measured = premise.measure(rows("other"), similarity)
    assert measured.accuracy[bags.LEAST].value == 1
    assert measured.gains["macro F1", bags.TOP].high < 0


def test_other_files_are_judged_and_groups_are_intervals():
    every = rows("kin", 200)
    repeated = [row for row in every[100:110] for _ in range(5)]
    measured = premise.measure(every[:100], similarity, repeated)
    assert not measured.is_folded
    assert (measured.texts, measured.groups) == (50, 10)


def test_macro_f1_by_hand():
    kernel = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    head = bag_heads.BagHead(kernel, np.zeros(3))
    features = scipy.sparse.csr_matrix([[1.0, 0.0], [0.0, 1.0]])
    # Two texts of the first group are named class 0, one wrongly; two of the second
    # class 1.
    labels = np.array([[1.0, 1.0, 0.0], [0.0, 2.0, 0.0]])
    sums = premise._counts(head, features, labels).sum(0, keepdims=True)
    values = premise._measures(sums, 3)
    assert values["accuracy"][0] == 0.75
    # Class 2 does not occur; the others have F1 2/3 and 4/5.
    assert values["macro F1"][0] == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_a_group_counts_as_its_rows():
    """Equal texts are one row of counts: the same optimum as of rows by themselves."""
    rng = np.random.default_rng(0)
    one = scipy.sparse.csr_matrix(rng.integers(0, 2, (6, 4)).astype(float))
    counts = rng.integers(0, 3, (6, 3)).astype(float)
    head = bag_heads.fit(one, counts, 1e-2)
    rows = [
        (g, c) for g in range(6) for c in range(3) for _ in range(int(counts[g, c]))
    ]
    group, label = np.array(rows).T
    apart = bag_heads.fit(one[group], np.eye(3)[label], 1e-2, head)
    np.testing.assert_allclose(apart.kernel, head.kernel, atol=1e-5)
    np.testing.assert_allclose(apart.bias, head.bias, atol=1e-4)
    gradient = (
        one[group].T
        @ (
            scipy.special.softmax(one[group] @ head.kernel + head.bias, 1)
            - np.eye(3)[label]
        )
        / len(group)
        + 1e-2 * head.kernel
    )
    np.testing.assert_allclose(gradient, 0, atol=1e-5)


def test_the_penalty_is_chosen_by_each_measure_inside(monkeypatch):
    """Labels of a rare class: no penalty but a small one names it."""
    rng = np.random.default_rng(0)
    is_rare = rng.random(300) < 0.1
    x = scipy.sparse.csr_matrix(np.stack([is_rare, rng.random(300) < 0.5], 1) * 1.0)
    counts = np.eye(2)[is_rare.astype(int)]
    monkeypatch.setattr(premise, "PENALTIES", (1.0, 1e-3))
    assert premise._choose(x, counts, 0) == {"accuracy": 1e-3, "macro F1": 1e-3}
    noise = np.eye(2)[(rng.random(300) < 0.1).astype(int)]
    assert premise._choose(x, noise, 0)["accuracy"] == 1.0  # of equals the largest


def test_bags_by_hand():
    values = np.array([0.1, 0.9, 0.0, 0.5, 0.2, 0.3, 0.4, 0.05])
    assert bags.pick(values, bags.TOP, (0, 1)).tolist() == [1, 3]
    assert sorted(bags.pick(values, bags.LEAST, (0, 1))) == [2, 7]
    assert bags.pick(values, bags.ALL, (0, 1)).tolist() == [*range(8)]
    first = [bags.pick(values, bags.DRAWN, (0, i))[0] for i in range(4000)]
    share = np.bincount(first, minlength=8) / 4000
    np.testing.assert_allclose(share, values / values.sum(), atol=0.03)  # Eq. 4
    chance = np.bincount(
        [bags.pick(values, bags.CHANCE, (0, i))[0] for i in range(4000)]
    )
    np.testing.assert_allclose(chance / 4000, 1 / 8, atol=0.03)
    texts = [np.array([2, 2, 0]), np.array([], np.int64), np.array([1])]
    matrix = bags.matrix(texts, np.array([0.1, 0.2, 0.3]), bags.ALL, [(0,)] * 3)
    np.testing.assert_array_equal(matrix.toarray(), [[1, 0, 1], [0, 0, 0], [0, 1, 0]])


def test_too_little_is_refused():
    with pytest.raises(ValueError, match="needs two labels"):
        premise.measure([Row(i, "a b", "x") for i in range(40)], similarity)
    few = [Row(i, "a b", "xy"[i % 2]) for i in range(6)]
    with pytest.raises(ValueError, match="10 texts"):
        premise.measure(few, similarity)
