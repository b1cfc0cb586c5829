"""A linear classifier on an encoder's frozen features, by its one optimum."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.optimize
import scipy.special
from jaxtyping import Float, Int

PENALTY = 1e-2  # times half the squared length of the kernel, on standardised features


class Head(NamedTuple):
    """Features are standardised, then mapped to logits of c classes."""

    mean: Float[np.ndarray, " d"]
    spread: Float[np.ndarray, " d"]
    kernel: Float[np.ndarray, "d c"]
    bias: Float[np.ndarray, " c"]

    def probabilities(self, features: Float[np.ndarray, "e d"]) -> np.ndarray:
        """(e, c): of each class."""
        scaled = (features - self.mean) / self.spread
        return scipy.special.softmax(scaled @ self.kernel + self.bias, axis=1)


def fit(
    features: Float[np.ndarray, "e d"],
    target: Int[np.ndarray, " e"],
    class_weights: Sequence[float],
) -> Head:
    """The head of least weighted cross-entropy and `PENALTY`.

    Args:
      features: of the examples.
      target: class of each.
      class_weights: how often an example of each class counts.

    Raises:
      ValueError: if the solver does not reach the optimum.
    """
    features = np.asarray(features, np.float64)
    mean, spread = features.mean(0), features.std(0) + 1e-6
    scaled = (features - mean) / spread
    classes, width = len(class_weights), scaled.shape[1]
    weight = np.asarray(class_weights, np.float64)[target]
    weight /= weight.sum()
    hot = np.eye(classes)[target]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        kernel, bias = flat[:-classes].reshape(width, classes), flat[-classes:]
        log_share = scipy.special.log_softmax(scaled @ kernel + bias, axis=1)
        value = -(weight[:, None] * hot * log_share).sum()
        error = weight[:, None] * (np.exp(log_share) - hot)
        gradient = scaled.T @ error + PENALTY * kernel
        value += PENALTY / 2 * (kernel**2).sum()
        return value, np.concatenate([gradient.ravel(), error.sum(0)])

    start = np.zeros((width + 1) * classes)
    options = {"maxiter": 2000, "gtol": 1e-6, "ftol": 0.0}
    best = scipy.optimize.minimize(
        loss, start, jac=True, method="L-BFGS-B", options=options
    )
    if not np.abs(best.jac).max() <= 1e-4:
        raise ValueError(f"a linear head did not reach its optimum: {best.message}")
    kernel, bias = best.x[:-classes].reshape(width, classes), best.x[-classes:]
    return Head(mean, spread, kernel, bias)
