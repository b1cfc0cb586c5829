"""The convex head over candidate answers: one weight vector per stream, no bias.

A candidate's score is the sum over both streams of weights . features; the right one
should have the highest. design.md section 7.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
import scipy.special
from jaxtyping import Float, Int

from mmdiffmask.probe import linear, ties

Link = Literal["softmax", "sigmoid"]
SCALE = 100.0  # of Reserve's zero-shot scores, reserve.md section 6.4


@dataclasses.dataclass(frozen=True)
class Questions:
    """Questions of one split: features of each candidate in both streams."""

    features: Float[np.ndarray, "e c z d"]
    right: Int[np.ndarray, " e"]


@dataclasses.dataclass(frozen=True)
class Result:
    """A head and the validation questions that it answers rightly.

    Attributes:
      weights: of the standardised features, one vector per stream.
      l2: the penalty chosen on dev.
      dev_loss: loss on dev for each penalty tried.
      is_right: per validation question, a tie as its share (`ties.hits`).
      gradient: largest entry of the gradient at the optimum.
    """

    weights: Float[np.ndarray, "z d"]
    l2: float
    dev_loss: dict[float, float]
    is_right: Float[np.ndarray, " e"]
    gradient: float


def objective(
    weights: Float[np.ndarray, " k"],
    features: Float[np.ndarray, "e c k"],
    right: Int[np.ndarray, " e"],
    l2: float,
    link: Link,
) -> tuple[float, Float[np.ndarray, " k"]]:
    """Mean loss over the questions + l2 / 2 |weights|^2, with its gradient.

    `softmax`: cross-entropy of the right candidate among the question's (the released
    code); `sigmoid`: mean binary cross-entropy of each candidate (the paper's text).

    Departs: the released code adds a cross-entropy per stream; here the streams'
    scores are added first, as they are when it answers.
    """
    scores = features @ weights  # (e, c)
    is_right = np.zeros(scores.shape)
    is_right[np.arange(len(right)), right] = 1.0
    if link == "softmax":
        log_p = scipy.special.log_softmax(scores, axis=1)
        loss, error = -(is_right * log_p).sum(1).mean(), np.exp(log_p) - is_right
    else:
        loss = (np.logaddexp(0.0, scores) - is_right * scores).mean()
        error = (scipy.special.expit(scores) - is_right) / scores.shape[1]
    gradient = np.tensordot(error, features, 2) / len(right)
    return float(loss + 0.5 * l2 * (weights**2).sum()), gradient + l2 * weights


def fit(
    features: Float[np.ndarray, "e c k"],
    right: Int[np.ndarray, " e"],
    l2: Sequence[float],
    link: Link,
) -> dict[float, tuple[Float[np.ndarray, " k"], float]]:
    """The optimum for each penalty: weights and the gradient's largest entry.

    Raises:
      ValueError: if the solver stops before the gradient is practically zero.
    """
    root = _root(features, link)
    heads = {}
    for penalty in sorted(set(l2)):
        if np.isinf(penalty):
            heads[penalty] = (np.zeros(features.shape[-1]), 0.0)
            continue
        basis = linear.basis(root, penalty)  # (k, r)

        def loss(
            turned: Float[np.ndarray, " r"],
            penalty: float = penalty,
            basis: Float[np.ndarray, "k r"] = basis,
        ) -> tuple[float, np.ndarray]:
            value, gradient = objective(basis @ turned, features, right, penalty, link)
            return value, basis.T @ gradient

        optimum, gradient = linear.minimise(loss, basis.shape[1])
        heads[penalty] = (basis @ optimum, gradient)
    return heads


def _root(features: Float[np.ndarray, "e c k"], link: Link) -> np.ndarray:
    """A square matrix with the second moments of what the scores depend on.

    Under softmax only differences within a question count, so what all its candidates
    share is taken out. Only for the solver's basis, whose curvature it decides.
    """
    if link == "softmax":
        features = features - features.mean(1, keepdims=True)
    flat = features.reshape(-1, features.shape[-1])
    root = np.linalg.qr(flat, mode="r")
    return root * np.sqrt(len(root) / len(flat))


def zero_shot(features: Float[np.ndarray, "e c z d"]) -> Float[np.ndarray, "e c"]:
    """Reserve's own score of match features: all weights 1, streams added."""
    return SCALE * np.asarray(features, np.float64).sum((2, 3))


def probe(
    train: Questions, dev: Questions, val: Questions, l2: Sequence[float], link: Link
) -> Result:
    """Fits on train, chooses the penalty on dev, scores val once. design.md section 7.

    Features are standardised by train's mean and sd over questions and candidates.

    Raises:
      ValueError: if a split has no question.
    """
    for name, part in (("train", train), ("dev", dev), ("val", val)):
        if not len(part.right):
            raise ValueError(
                f"no question with a known answer in {name}: a head needs some; add"
                " clips, or change data.dev_share"
            )
    streams, width = train.features.shape[2:]
    scale = linear.standardiser(train.features.reshape(-1, streams * width))
    x_train, x_dev, x_val = (
        _standardise(scale, part.features) for part in (train, dev, val)
    )
    heads = fit(x_train, train.right, l2, link)
    losses = {
        penalty: objective(weights, x_dev, dev.right, 0.0, link)[0]
        for penalty, (weights, _) in heads.items()
    }
    chosen = linear.least(losses)
    weights, gradient = heads[chosen]
    return Result(
        weights=weights.reshape(streams, width),
        l2=chosen,
        dev_loss=losses,
        # Each row is summed alone: BLAS may give equal rows unequal last digits.
        is_right=ties.hits(np.einsum("eck,k->ec", x_val, weights), val.right),
        gradient=gradient,
    )


def _standardise(
    scale: linear.Standardiser, features: Float[np.ndarray, "e c z d"]
) -> Float[np.ndarray, "e c k"]:
    flat = scale(features.reshape(-1, len(scale.mean)))
    return flat.reshape(*features.shape[:2], -1)
