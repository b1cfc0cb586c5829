"""The tracker's motion model: boxes of many tracks under constant velocity.

A state is (cx, cy, a, h) and the velocities of the four, where a = width / height;
noise grows with the height of the box. boxes.md section 5.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

POSITION, VELOCITY = 1 / 20, 1 / 160  # standard deviations, in heights
GATE = 9.4877  # 95 % of chi-square with four degrees of freedom
_STEP = np.eye(8) + np.eye(8, k=4)


class State(NamedTuple):
    """Of n tracks, float64."""

    mean: Float[np.ndarray, "n 8"]
    covariance: Float[np.ndarray, "n 8 8"]


def initiate(xyah: Float[np.ndarray, "n 4"]) -> State:
    """New tracks at rest where they were seen."""
    standstill = np.zeros_like(xyah, np.float64)
    height = xyah[:, 3]
    position = _deviation(2 * POSITION * height, 1e-2)
    velocity = _deviation(10 * VELOCITY * height, 1e-5)
    deviation = np.hstack([position, velocity])
    return State(np.hstack([xyah, standstill]), _diagonal(deviation**2))


def predict(state: State) -> State:
    """One step on; the noise is that of the height before the step."""
    height = state.mean[:, 3]
    position = _deviation(POSITION * height, 1e-2)
    velocity = _deviation(VELOCITY * height, 1e-5)
    noise = _diagonal(np.hstack([position, velocity]) ** 2)
    covariance = _STEP @ state.covariance @ _STEP.T + noise
    return State(state.mean @ _STEP.T, covariance)


def project(
    state: State,
) -> tuple[Float[np.ndarray, "n 4"], Float[np.ndarray, "n 4 4"]]:
    """Mean and covariance of the (cx, cy, a, h) that would be measured."""
    noise = _diagonal(_deviation(POSITION * state.mean[:, 3], 1e-1) ** 2)
    return state.mean[:, :4], state.covariance[:, :4, :4] + noise


def update(state: State, xyah: Float[np.ndarray, "n 4"]) -> State:
    """Each track corrected by its own measurement."""
    mean, covariance = project(state)
    shared = state.covariance[:, :4]  # (n, 4, 8): measured x state
    gain = np.linalg.solve(covariance, shared).swapaxes(1, 2)
    step = gain @ (xyah - mean)[:, :, None]
    corrected = state.covariance - gain @ covariance @ gain.swapaxes(1, 2)
    return State(state.mean + step[:, :, 0], corrected)


def squared_mahalanobis(
    state: State, xyah: Float[np.ndarray, "... k 4"]
) -> Float[np.ndarray, "n k"]:
    """Distance of k measurements to the projection of each track.

    Args:
      state: of n tracks.
      xyah: (k, 4) for all tracks alike, or (n, k, 4) for each its own.
    """
    mean, covariance = project(state)
    difference = xyah - mean[:, None]
    solved = np.linalg.solve(covariance, difference.swapaxes(1, 2)).swapaxes(1, 2)
    return (difference * solved).sum(2)


def _deviation(of_height: np.ndarray, of_aspect: float) -> np.ndarray:
    """(n, 4): the aspect's is a constant, the others are of the height."""
    aspect = np.full_like(of_height, of_aspect)
    return np.stack([of_height, of_height, aspect, of_height], axis=1)


def _diagonal(values: np.ndarray) -> np.ndarray:
    return values[:, :, None] * np.eye(values.shape[1])
