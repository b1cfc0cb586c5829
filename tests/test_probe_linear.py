"""The convex heads: closed cases, gradients, the choice on dev, neighbours by hand."""

import numpy as np
import pytest
import scipy.optimize

from mmdiffmask import softmax
from mmdiffmask.probe import features as feature_cache
from mmdiffmask.probe import linear
from mmdiffmask.probe import neighbours as neighbours_lib


def _blobs(n, seed, d=6, classes=3):
    rng = np.random.default_rng(seed)
    target = rng.integers(0, classes, n)
    centre = np.random.default_rng(99).normal(size=(classes, d))
    return centre[target] + 1.2 * rng.normal(size=(n, d)), target


def _labelled(n, seed, name):
    x, y = _blobs(n, seed)
    labels = tuple("abc"[i] for i in y)
    clips = tuple(f"{name}{i}" for i in range(n))
    return linear.Labelled(x.astype(np.float32), labels, clips)


def test_gradient_is_the_objective_s():
    x, y = _blobs(20, 0)
    rng = np.random.default_rng(1)
    kernel, bias = rng.normal(size=(6, 3)), rng.normal(size=3)

    def value(flat):
        return softmax.objective(flat[:18].reshape(6, 3), flat[18:], x, y, 0.3)[0]

    flat = np.concatenate([kernel.ravel(), bias])
    numeric = scipy.optimize.approx_fprime(flat, value, 1e-6)
    _, d_kernel, d_bias = softmax.objective(kernel, bias, x, y, 0.3)
    np.testing.assert_allclose(
        np.concatenate([d_kernel.ravel(), d_bias]), numeric, atol=1e-5
    )


@pytest.mark.parametrize("l2", [1e-4, 1e-2, 1.0])
def test_fit_is_the_optimum(l2):
    x, y = _blobs(200, 2)
    x = np.concatenate([x, x @ np.ones((6, 2)) + 1e-3 * x[:, :2]], 1)  # nearly singular
    head = softmax.fit(x, y, 3, l2)
    value, d_kernel, d_bias = softmax.objective(head.kernel, head.bias, x, y, l2)
    assert max(np.abs(d_kernel).max(), np.abs(d_bias).max()) < 1e-6
    assert head.gradient < 1e-6
    rng = np.random.default_rng(3)
    for _ in range(20):  # convex: nothing nearby or far away is lower
        step = 10.0 ** rng.uniform(-3, 0)
        near = head.kernel + step * rng.normal(size=head.kernel.shape)
        assert softmax.objective(near, head.bias, x, y, l2)[0] > value


def test_fit_meets_a_case_solved_by_hand():
    # Two clips at -1 and +1: by symmetry the kernel is (-w, w) with
    # 1 / (1 + exp(2 w)) = l2 w, here solved by bisection.
    l2 = 0.1
    w = scipy.optimize.brentq(lambda w: 1 / (1 + np.exp(2 * w)) - l2 * w, 0, 10)
    head = softmax.fit(np.array([[-1.0], [1.0]]), np.array([0, 1]), 2, l2)
    np.testing.assert_allclose(head.kernel, [[-w, w]], atol=1e-6)
    np.testing.assert_allclose(head.bias, [0.0, 0.0], atol=1e-6)


def test_huge_penalty_leaves_the_frequencies():
    x, y = _blobs(60, 4)
    head = softmax.fit(x, y, 3, 1e8)
    p = np.exp(head.bias) / np.exp(head.bias).sum()
    np.testing.assert_allclose(p, np.bincount(y) / 60, atol=1e-6)


def test_more_features_than_clips():
    rng = np.random.default_rng(5)
    head = softmax.fit(rng.normal(size=(12, 40)), np.arange(12) % 3, 3, 1e-2)
    assert head.kernel.shape == (40, 3) and head.gradient < 1e-6


def test_a_dead_feature_is_no_feature():
    live = np.random.default_rng(0).normal(size=(50, 2))
    x = np.concatenate([live, 1e-33 * live[:, :1], 1e-12 * live[:, :1]], 1)
    out = softmax.standardiser(x)(x)
    assert np.abs(out[:, 2]).max() < 1e-30
    np.testing.assert_allclose(out[:, 3].std(), 1.0)  # small, but alive


