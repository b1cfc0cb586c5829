"""Softmax regression at its optimum: a convex loss, its solver, heads on features."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import scipy.optimize
import scipy.special
from jaxtyping import Float, Int


class Limits(NamedTuple):
    """When L-BFGS stops.

    Attributes:
      iterations: at most.
      evaluations: of the loss, at most.
      aim: largest entry of the gradient at which it stops.
      limit: largest one that counts as the optimum.
      remedy: what to do where that is not reached.
    """

    iterations: int
    evaluations: int
    aim: float
    limit: float
    remedy: str = "leave the smallest and the largest of probe.l2 out"


FINE = Limits(5000, 10000, 1e-8, 1e-6)
# In the features' own coordinates.
PLAIN = Limits(2000, 15000, 1e-6, 1e-4, "name other labelled texts")


def minimise(
    loss: Callable[[np.ndarray], tuple[float, np.ndarray]],
    size: int,
    limits: Limits = FINE,
) -> tuple[Float[np.ndarray, " k"], float]:
    """The minimum of a convex loss by L-BFGS from zero, in float64.

    Args:
      loss: point -> value and gradient.
      size: of the point.
      limits: when it stops.

    Returns:
      The point, and the largest entry of the gradient there.

    Raises:
      ValueError: if the solver stops before the gradient is practically zero.
    """
    options = {"maxiter": limits.iterations, "maxfun": limits.evaluations}
    optimum = scipy.optimize.minimize(
        loss,
        np.zeros(size),
        jac=True,
        method="L-BFGS-B",
        options=options | {"gtol": limits.aim, "ftol": 0.0},
    )
    gradient = float(np.abs(optimum.jac).max())
    if not gradient <= limits.limit:  # NaN is not the optimum either
        raise ValueError(
            f"a linear head did not reach its optimum ({optimum.message}, at"
            f" {gradient:.1e}); {limits.remedy}"
        )
    return optimum.x, gradient


class Axes(NamedTuple):
    """Principal axes of features, and the mean square along each."""

    axes: Float[np.ndarray, "r d"]
    square: Float[np.ndarray, " r"]


def principal_axes(features: Float[np.ndarray, "e d"]) -> Axes:
    """The features' principal axes."""
    _, singular, axes = np.linalg.svd(features, full_matrices=False)
    return Axes(axes, singular**2 / len(features))


def basis(axes: Axes, l2: float) -> Float[np.ndarray, "d r"]:
    """The axes, each scaled by the objective's curvature.

    Frozen features have few strong directions; without this the solver crawls along
    the weak ones. The problem stays the same: the penalty does not change under a
    rotation, and a kernel outside the features' span would only cost penalty.
    """
    return axes.axes.T / np.sqrt(0.25 * axes.square + l2)


@dataclasses.dataclass(frozen=True)
class Standardiser:
    """Mean and sd of the training features; a constant feature becomes 0."""

    mean: Float[np.ndarray, " d"]
    sd: Float[np.ndarray, " d"]

    def __call__(self, features: Float[np.ndarray, "e d"]) -> Float[np.ndarray, "e d"]:
        """The features in float64, standardised."""
        return (np.asarray(features, np.float64) - self.mean) / self.sd


@dataclasses.dataclass(frozen=True)
class Head:
    """scores = features @ kernel + bias."""

    kernel: Float[np.ndarray, "d k"]
    bias: Float[np.ndarray, " k"]
    gradient: float  # its largest entry, in the solver's coordinates


def standardiser(features: Float[np.ndarray, "e d"]) -> Standardiser:
    """Mean and sd over the rows, in float64."""
    features = np.asarray(features, np.float64)
    largest = np.abs(features).max(0, initial=0.0)
    return standardiser_of(features.mean(0), features.std(0), largest)


def standardiser_of(
    mean: Float[np.ndarray, " d"],
    sd: Float[np.ndarray, " d"],
    largest: Float[np.ndarray, " d"],
) -> Standardiser:
    """`standardiser` of rows with this mean, sd and largest magnitude."""
    # Rounding leaves a tiny sd where all rows are equal, and a unit that is dead leaves
    # values like 1e-33; dividing by that would turn it into a feature.
    least = 1e-7 * largest.max(initial=1e-30)
    is_constant = sd <= 1e-7 * np.maximum(largest, least)
    return Standardiser(mean, np.where(is_constant, 1.0, sd))


def of_scores(
    scores: Float[np.ndarray, "e k"],
    target: Int[np.ndarray, " e"],
    weight: Float[np.ndarray, " e"] | None = None,
) -> tuple[float, Float[np.ndarray, "e k"]]:
    """Cross-entropy of the rows' classes, and its gradient by the scores.

    Args:
      scores: of each class.
      target: class of each row.
      weight: how much each row counts; sums to 1. None: all alike.
    """
    log_p = scipy.special.log_softmax(scores, axis=1)
    rows = np.arange(len(target))
    error = np.exp(log_p)
    error[rows, target] -= 1.0
    if weight is None:
        return float(-log_p[rows, target].mean()), error / len(target)
    share = np.zeros_like(log_p)
    share[rows, target] = weight
    return float(-(share * log_p).sum()), error * weight[:, None]


