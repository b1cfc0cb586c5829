"""The minimum of a convex loss, and coordinates in which it is soon there."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.optimize
from jaxtyping import Float

GRADIENT_LIMIT = 1e-6  # largest entry that counts as the optimum


def minimise(
    loss: Callable[[np.ndarray], tuple[float, np.ndarray]], size: int
) -> tuple[Float[np.ndarray, " k"], float]:
    """The minimum of a convex loss by L-BFGS from zero, in float64.

    Args:
      loss: point -> value and gradient.
      size: of the point.

    Returns:
      The point, and the largest entry of the gradient there.

    Raises:
      ValueError: if the solver stops before the gradient is practically zero.
    """
    options = {"maxiter": 5000, "maxfun": 10000, "gtol": 1e-8, "ftol": 0.0}
    optimum = scipy.optimize.minimize(
        loss, np.zeros(size), jac=True, method="L-BFGS-B", options=options
    )
    gradient = float(np.abs(optimum.jac).max())
    if not gradient <= GRADIENT_LIMIT:  # NaN is not the optimum either
        raise ValueError(
            f"a linear head did not reach its optimum ({optimum.message}, at"
            f" {gradient:.1e}); leave the smallest and the largest of probe.l2 out"
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
