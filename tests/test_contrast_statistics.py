"""Statistics of contrasts against scipy, repetitions and each other."""

import numpy as np
import pytest
import scipy.stats

from mmdiffmask import contrast_statistics as statistics
from mmdiffmask import statistics as over_clips


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_the_paired_test_is_scipy_s(n):
    rng = np.random.default_rng(n)
    a, b = rng.normal(0.6, 0.02, n), rng.normal(0.58, 0.02, n)
    expected = scipy.stats.ttest_rel(a, b)
    interval = expected.confidence_interval(0.95)
    got = statistics.over_seeds(a - b)
    np.testing.assert_allclose(got.p, expected.pvalue, rtol=1e-9)
    np.testing.assert_allclose((got.low, got.high), interval, rtol=1e-9)
    assert (got.n, got.mean) == (n, pytest.approx(np.mean(a - b)))
    assert got.sd == pytest.approx(np.std(a - b, ddof=1))


def test_seeds_without_spread_or_alone_are_not_compared():
    assert statistics.over_seeds(np.full(4, 0.1)) is None
    with pytest.raises(ValueError, match="two or more"):
        statistics.over_seeds(np.array([0.1]))


def test_holm_by_hand_and_its_laws():
    assert statistics.holm([0.25, 0.01, 0.02]) == pytest.approx([0.25, 0.03, 0.04])
    assert statistics.holm([0.04, 0.03]) == pytest.approx([0.06, 0.06])
    assert statistics.holm([0.9, 0.8]) == [1.0, 1.0] and statistics.holm([]) == []
    rng = np.random.default_rng(0)
    for _ in range(100):
        p = rng.random(rng.integers(1, 9)) ** 3
        adjusted = np.array(statistics.holm(p.tolist()))
        assert (adjusted >= p).all() and (adjusted <= 1).all()
        order = np.argsort(p)
        assert (np.diff(adjusted[order]) >= 0).all()
        bonferroni = np.minimum(len(p) * p, 1)
        assert (adjusted <= bonferroni + 1e-15).all()
        # The steps themselves: from the smallest on, until one is not met.
        steps = p[order] <= 0.05 / np.arange(len(p), 0, -1)
        rejected = np.cumprod(steps).astype(bool)
        assert (rejected == (adjusted[order] <= 0.05)).all()


@pytest.mark.parametrize("n, tests", [(3, 1), (5, 1), (5, 4), (10, 3)])
def test_the_smallest_effect_is_seen_in_four_of_five_repetitions(n, tests):
    effect = statistics.smallest_effect(0.02, n, tests)
    rng = np.random.default_rng(1)
    values = rng.normal(effect, 0.02, (20_000, n))
    p = scipy.stats.ttest_1samp(values, 0, axis=1).pvalue
    assert np.mean(p <= 0.05 / tests) == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("tests", [1, 3, 20, 200])
def test_the_smallest_effect_grows_with_tests_and_shrinks_with_seeds(tests):
    sizes = [statistics.smallest_effect(1.0, n, tests) for n in (2, 3, 5, 10, 100)]
    assert np.isfinite(sizes).all() and (np.diff(sizes) < 0).all()
    assert statistics.smallest_effect(1.0, 5, tests + 1) > sizes[2]
    assert statistics.smallest_effect(3.0, 5, tests) == pytest.approx(3 * sizes[2])


def test_the_bootstrap_of_two_rows_is_the_paired_one():
    rng = np.random.default_rng(0)
    a, b = rng.random(60) < 0.6, rng.random(60) < 0.5
    clips = [f"clip{i:02}" for i in range(60)]
    columns = [statistics.Column(1, a.astype(float), clips)]
    columns.append(statistics.Column(-1, b.astype(float), clips))
    got = statistics.over_clips(columns, 3, 500)
    expected = over_clips.difference(a, b, 3, 500)
    for name in ("value", "low", "high", "smallest"):
        assert getattr(got, name) == pytest.approx(getattr(expected, name))
    assert got.n == 60
    # Also where the other row's clips come in another order.
    columns[1] = statistics.Column(-1, b[::-1].astype(float), clips[::-1])
    assert statistics.over_clips(columns, 3, 500) == got


def test_measures_of_other_clips_and_of_questions():
    one = statistics.Column(1, np.array([1.0, 0, 1]), ["x", "x", "y"])
    two = statistics.Column(-1, np.array([1.0, 0]), ["y", "z"])
    got = statistics.over_clips([one, two], 0, 400)
    assert got.value == pytest.approx(2 / 3 - 1 / 2) and got.n == 3
    assert got.low < got.value < got.high
