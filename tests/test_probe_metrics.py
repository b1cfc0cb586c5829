"""Intervals against published values and repetitions; masks counted by hand."""

import numpy as np
import pytest

from mmdiffmask import grid as grids
from mmdiffmask.probe import metrics


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
    np.testing.assert_allclose(metrics.wilson(right, n), (low, high), atol=6e-5)


def test_wilson_refuses_nothing():
    for right, n in ((0, 0), (3, 2), (-1, 2)):
        with pytest.raises(ValueError, match="no share"):
            metrics.wilson(right, n)


def test_accuracy():
    score = metrics.accuracy(np.array([True, False, True, True]))
    assert (score.value, score.n) == (0.75, 4)
    assert score.low < 0.75 < score.high


def test_difference_counts_pairs_and_is_seeded():
    a = np.array([1, 1, 1, 0, 0, 1] * 50, bool)
    b = np.array([1, 0, 1, 1, 0, 0] * 50, bool)
    found = metrics.difference(a, b, 0, 2000)
    assert found.value == pytest.approx(1 / 6)
    assert (found.only_a, found.only_b, found.n) == (100, 50, 300)
    assert found.is_seen and found.low < found.value < found.high
    assert found == metrics.difference(a, b, 0, 2000)
    assert found != metrics.difference(a, b, 1, 2000)
    error = np.std(a.astype(float) - b) / 300**0.5
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.08)
    assert found.smallest == pytest.approx(2.8 * error, rel=0.08)


def test_equal_rows_show_no_difference():
    a = np.arange(100) % 3 == 0
    found = metrics.difference(a, a, 0, 500)
    assert (found.value, found.low, found.high, found.is_seen) == (0, 0, 0, False)
    assert found.smallest == pytest.approx(2.8 / 100, rel=0.01)


def test_intervals_hold_what_they_promise():
    rng = np.random.default_rng(0)
    inside = 0
    for trial in range(200):
        rate = rng.beta(2, 2, 80)  # clips differ: cells of a clip depend on each other
        count = rng.integers(5, 15, 80)
        score = metrics.ratio(rng.binomial(count, rate), count, trial, 400)
        inside += score.low <= 0.5 <= score.high
    assert 178 <= inside <= 200


def test_ratio_and_difference_of_counts():
    hits, count = np.array([1, 0, 3, 0]), np.array([2, 0, 6, 2])
    score = metrics.ratio(hits, count, 0, 200)
    assert (score.value, score.n) == (0.4, 4)
    found = metrics.difference(hits, np.array([0, 0, 1, 2]), 0, 200, count=count)
    assert found.value == pytest.approx(0.1) and found.only_a == -1
    with pytest.raises(ValueError, match="count is 0"):
        metrics.ratio(hits, 0 * count, 0, 200)


def test_floors():
    found = metrics.floors(["b", "a", "b", "c"], ["b", "a", "z", "b"])
    assert found == metrics.Floors(1 / 3, 0.5, 3)
    with pytest.raises(ValueError, match="labels"):
        metrics.floors([], ["a"])


def test_mask_summary_by_hand():
    grid = grids.PatchGrid(2, 4, 16)  # 8 patches, 2 cells a frame
    unit = np.array([[0, 0, 1, 1, 0, 0, 6, -1], [0, 1, 2, 3, 4, 5, 6, -1]])
    is_box = np.zeros((2, 8), bool)
    is_box[0, :2] = True  # clip 0: box 0 = the left cell, box 1 = top of the right one
    valid = np.ones((2, 1, 8), bool)
    valid[:, 0, 7] = False
    masked = np.zeros((2, 1, 8), bool)
    masked[0, 0, [0, 1, 4, 5, 2, 6]] = True  # box 0 whole, half of box 1, one patch
    masked[1, 0, [2, 3, 6]] = True  # all that is picture of the right cell
    found = metrics.summarise_masks(grid, masked, valid, unit, is_box)
    assert found == metrics.MaskSummary(
        clips=2,
        clips_without_box=1,
        hidden_patches=4.5,
        hidden_share=9 / 14,
        whole_box=4 / 9,
        cut_box=1 / 9,
        fill=4 / 9,
        boxes_share=6 / 14,
        cells=2.0,
        cells_touched=1.5,
        cells_hidden=1.0,
    )


def test_cases_of_no_spread():
    one = metrics.ratio(np.array([3]), np.array([4]), 0, 200)
    assert one.value == 0.75 and not one.has_interval and not one.is_above(0.5)
    alike = metrics.ratio(np.array([1, 2, 3]), np.array([3, 6, 9]), 0, 200)
    assert not alike.has_interval
    assert metrics.ratio(np.array([0, 2]), np.array([2, 2]), 0, 200).has_interval
    found = metrics.difference(np.ones(4), np.zeros(4), 0, 200)
    assert found.value == 1 and not found.has_interval and not found.is_seen


def test_cases_of_ties_in_accuracies():
    score = metrics.accuracy(np.array([1, 0.5, 0.5, 0]))
    assert score.value == 0.5 and score.low < 0.5 < score.high