def objective(
    kernel: Float[np.ndarray, "d k"],
    bias: Float[np.ndarray, " k"],
    features: Float[np.ndarray, "e d"],
    target: Int[np.ndarray, " e"],
    l2: float,
    weight: Float[np.ndarray, " e"] | None = None,
) -> tuple[float, np.ndarray, np.ndarray]:
    """Cross-entropy (`of_scores`) + l2 / 2 |kernel|^2, with its gradients.

    The bias is not penalised, so with a huge penalty the head predicts the classes'
    frequencies.
    """
    loss, error = of_scores(features @ kernel + bias, target, weight)
    loss += 0.5 * l2 * float((kernel**2).sum())
    return loss, features.T @ error + l2 * kernel, error.sum(0)


def fit(
    features: Float[np.ndarray, "e d"],
    target: Int[np.ndarray, " e"],
    n_classes: int,
    l2: float,
) -> Head:
    """Softmax regression by L-BFGS from zero, in float64.

    Args:
      features: standardised.
      target: class of each row, in [0, n_classes).
      n_classes: classes.
      l2: penalty, > 0; infinite: only the classes' frequencies are left.

    Raises:
      ValueError: if the solver stops before the gradient is practically zero.
    """
    return fit_each(features, target, n_classes, (l2,))[l2]


def fit_each(
    features: Float[np.ndarray, "e d"],
    target: Int[np.ndarray, " e"],
    n_classes: int,
    l2: Sequence[float],
) -> dict[float, Head]:
    """`fit` for each penalty, in order; the features' axes are worked out once.

    Raises:
      ValueError: as `fit`.
    """
    axes = principal_axes(features)
    heads = {}
    for penalty in sorted(set(l2)):
        if np.isinf(penalty):
            heads[penalty] = _frequencies(features.shape[1], target, n_classes)
        else:
            turn = basis(axes, penalty)
            heads[penalty] = _fit(features, turn, target, n_classes, penalty)
    return heads


def _frequencies(width: int, target: Int[np.ndarray, " e"], n_classes: int) -> Head:
    """The head under an infinite penalty."""
    share = np.bincount(target, minlength=n_classes) / len(target)
    kernel = np.zeros((width, n_classes))
    return Head(kernel, np.log(np.maximum(share, 1e-300)), 0.0)


def _fit(
    features: Float[np.ndarray, "e d"],
    axes: Float[np.ndarray, "d r"],
    target: Int[np.ndarray, " e"],
    n_classes: int,
    l2: float,
) -> Head:
    """The optimum for one penalty, in the coordinates of these axes."""
    turned = features @ axes  # (e, r)
    penalty = (l2 * (axes**2).sum(0))[:, None]
    size = axes.shape[1] * n_classes

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        kernel, bias = flat[:size].reshape(-1, n_classes), flat[size:]
        value, d_kernel, d_bias = objective(kernel, bias, turned, target, 0.0)
        value += 0.5 * float((penalty * kernel**2).sum())
        d_kernel = d_kernel + penalty * kernel
        return value, np.concatenate([d_kernel.ravel(), d_bias])

    flat, gradient = minimise(loss, size + n_classes)
    kernel = axes @ flat[:size].reshape(-1, n_classes)
    return Head(kernel, flat[size:], gradient)


@dataclasses.dataclass(frozen=True)
class Standardised:
    """A head with the standardiser of what it was fitted on."""

    scale: Standardiser
    head: Head

    def probabilities(
        self, features: Float[np.ndarray, "e d"]
    ) -> Float[np.ndarray, "e k"]:
        """Of each class."""
        scores = self.scale(features) @ self.head.kernel + self.head.bias
        return scipy.special.softmax(scores, axis=1)


def fit_weighted(
    features: Float[np.ndarray, "e d"],
    target: Int[np.ndarray, " e"],
    class_weights: Sequence[float],
    l2: float = 1e-2,
) -> Standardised:
    """A head of plain features, whose classes count by their weights.

    Args:
      features: of the rows.
      target: class of each.
      class_weights: how often a row of each class counts.
      l2: penalty.

    Raises:
      ValueError: as `minimise`.
    """
    features = np.asarray(features, np.float64)
    scale = Standardiser(features.mean(0), features.std(0) + 1e-6)
    scaled, k = scale(features), len(class_weights)
    weight = np.asarray(class_weights, np.float64)[target]
    weight /= weight.sum()
    size = scaled.shape[1] * k

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        kernel, bias = flat[:size].reshape(-1, k), flat[size:]
        value, *slopes = objective(kernel, bias, scaled, target, l2, weight)
        return value, np.concatenate([slope.ravel() for slope in slopes])

    flat, gradient = minimise(loss, size + k, PLAIN)
    return Standardised(scale, Head(flat[:size].reshape(-1, k), flat[size:], gradient))
