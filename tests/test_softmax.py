"""Softmax regression that texts and probes share, against numbers from before."""

import numpy as np
import pytest
import scipy.sparse

from mmdiffmask import softmax
from mmdiffmask.probe import bag_heads

# By the heads of text and of bags of words as they were before they shared
# their loss and their solver: kernel, bias, probabilities of the first four rows.
PLAIN = {
    (1.0, 1.0): (
        [0.8960194869889894, 0.005426264567279158, 0.1481678351542003, 0.0082322849],
        0.15855226267610614,
        [0.20933757802447783, 0.9315199483190711, 0.8902513086094884, 0.186617743],
    ),
    (1.0, 3.0): (
        [1.0001828886121922, -0.09009847336616596, 0.0694151300866322, 0.0059746406],
        0.697058584254763,
        [0.4566310893583279, 0.9818353886085924, 0.9489399455298212, 0.26199358043],
    ),
}
BAGS = {
    True: [-0.3596197756419117, 0.38512335427993183, -0.025503578638009186],
    False: [-0.35956395985405176, 0.3851369265715784, -0.02557296671751198],
}


@pytest.mark.parametrize("class_weights", PLAIN)
def test_heads_of_selective_masking_are_those_of_before(class_weights):
    rng = np.random.default_rng(5)
    features = rng.normal(size=(30, 4)) * [1, 5, 0.1, 1e-9] + 2
    target = (features[:, 0] + rng.normal(size=30) > 2).astype(int)
    fitted = softmax.fit_weighted(features, target, class_weights)
    kernel, bias, likely = PLAIN[class_weights]
    np.testing.assert_allclose(fitted.head.kernel[:, 1], kernel, atol=1e-8)
    assert fitted.head.bias[1] == pytest.approx(bias, abs=1e-8)
    shown = fitted.probabilities(features)[:4, 1]
    np.testing.assert_allclose(shown, likely, atol=1e-8)


@pytest.mark.parametrize("is_rough", [True, False])
def test_heads_of_the_premise_are_those_of_before(is_rough):
    rng = np.random.default_rng(5)
    rng.normal(size=(30, 4)), rng.normal(size=30)
    bags = scipy.sparse.csr_matrix((rng.random((20, 6)) < 0.4).astype(float))
    counts = rng.integers(0, 3, (20, 3)).astype(float)
    head = bag_heads.fit(bags, counts, 1e-3, is_rough=is_rough)
    np.testing.assert_allclose(head.kernel[0], BAGS[is_rough], atol=1e-8)


def test_weights_count_as_repeated_rows():
    rng = np.random.default_rng(1)
    scores, target = rng.normal(size=(3, 2)), np.array([0, 1, 1])
    loss, error = softmax.of_scores(scores, target, np.array([0.5, 0.25, 0.25]))
    again = softmax.of_scores(scores[[0, 0, 1, 2]], target[[0, 0, 1, 2]])
    assert loss == pytest.approx(again[0])
    np.testing.assert_allclose(error[1:], again[1][2:])
    np.testing.assert_allclose(error[0], again[1][:2].sum(0))


def test_an_optimum_that_is_not_reached_is_said_with_its_way_out():
    limits = softmax.PLAIN._replace(iterations=1, limit=1e-9)
    with pytest.raises(ValueError, match="did not reach its .*; name other labelled t"):
        softmax.minimise(
            lambda x: (float(((x - 3) ** 4).sum()), 4 * (x - 3) ** 3), 4, limits
        )
