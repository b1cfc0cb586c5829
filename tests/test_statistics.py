"""Intervals against published values and repetitions."""

import numpy as np
import pytest

from mmdiffmask import statistics


@pytest.mark.parametrize(
    "right, n, low, high",
    [  # the closed formula, worked out to four digits
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (5, 10, 0.2366, 0.7634),
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I
        (15, 148, 0.0624, 0.1605),  # the same
        (1, 29, 0.0061, 0.1718),  # the same
    ],
)
def test_wilson_table(right, n, low, high):
    np.testing.assert_allclose(statistics.wilson(right, n), (low, high), atol=6e-5)


def test_wilson_refuses_nothing():
    for right, n in ((0, 0), (3, 2), (-1, 2)):
        with pytest.raises(ValueError, match="no share"):
            statistics.wilson(right, n)


def test_accuracy():
    score = statistics.accuracy(np.array([True, False, True, True]))
    assert (score.value, score.n) == (0.75, 4)
    assert score.low < 0.75 < score.high


def test_difference_is_paired_and_seeded():
    a = np.array([1, 1, 1, 0, 0, 1] * 50, bool)
    b = np.array([1, 0, 1, 1, 0, 0] * 50, bool)
    found = statistics.difference(a, b, 0, 2000)
    assert found.value == pytest.approx(1 / 6)
    assert found.n == 300
    assert found.is_seen and found.low < found.value < found.high
    assert found == statistics.difference(a, b, 0, 2000)
    assert found != statistics.difference(a, b, 1, 2000)
    error = np.std(a.astype(float) - b) / 300**0.5
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.08)
    assert found.smallest == pytest.approx(2.8 * error, rel=0.08)


def test_equal_rows_show_no_difference():
    a = np.arange(100) % 3 == 0
    found = statistics.difference(a, a, 0, 500)
    assert (found.value, found.low, found.high, found.is_seen) == (0, 0, 0, False)
    assert found.smallest == pytest.approx(2.8 / 100, rel=0.01)


def test_intervals_hold_what_they_promise():
    rng = np.random.default_rng(0)
    inside = 0
    for trial in range(200):
        rate = rng.beta(2, 2, 80)  # clips differ: cells of a clip depend on each other
        count = rng.integers(5, 15, 80)
        score = statistics.ratio(rng.binomial(count, rate), count, trial, 400)
        inside += score.low <= 0.5 <= score.high
    assert 178 <= inside <= 200


def test_ratio_and_difference_of_counts():
    hits, count = np.array([1, 0, 3, 0]), np.array([2, 0, 6, 2])
    score = statistics.ratio(hits, count, 0, 200)
    assert (score.value, score.n) == (0.4, 4)
    found = statistics.difference(hits, np.array([0, 0, 1, 2]), 0, 200, count=count)
    assert found.value == pytest.approx(0.1)
    with pytest.raises(ValueError, match="count is 0"):
        statistics.ratio(hits, 0 * count, 0, 200)


def test_floors():
    found = statistics.floors(["b", "a", "b", "c"], ["b", "a", "z", "b"])
    assert found == statistics.Floors(1 / 3, 0.5, 3)
    with pytest.raises(ValueError, match="labels"):
        statistics.floors([], ["a"])


@pytest.mark.parametrize("resamples", [1, 100, 101, 250])
def test_draws_in_parts_are_those_made_at_once(resamples):
    parts = list(statistics.draws(7, 3, resamples))
    share = np.full(7, 1 / 7)
    whole = np.random.default_rng(3).multinomial(7, share, resamples)
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert max(map(len, parts)) <= statistics.PART
    values = np.random.default_rng(0).random((7, 2))
    found = statistics.resampled(values, 3, resamples)
    np.testing.assert_allclose(found, whole @ values, rtol=1e-12)


def test_cases_of_no_spread():
    one = statistics.ratio(np.array([3]), np.array([4]), 0, 200)
    assert one.value == 0.75 and not one.has_interval and not one.is_above(0.5)
    alike = statistics.ratio(np.array([1, 2, 3]), np.array([3, 6, 9]), 0, 200)
    assert not alike.has_interval
    assert statistics.ratio(np.array([0, 2]), np.array([2, 2]), 0, 200).has_interval
    found = statistics.difference(np.ones(4), np.zeros(4), 0, 200)
    assert found.value == 1 and not found.has_interval and not found.is_seen


def test_cases_of_ties_in_accuracies():
    score = statistics.accuracy(np.array([1, 0.5, 0.5, 0]))
    assert score.value == 0.5 and score.low < 0.5 < score.high


def test_groups_count_as_their_rows():
    named = np.array([0, 2, 2])
    labels = np.array([[2.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 1.0]])
    rows = [
        (n, c)
        for n, counts in zip(named, labels, strict=True)
        for c in range(3)
        for _ in range(int(counts[c]))
    ]
    predicted, target = np.array(rows).T
    of_rows = statistics.class_counts(predicted, target, 3).sum(0)
    of_groups = statistics.group_counts(named, labels).sum(0)
    np.testing.assert_array_equal(of_groups, of_rows)
    # Class 1 is never named: F1 0. Class 3 does not occur, and counts once it is named.
    sums = statistics.class_counts(np.array([0, 0, 3]), np.array([0, 1, 0]), 4)
    sums = sums.sum(0, keepdims=True)
    assert statistics.macro_f1(sums)[0] == pytest.approx((1 / 2 + 0) / 2)
    both = statistics.macro_f1(sums, counts_named=True)[0]
    assert both == pytest.approx((1 / 2 + 0 + 0) / 3)
