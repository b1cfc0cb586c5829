"""The convex head over candidate answers: one weight vector per stream, no bias.

A candidate's score is the sum over both streams of weights . features; the right one
should have the highest. design.md section 7.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import scipy.special
from jaxtyping import Float, Int

from mmdiffmask import softmax
from mmdiffmask.probe import linear, ties

Link = Literal["softmax", "sigmoid"]
CHUNK = 512  # questions in float64 at once; TVQA's of `base` take 31 MB
SCALE = 100.0  # of Reserve's zero-shot scores, reserve.md section 6.4


@runtime_checkable
class Candidates(Protocol):
    """Features (e, c, z, d) of which a stretch of questions is made when it is asked.

    An array is one. TVQA's questions of `base` take 3.7 GB in float32, and a product
    of two streams need not exist whole.
    """

    shape: tuple[int, ...]

    def __getitem__(
        self, part: slice | Int[np.ndarray, " k"]
    ) -> Float[np.ndarray, "k c z d"]:
        """The features of some questions: a stretch, or at some positions."""


@dataclasses.dataclass(frozen=True)
class Picked:
    """The questions at some positions of others."""

    features: Candidates
    positions: Int[np.ndarray, " k"]

    @property
    def shape(self) -> tuple[int, ...]:
        """As `Candidates.shape`."""
        return len(self.positions), *self.features.shape[1:]

    def __getitem__(
        self, part: slice | Int[np.ndarray, " k"]
    ) -> Float[np.ndarray, "k c z d"]:
        """The features of some of them."""
        return self.features[self.positions[part]]


@dataclasses.dataclass(frozen=True)
class Questions:
    """Questions of one split: features of each candidate in both streams."""

    features: Candidates
    right: Int[np.ndarray, " e"]

    def some(self, positions: Int[np.ndarray, " k"]) -> "Questions":
        """Some of them; their features are read where they are asked for."""
        return Questions(Picked(self.features, positions), self.right[positions])


@dataclasses.dataclass(frozen=True)
class Standardised:
    """Features (e, c, k) of both streams in float64, standardised where they are read.

    So no split is ever held in float64.
    """

    features: Candidates
    scale: softmax.Standardiser

    def __getitem__(self, part: slice) -> Float[np.ndarray, "k c x"]:
        """Some questions' features, their streams side by side."""
        values = np.array(self.features[part], np.float64)
        values = values.reshape(*values.shape[:2], -1)
        values -= self.scale.mean
        values /= self.scale.sd
        return values


@dataclasses.dataclass(frozen=True)
class Head:
    """A head at its optimum.

    Attributes:
      weights: of the standardised features, one vector per stream.
      scale: that standardises features as those that it was fitted on.
      gradient: largest entry of the gradient.
    """

    weights: Float[np.ndarray, "z d"]
    scale: softmax.Standardiser
    gradient: float


@dataclasses.dataclass(frozen=True)
class Result:
    """A head and the validation questions that it answers rightly.

    Attributes:
      head: fitted on train.
      l2: the penalty chosen on dev.
      dev_loss: loss on dev for each penalty tried.
      is_right: per validation question, a tie as its share (`ties.hits`).
      log_probability: of the right candidate of each (`ties.log_probability`).
    """

    head: Head
    l2: float
    dev_loss: dict[float, float]
    is_right: Float[np.ndarray, " e"]
    log_probability: Float[np.ndarray, " e"]


def chunks(count: int) -> Iterator[slice]:
    """Stretches of `CHUNK` questions, in order."""
    for start in range(0, count, CHUNK):
        yield slice(start, min(start + CHUNK, count))


