"""The head over candidates: gradient, optimum, closed and restated cases."""

import numpy as np
import pytest
import scipy.optimize

from mmdiffmask import softmax
from mmdiffmask.probe import choices, question_scores

LINKS = ("softmax", "sigmoid")


def asked(n, seed, spread=1.0, c=4, d=3):
    """Questions whose right candidate is drawn from a true head."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, c, 2, d))
    true = np.random.default_rng(77).normal(size=(2, d))
    noise = spread * rng.gumbel(size=(n, c))
    right = np.argmax((x * true).sum((2, 3)) + noise, axis=1)
    return choices.Questions(x.astype(np.float32), right)


def flat(part):
    return np.asarray(part.features, np.float64).reshape(*part.features.shape[:2], -1)


@pytest.mark.parametrize("link", LINKS)
def test_gradient_is_the_objective_s(link):
    part = asked(12, 0)
    weights = np.random.default_rng(1).normal(size=6)
    rest = (flat(part), part.right, 0.3, link)
    numeric = scipy.optimize.approx_fprime(
        weights, lambda w: choices.objective(w, *rest)[0], 1e-7
    )
    np.testing.assert_allclose(choices.objective(weights, *rest)[1], numeric, atol=1e-5)


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("l2", [1e-4, 1e-1])
def test_fit_is_the_optimum(link, l2):
    part = asked(150, 2)
    # Nearly singular, and a part that all candidates of a question share.
    x = flat(part)
    x = np.concatenate([x, x[..., :2] + 1e-3 * x[..., 2:4]], -1) + x[:, :1, :1]
    weights, gradient = choices.fit(x, part.right, (l2,), link)[l2]
    value, slope = choices.objective(weights, x, part.right, l2, link)
    assert np.abs(slope).max() < 1e-5 and gradient < softmax.FINE.limit
    rng = np.random.default_rng(3)
    for _ in range(20):
        near = weights + 10.0 ** rng.uniform(-3, 0) * rng.normal(size=weights.shape)
        assert choices.objective(near, x, part.right, l2, link)[0] > value


def test_one_hot_candidates_are_softmax_regression():
    # Candidate j of every question: the question's vector in block j of the features.
    rng = np.random.default_rng(4)
    x, classes, l2 = rng.normal(size=(80, 3)), 4, 0.05
    right = rng.integers(0, classes, 80)
    blocks = np.zeros((80, classes, classes, 3))
    blocks[:, np.arange(classes), np.arange(classes)] = x[:, None]

    def loss(kernel):
        scores = x @ kernel.reshape(classes, 3).T
        log_p = scores - np.log(np.exp(scores).sum(1, keepdims=True))
        picked = log_p[np.arange(80), right]
        return -picked.mean() + 0.5 * l2 * (kernel**2).sum()

    best = scipy.optimize.minimize(loss, np.zeros(12), tol=1e-10).x
    found, _ = choices.fit(blocks.reshape(80, classes, 12), right, (l2,), "softmax")[l2]
    np.testing.assert_allclose(found, best, atol=1e-4)


def test_sigmoid_is_a_logistic_regression_of_every_candidate():
    part, l2 = asked(60, 5), 0.02
    x = flat(part).reshape(-1, 6)
    y = (np.arange(4) == part.right[:, None]).reshape(-1)

    def loss(w):
        p = 1 / (1 + np.exp(-x @ w))
        return -np.log(np.where(y, p, 1 - p)).mean() + 0.5 * l2 * (w**2).sum()

    best = scipy.optimize.minimize(loss, np.zeros(6), tol=1e-10).x
    found, _ = choices.fit(flat(part), part.right, (l2,), "sigmoid")[l2]
    np.testing.assert_allclose(found, best, atol=1e-4)


def test_zero_shot_is_the_head_of_ones():
    part = asked(20, 6)
    scores = choices.zero_shot(part.features)
    np.testing.assert_allclose(scores, 100 * (flat(part) @ np.ones(6)), atol=1e-3)
    # Reserve's: 100 x the dot product of unit vectors, both streams added.
    mask, span = np.array([[[0.6, 0.8]], [[1.0, 0.0]]]), np.array([[1.0, 0.0], [0, 1]])
    product = np.stack([m * span for m in mask], 1)[None]  # (1, c, z, d)
    np.testing.assert_allclose(choices.zero_shot(product), [[160.0, 80.0]])


@pytest.mark.parametrize("link", LINKS)
def test_a_head_learns_and_dev_chooses_the_penalty(link):
    train, dev, val = asked(400, 7), asked(100, 8), asked(300, 9)
    found = choices.probe(train, dev, val, (1e-3, 1e3), link)
    assert found.l2 == 1e-3 and found.dev_loss[1e-3] < found.dev_loss[1e3]
    assert found.is_right.mean() > 0.6 and found.head.weights.shape == (2, 3)


@pytest.mark.parametrize("link", LINKS)
def test_the_order_of_candidates_does_not_matter(link):
    train, dev, val = asked(100, 10), asked(40, 11), asked(60, 12)
    order = np.array([2, 0, 3, 1])
    swapped = [
        choices.Questions(part.features[:, order], np.argsort(order)[part.right])
        for part in (train, dev, val)
    ]
    one = choices.probe(train, dev, val, (0.1,), link)
    two = choices.probe(*swapped, (0.1,), link)
    np.testing.assert_allclose(one.head.weights, two.head.weights, atol=1e-5)
    np.testing.assert_array_equal(one.is_right, two.is_right)


def test_more_features_than_questions_and_constant_ones():
    rng = np.random.default_rng(13)
    x = rng.normal(size=(8, 3, 2, 40)).astype(np.float32)
    x[..., 5] = 1.0
    part = choices.Questions(x, rng.integers(0, 3, 8))
    found = choices.probe(part, part, part, (1e-2,), "softmax")
    assert found.is_right.all() and found.head.gradient < softmax.FINE.limit


def test_a_split_without_questions_is_refused():
    part = asked(5, 14)
    empty = choices.Questions(part.features[:0], part.right[:0])
    with pytest.raises(ValueError, match="in dev"):
        choices.probe(part, empty, part, (0.1,), "softmax")


@pytest.mark.parametrize("link", LINKS)
def test_a_head_does_not_depend_on_how_many_questions_are_read_at_once(
    link, monkeypatch
):
    parts = [asked(130, 15), asked(40, 16), asked(50, 17)]
    one = choices.probe(*parts, (1e-3, 0.1), link)
    monkeypatch.setattr(choices, "CHUNK", 7)
    many = choices.probe(*parts, (1e-3, 0.1), link)
    np.testing.assert_allclose(many.head.weights, one.head.weights, atol=1e-9)
    np.testing.assert_array_equal(many.is_right, one.is_right)
    assert many.l2 == one.l2


def test_streams_are_put_together_a_stretch_at_a_time():
    rng = np.random.default_rng(18)
    audio, text = rng.normal(size=(2, 9, 3)).astype(np.float32)
    span = rng.normal(size=(9, 4, 3)).astype(np.float32)
    whole = np.stack([audio[:, None] * span, text[:, None] * span], axis=2)
    match = question_scores.Streams((audio, text), span)
    assert match.shape == (9, 4, 2, 3)
    np.testing.assert_array_equal(match[2:7], whole[2:7])
    answer = question_scores.Streams((span, 2 * span))
    assert answer.shape == (9, 4, 2, 3)
    np.testing.assert_array_equal(answer[4:], np.stack([span, 2 * span], 2)[4:])
    half = question_scores.Streams((audio.astype(np.float16), text), span)
    assert half[0:3].dtype == np.float32