def test_standardiser_keeps_constant_features_at_zero():
    x = np.array([[1.0, 0.1], [3.0, 0.1], [5.0, 0.1]], np.float32)
    out = softmax.standardiser(x)(x)
    np.testing.assert_allclose(out[:, 0], [-(1.5**0.5), 0, 1.5**0.5])
    np.testing.assert_allclose(out[:, 1], 0.0, atol=1e-6)


@pytest.mark.parametrize(
    "neighbours, expected",
    [(1, [0, 1]), (3, [0, 0]), (4, [1, 1]), (99, [1, 1])],
)
def test_nearest_table(neighbours, expected):
    # Angles in degrees; the second query's 3 nearest are of classes 1, 0, 0.
    angle = np.deg2rad([0, 40, 85, 100, 110])
    train = np.stack([np.cos(angle), np.sin(angle)], 1) * [[1], [5], [1], [2], [1]]
    target = np.array([0, 0, 1, 1, 1])
    at = np.deg2rad([10, 66])
    query = np.stack([np.cos(at), np.sin(at)], 1)
    if neighbours == 3:
        target = np.array([0, 0, 1, 0, 1])
    if neighbours == 4:  # 0, 40, 85, 100: two votes each for the first query
        target = np.array([1, 1, 0, 0, 1])
        expected = [1, 0]
    found = neighbours_lib.votes(train, target, query, 2, neighbours)
    assert found.argmax(1).tolist() == expected


def test_probe_learns_and_is_deterministic():
    splits = [
        _labelled(n, s, name)
        for n, s, name in ((150, 6, "t"), (60, 7, "d"), (80, 8, "v"))
    ]
    result = linear.probe(*splits, (1e-4, 1e-2, 1.0), 5)
    again = linear.probe(*splits, (1.0, 1e-2, 1e-4), 5)
    assert result.classes == ("a", "b", "c") and result.clip[0] == "v0"
    assert result.is_right.mean() > 0.6 and result.is_right_knn.mean() > 0.6
    assert result.l2 == again.l2 == min(result.dev_loss, key=result.dev_loss.get)
    np.testing.assert_array_equal(result.is_right, again.is_right)
    # The loss that the penalty was chosen by is minus the mean log-probability on dev.
    on_dev = linear.probe(splits[0], splits[1], splits[1], (result.l2,), 5)
    mean = on_dev.log_probability.mean()
    assert -mean == pytest.approx(result.dev_loss[result.l2])


def test_class_that_train_lacks_is_wrong():
    train, dev, val = (_labelled(60, s, n) for s, n in ((6, "t"), (7, "d"), (8, "v")))
    strange = linear.Labelled(val.features, ("zebra",) * 60, val.clip)
    result = linear.probe(train, dev, strange, (0.01,), 5)
    assert not result.is_right.any() and not result.is_right_knn.any()
    assert np.isnan(result.log_probability).all()


def test_probe_says_what_is_missing():
    train, dev, val = (_labelled(30, s, n) for s, n in ((6, "t"), (7, "d"), (8, "v")))
    one = linear.Labelled(train.features, ("a",) * 30, train.clip)
    with pytest.raises(ValueError, match="two classes"):
        linear.probe(one, dev, val, (0.01,), 5)
    nobody = linear.Labelled(dev.features[:0], (), ())
    with pytest.raises(ValueError, match="dev_share"):
        linear.probe(train, nobody, val, (0.01, 0.1), 5)
    assert linear.probe(train, nobody, val, (0.01,), 5).l2 == 0.01


def test_label_clips_drops_those_without():
    features = feature_cache.Features(
        ("p", "q", "r"), {"joint": np.arange(6, dtype=np.float32).reshape(3, 2)}
    )
    found = linear.label_clips(features, "joint", {"p": "wave", "q": "", "r": "sit"})
    assert found.clip == ("p", "r") and found.labels == ("wave", "sit")
    np.testing.assert_array_equal(found.features, [[0, 1], [4, 5]])