def objective(
    weights: Float[np.ndarray, " k"],
    features: Float[np.ndarray, "e c k"] | Standardised,
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
    loss, gradient = 0.0, np.zeros(len(weights))
    for part in chunks(len(right)):
        values = features[part]
        scores = np.einsum("eck,k->ec", values, weights, optimize=True)
        is_right = np.zeros(scores.shape)
        is_right[np.arange(len(scores)), right[part]] = 1.0
        if link == "softmax":
            log_p = scipy.special.log_softmax(scores, axis=1)
            loss -= (is_right * log_p).sum()
            error = np.exp(log_p) - is_right
        else:
            n_answers = scores.shape[1]
            loss += (np.logaddexp(0.0, scores) - is_right * scores).sum() / n_answers
            error = (scipy.special.expit(scores) - is_right) / n_answers
        gradient += np.tensordot(error, values, 2)
    loss, gradient = loss / len(right), gradient / len(right)
    return float(loss + 0.5 * l2 * (weights**2).sum()), gradient + l2 * weights


def fit(
    features: Float[np.ndarray, "e c k"] | Standardised,
    right: Int[np.ndarray, " e"],
    l2: Sequence[float],
    link: Link,
) -> dict[float, tuple[Float[np.ndarray, " k"], float]]:
    """The optimum for each penalty: weights and the gradient's largest entry.

    Raises:
      ValueError: if the solver stops before the gradient is practically zero.
    """
    root = _root(features, len(right), link)
    axes = softmax.principal_axes(root)
    heads = {}
    for penalty in sorted(set(l2)):
        if np.isinf(penalty):
            heads[penalty] = (np.zeros(root.shape[-1]), 0.0)
            continue
        basis = softmax.basis(axes, penalty)  # (k, r)

        def loss(
            turned: Float[np.ndarray, " r"],
            penalty: float = penalty,
            basis: Float[np.ndarray, "k r"] = basis,
        ) -> tuple[float, np.ndarray]:
            value, gradient = objective(basis @ turned, features, right, penalty, link)
            return value, basis.T @ gradient

        optimum, gradient = softmax.minimise(loss, basis.shape[1])
        heads[penalty] = (basis @ optimum, gradient)
    return heads


def _root(
    features: Float[np.ndarray, "e c k"] | Standardised, count: int, link: Link
) -> Float[np.ndarray, "k k"]:
    """A square matrix with the second moments of what the scores depend on.

    Under softmax only differences within a question count, so what all its candidates
    share is taken out. Only for the solver's basis, whose curvature it decides.
    """
    moments, n_rows = 0.0, 0
    for part in chunks(count):
        values = features[part]
        if link == "softmax":
            values = values - values.mean(1, keepdims=True)
        flat = values.reshape(-1, values.shape[-1])
        moments, n_rows = moments + flat.T @ flat, n_rows + len(flat)
    squares, axes = np.linalg.eigh(moments / n_rows)
    # `softmax.principal_axes` divides by the rows of what it is given.
    return (axes * np.sqrt(np.maximum(squares, 0.0) * len(squares))).T


def zero_shot(features: Candidates) -> Float[np.ndarray, "e c"]:
    """Reserve's own score of match features: all weights 1, streams added."""
    count = features.shape[0]
    parts = (np.asarray(features[part], np.float64) for part in chunks(count))
    return SCALE * np.concatenate([part.sum((2, 3)) for part in parts])


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
    heads = fitted(train, l2, link)
    losses = {penalty: loss(head, dev, link) for penalty, head in heads.items()}
    chosen = linear.least(losses)
    on_val = scores(heads[chosen], val.features)
    return Result(
        head=heads[chosen],
        l2=chosen,
        dev_loss=losses,
        is_right=ties.hits(on_val, val.right),
        log_probability=ties.log_probability(on_val, val.right),
    )


def fitted(train: Questions, l2: Sequence[float], link: Link) -> dict[float, Head]:
    """The head of each penalty, on features standardised by these questions' own.

    Raises:
      ValueError: as `fit`.
    """
    scale, shape = _standardiser(train.features), train.features.shape[2:]
    heads = fit(Standardised(train.features, scale), train.right, l2, link)
    return {
        penalty: Head(weights.reshape(shape), scale, gradient)
        for penalty, (weights, gradient) in heads.items()
    }


def loss(head: Head, questions: Questions, link: Link) -> float:
    """The head's mean loss, without the penalty."""
    values = Standardised(questions.features, head.scale)
    return objective(head.weights.reshape(-1), values, questions.right, 0.0, link)[0]


def scores(head: Head, features: Candidates) -> Float[np.ndarray, "e c"]:
    """The head's score of each candidate of some questions."""
    weights, values = head.weights.reshape(-1), Standardised(features, head.scale)
    # Each row is summed alone: BLAS may give equal rows unequal last digits.
    return np.concatenate(
        [
            np.einsum("eck,k->ec", values[part], weights)
            for part in chunks(features.shape[0])
        ]
    )


def _standardiser(features: Candidates) -> softmax.Standardiser:
    """`softmax.standardiser` over all candidates, a stretch of questions at a time."""
    count = features.shape[0] * features.shape[1]
    mean = sum(part.sum(0) for part in _candidates(features)) / count
    square, largest = np.zeros_like(mean), np.zeros_like(mean)
    for part in _candidates(features):
        np.maximum(largest, np.abs(part).max(0), out=largest)
        square += ((part - mean) ** 2).sum(0)
    return softmax.standardiser_of(mean, np.sqrt(square / count), largest)


def _candidates(features: Candidates) -> Iterator[Float[np.ndarray, "k x"]]:
    """Stretches of the candidates of all questions, in float64."""
    for part in chunks(features.shape[0]):
        values = np.asarray(features[part], np.float64)
        yield values.reshape(len(values) * values.shape[1], -1)
