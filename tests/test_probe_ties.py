"""Ties: a choice that cannot be told from others counts as its share."""

import numpy as np
import pytest

from mmdiffmask import softmax
from mmdiffmask.probe import choices, linear, neighbours, ties


def test_cases_of_ties_table():
    scores = np.array(
        [[3.0, 1, 2], [3, 3, 1], [3, 3, 1], [2, 2, 2], [0, 1, 1], [1, 1, 0], [5, 1, 1]]
    )
    right = np.array([0, 0, 1, 0, 0, -1, 1])
    found = ties.hits(scores, right)
    np.testing.assert_allclose(found, [1, 0.5, 0.5, 1 / 3, 0, 0, 0])
    assert ties.as_json(found)[:2] == [1, 0.5]
    assert [type(x) for x in ties.as_json(found)[:2]] == [int, float]
    assert ties.hits(np.array([[np.nan, 1.0]]), np.array([0])) == 0


def test_cases_of_log_probability_table():
    scores = np.log([[1.0, 3.0], [1.0, 3.0], [1.0, 3.0]]) + 1000.0
    logs = ties.log_probability(scores, np.array([1, 0, -1]))
    np.testing.assert_allclose(logs, [np.log(0.75), np.log(0.25), np.nan])
    assert ties.logs_as_json(logs) == [-0.28768, -1.38629, None]


def test_of_separate_sigmoids_it_is_that_of_one_alone_being_right():
    scores = np.random.default_rng(0).normal(size=(6, 4))
    p = 1 / (1 + np.exp(-scores))
    alone = np.stack(
        [p[:, i] * np.delete(1 - p, i, axis=1).prod(1) for i in range(4)], 1
    )
    expected = np.log(alone[:, 2] / alone.sum(1))
    right = np.full(6, 2)
    np.testing.assert_allclose(ties.log_probability(scores, right), expected)


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
@pytest.mark.parametrize("l2", [0.1, np.inf])
def test_cases_of_candidates_that_are_all_the_same_score_chance(link, l2):
    # The right one always stands first: naming the first of equals would score 100 %.
    rng = np.random.default_rng(0)
    one = rng.normal(size=(60, 1, 2, 37)).astype(np.float32)
    part = choices.Questions(np.repeat(one, 5, axis=1), np.zeros(60, int))
    found = choices.probe(part, part, part, (l2,), link)
    np.testing.assert_allclose(found.is_right, 0.2)
    scores = choices.zero_shot(part.features)
    np.testing.assert_allclose(ties.hits(scores, part.right), 0.2)


def test_cases_of_a_duplicate_of_the_right_candidate_is_half_right():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(80, 4, 2, 33)).astype(np.float32)
    right = rng.integers(0, 4, 80)
    x[np.arange(80), right, 0, 0] += 9.0
    x[np.arange(80), (right + 2) % 4] = x[np.arange(80), right]
    part = choices.Questions(x, right)
    found = choices.probe(part, part, part, (0.01,), "softmax")
    np.testing.assert_array_equal(found.is_right, 0.5)


def labelled(features, labels):
    clips = tuple(f"c{i}" for i in range(len(labels)))
    return linear.Labelled(features, tuple(labels), clips)


def test_cases_of_features_that_tell_nothing_score_chance():
    same = np.ones((12, 5), np.float32)
    part = labelled(same, "aaaabbbbcccc")
    found = linear.probe(part, part, part, (0.1,), 3)
    np.testing.assert_allclose(found.is_right_knn, 1 / 3)
    frequent = linear.probe(part, part, part, (np.inf,), 3)
    np.testing.assert_allclose(frequent.is_right, 1 / 3)
    assert frequent.dev_loss[np.inf] == pytest.approx(np.log(3))


def test_an_infinite_penalty_leaves_the_frequencies():
    x = np.random.default_rng(2).normal(size=(9, 4))
    head = softmax.fit(x, np.array([0, 0, 0, 0, 0, 1, 1, 1, 2]), 3, np.inf)
    assert not head.kernel.any()
    np.testing.assert_allclose(np.exp(head.bias), [5 / 9, 3 / 9, 1 / 9])


def test_cases_of_neighbours_in_any_order():
    # The second and third place are shared by three clips of one cosine.
    train = np.array([[1.0, 0], [0, 2], [0, 1], [0, 4], [-1, 0]])
    target = np.array([0, 1, 1, 0, 1])
    query = np.array([[1.0, 0.0]])
    found = neighbours.votes(train, target, query, 2, 3)
    np.testing.assert_allclose(found, [[1 + 1 / 12 + 2 / 3, 4 / 3]])
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(5)
        again = neighbours.votes(train[order], target[order], query, 2, 3)
        np.testing.assert_allclose(again, found)


def test_cases_of_rounding_between_equal_candidates():
    inputs = np.array([[[1, 2], [1, 3], [1, 2]], [[1, 2], [3, 4], [5, 6]]])
    vectors = np.random.default_rng(3).normal(size=(2, 3, 4))
    found = ties.same_for_same(vectors, inputs)
    np.testing.assert_array_equal(found[0], vectors[0][[0, 1, 0]])
    np.testing.assert_array_equal(found[1], vectors[1])
