"""Eq. 1 on texts whose labels hang on the anchors' kin, on other words, on nothing."""

import numpy as np
import pytest

from mmdiffmask import premise
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
    assert measured.accuracy[premise.TOP].value == 1
    assert measured.accuracy[premise.ALL].value > 0.95
    assert measured.accuracy[premise.LEAST].value < 0.65
    chance = measured.accuracy[premise.CHANCE].value
    assert chance < measured.accuracy[premise.DRAWN].value < 1
    gain = measured.gains["accuracy", premise.TOP]
    assert gain.low > 0 and gain.value == pytest.approx(1 - chance)
    again = premise.measure(rows("kin"), similarity)
    assert again == measured


def test_the_reverse_is_seen_too():
    measured = premise.measure(rows("other"), similarity)
    assert measured.accuracy[premise.LEAST].value == 1
    assert measured.gains["macro F1", premise.TOP].high < 0


def test_other_files_are_judged_and_groups_are_intervals():
    every = rows("kin", 200)
    repeated = [row for row in every[100:110] for _ in range(5)]
    measured = premise.measure(every[:100], similarity, repeated)
    assert not measured.is_folded
    assert (measured.texts, measured.groups) == (50, 10)


def test_macro_f1_by_hand():
    told, target = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    sums = premise._counts(told, target, 3).sum(0, keepdims=True)
    values = premise._measures(sums, 3)
    assert values["accuracy"][0] == 0.75
    # Class 2 does not occur; the others have F1 2/3 and 4/5.
    assert values["macro F1"][0] == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_too_little_is_refused():
    with pytest.raises(ValueError, match="needs two labels"):
        premise.measure([Row(i, "a b", "x") for i in range(40)], similarity)
    few = [Row(i, "a b", "xy"[i % 2]) for i in range(6)]
    with pytest.raises(ValueError, match="10 texts"):
        premise.measure(few, similarity)
