"""The skeleton of each action: joints in units of body height.

Coordinates: x to the right for a person facing right, y down, the ground at y = 0, the
middle of the hips at x = 0. Angles are from straight down, positive to the front (or,
seen from the front, outwards), so 0 hangs, pi / 2 is level and pi points up.
"""

import dataclasses

import numpy as np
from jaxtyping import Float

THIGH, SHIN, TORSO = 0.245, 0.225, 0.29
UPPER_ARM, FOREARM = 0.165, 0.15
NECK = 0.025
HEAD = 0.15  # 6.7 heads: below the classical 8, so that faces pass 24 px
STRIDE = 0.24  # radians; wider strides lose the person detector (boxes.md section 2)


@dataclasses.dataclass(frozen=True)
class Pose:
    """Joint positions (2,) and how the body is turned.

    `up` is the direction from hips to head, `crown` that from chin to crown. `arms` and
    `legs` hold (far, near): three joints each, shoulder-elbow-hand and hip-knee-ankle.
    `view` is where the viewer stands: "front", "side" or "back".
    """

    hip: np.ndarray
    neck: np.ndarray
    head: np.ndarray
    up: np.ndarray
    crown: np.ndarray
    arms: np.ndarray
    legs: np.ndarray
    view: str
    breadth: float


def _ray(angle: float, length: float) -> np.ndarray:
    return length * np.array([np.sin(angle), np.cos(angle)])


@dataclasses.dataclass(frozen=True)
class _Angles:
    far_arm: tuple[float, float] = (-0.12, -0.12)  # upper arm, forearm
    near_arm: tuple[float, float] = (0.12, 0.12)
    far_leg: tuple[float, float] = (-0.07, -0.03)  # thigh, shin
    near_leg: tuple[float, float] = (0.07, 0.03)
    tilt: float = 0.0
    nod: float | None = None  # the head's own tilt, where it is not the body's
    view: str = "front"
    breadth: float = 1.0
    thigh: float = 1.0  # how much of their length is seen: the rest comes forward
    near: float = 1.0  # the same of the near arm


def _angles(action: str, swing: float) -> _Angles:
    """The angles of an action; `swing` in [-1, 1] is where its motion is now."""
    up = 0.12 * swing
    if action == "waving":
        return _Angles(near_arm=(2.1, 2.85 + 0.35 * swing))
    if action == "turned":
        return _Angles(view="back", tilt=0.03 * swing)
    if action == "posing":
        arms = {"far_arm": (-0.85, 0.75), "near_arm": (0.85, -0.75)}
        return _Angles(**arms, tilt=0.03 * swing)
    if action == "walking":
        legs = {
            "far_leg": (-STRIDE * swing, -STRIDE * swing - 0.1),
            "near_leg": (STRIDE * swing, STRIDE * swing - 0.1),
        }
        arms = {
            "far_arm": (0.35 * swing, 0.35 * swing + 0.25),
            "near_arm": (-0.35 * swing, -0.35 * swing + 0.25),
        }
        return _Angles(**legs, **arms, view="side", breadth=0.8, tilt=0.03)
    if action == "cheering":
        arms = {"far_arm": (-1.9, -2.9 - up), "near_arm": (1.9, 2.9 + up)}
        legs = {"far_leg": (-0.12, -0.1), "near_leg": (0.12, 0.1)}
        return _Angles(**arms, **legs)
    if action == "crouching":
        legs = {"far_leg": (-1.75, 0.12), "near_leg": (1.75, -0.12)}
        arms = {"far_arm": (-0.55, -0.3), "near_arm": (0.55, 0.3)}
        return _Angles(**legs, **arms, tilt=0.03 * swing)
    if action == "pointing":
        level = 1.72 + up / 2
        return _Angles(near_arm=(level, level + 0.05), near=0.72, breadth=0.95)
    if action == "sitting":
        legs = {"far_leg": (1.3, -0.05), "near_leg": (1.42, 0.08)}
        arms = {"far_arm": (0.25, 0.95), "near_arm": (0.2 + up / 2, 1.0)}
        return _Angles(**legs, **arms, view="side", breadth=0.85, thigh=0.85)
    if action == "bending":
        arms = {"far_arm": (0.35 + up, 0.3 + up), "near_arm": (0.15 - up, 0.2 - up)}
        legs = {"far_leg": (-0.1, -0.1), "near_leg": (0.08, 0.0)}
        tilt = 0.92 + 0.05 * swing
        return _Angles(**arms, **legs, tilt=tilt, nod=0.3, view="side", breadth=0.8)
    return _Angles(tilt=0.025 * swing)


def pose(action: str, swing: float) -> Pose:
    """The joints of an action at the moment `swing` of its motion."""
    angles = _angles(action, swing)
    up = np.array([np.sin(angles.tilt), -np.cos(angles.tilt)])
    across = np.array([-up[1], up[0]]) * angles.breadth
    legs = _limbs(
        np.zeros(2),
        0.048 * across * (0.5 if angles.view == "side" else 1.0),
        (angles.far_leg, angles.near_leg),
        (THIGH * angles.thigh, SHIN),
    )
    lowest = legs[:, 2, 1].max() + 0.03  # the sole lies below the ankle
    hip = np.array([0.0, -lowest])
    if action == "cheering":
        hip = hip - np.array([0.0, 0.02 * (1 + swing)])
    neck = hip + TORSO * up
    arms = _limbs(
        neck - 0.02 * up,
        0.105 * across * (0.55 if angles.view == "side" else 1.0),
        (angles.far_arm, angles.near_arm),
        (UPPER_ARM, FOREARM),
    )
    arms[1] = arms[1, 0] + angles.near * (arms[1] - arms[1, 0])
    nod = angles.tilt if angles.nod is None else angles.nod
    crown = np.array([np.sin(nod), -np.cos(nod)])
    head = neck + NECK * up + HEAD / 2 * crown
    return Pose(
        hip,
        neck,
        head,
        up,
        crown,
        arms,
        legs + hip,
        angles.view,
        angles.breadth,
    )


def _limbs(
    root: Float[np.ndarray, " 2"],
    offset: Float[np.ndarray, " 2"],
    angles: tuple[tuple[float, float], tuple[float, float]],
    lengths: tuple[float, float],
) -> np.ndarray:
    """(2 limbs, 3 joints, 2) from a root point, far one at -offset."""
    limbs = []
    for sign, (first, second) in zip((-1.0, 1.0), angles, strict=True):
        start = root + sign * offset
        middle = start + _ray(first, lengths[0])
        limbs.append([start, middle, middle + _ray(second, lengths[1])])
    return np.array(limbs)
