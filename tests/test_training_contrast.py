"""Contrast between pairs, against the formula written out."""

import jax
import numpy as np
import scipy.special

from mmdiffmask.training import contrast

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(2, 6, 8)).astype(np.float32)


def make(is_row, is_candidate, source=None):
    return contrast.Pairs(X, Y, np.array(is_row), np.array(is_candidate), source)


def test_extra_negatives_stand_on_one_side():
    is_row = [True, True, False, True, False, False]
    is_candidate = [True, True, True, True, True, False]
    forth, back = contrast.row_losses(make(is_row, is_candidate))
    logits = X @ Y.T
    for i in range(6):
        if not is_row[i]:
            assert forth[i] == back[i] == 0
            continue
        every = scipy.special.logsumexp(logits[i, is_candidate])
        rows = scipy.special.logsumexp(logits[is_row, i])
        np.testing.assert_allclose(forth[i], every - logits[i, i], rtol=1e-5)
        np.testing.assert_allclose(back[i], rows - logits[i, i], rtol=1e-5)
    mean = (forth + back).sum() / 2 / 3
    np.testing.assert_allclose(
        contrast.loss(make(is_row, is_candidate)), mean, rtol=1e-6
    )


def test_sources_part_the_loss():
    source = np.array([0, 0, 1, 1, 1, 2])
    every = make([True] * 6, [True] * 6, source)
    parts = [contrast.loss_from(every, i) * n for i, n in enumerate((2, 3, 1))]
    np.testing.assert_allclose(sum(parts) / 6, contrast.loss(every), rtol=1e-4)


def test_no_pair_is_no_loss_and_no_nan():
    none = make([False] * 6, [False] * 6, np.full(6, -1))
    assert contrast.loss(none) == 0 and contrast.loss_from(none, 0) == 0
    gradient = jax.grad(lambda x: contrast.loss(none._replace(x=x)))(X)
    assert np.isfinite(gradient).all()


def test_scale_is_capped_at_100():
    one, two = (contrast.scaled(X, np.array(s, np.float32)) for s in (4.7, 20.0))
    np.testing.assert_allclose((two**2).sum(-1), 100.0, rtol=1e-4)
    np.testing.assert_allclose(one, two, rtol=1e-4)
