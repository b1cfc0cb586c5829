"""Draws a person as a small BGRA picture with premultiplied colours.

The style is the one that the person detector and MTCNN find (shared reference on
detectors): shaded, mottled clothes, a face with eyes, nose and mouth, darker far limbs.
"""

import dataclasses
import math

import cv2
import numpy as np
from jaxtyping import Float

from preprocessing.toy import poses, words, world

FAR = 0.78  # brightness of the far arm and leg
SHADING = 0.28  # brightness across the width: 1 +- this
MOTTLE = 0.05  # standard deviation of the cloth's low-frequency noise
SHARE_BITS = 4  # cv2 draws with 1/16 pixel
_HALF = np.linspace(0, np.pi, 7)
ROUND = np.stack([np.cos(_HALF), np.sin(_HALF)], 1)
ENDS = np.concatenate([ROUND, -ROUND])  # both round ends of a limb
IS_START = np.repeat([1.0, 0.0], len(ROUND))[:, None]
_TURN = np.linspace(0, 2 * np.pi, 20, endpoint=False)
CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], 1)
Rgb = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Sprite:
    """A picture to paste: `pixels` (h, w, 4), premultiplied BGRA, at (left, top).

    `face` is its box (x0, y0, x1, y1) in frame pixels and `eyes` (2, 2) where they
    are drawn; None where they are not.
    """

    pixels: np.ndarray
    left: int
    top: int
    face: np.ndarray | None = None
    eyes: np.ndarray | None = None


def cloth(person: world.Person, rng: np.random.Generator) -> np.ndarray:
    """(2r, 2r, 4) uint8: what a person's colours are multiplied by, 128 = 1.

    The middle of the map moves with the hips, so shade and mottle stick to the body.
    """
    radius = int(1.3 * person.height_px)
    noise = cv2.GaussianBlur(
        rng.standard_normal((2 * radius, 2 * radius), np.float32), (0, 0), 1.0
    )
    noise /= noise.std()
    across = (np.arange(2 * radius) - radius) / (0.15 * person.height_px)
    light = 1 if rng.random() < 0.5 else -1
    shade = 1 + SHADING * light * np.clip(across, -1, 1)
    field = 128 * shade * (1 + MOTTLE * noise)
    field = np.broadcast_to(field[:, :, None], (*field.shape, 4)).copy()
    field[:, :, 3] = 128
    return np.clip(field, 0, 255).astype(np.uint8)


def draw(person: world.Person, frame: int, shade: np.ndarray) -> Sprite:
    """The person as they look in a frame."""
    action = person.actions[frame]
    pace = 1.9 if action == "walking" else 1.3
    swing = float(np.sin(person.phase + pace * frame))
    body = poses.pose(action, swing)
    shapes, eyes, face = _shapes(person, body)
    flip = np.array([float(person.facing[frame]), 1.0]) * person.height_px
    origin = np.array([person.x[frame], person.ground_y])
    everything = np.concatenate([points for points, _ in shapes]) * flip + origin
    left, top = (int(v) - 2 for v in np.floor(everything.min(0)))
    right, bottom = (int(v) + 3 for v in np.ceil(everything.max(0)))
    pixels = np.zeros((bottom - top, right - left, 4), np.uint8)
    fixed = np.round((everything - (left, top)) * 2**SHARE_BITS).astype(np.int32)
    start = 0
    for points, colour in shapes:
        outline = fixed[start : start + len(points)]
        cv2.fillConvexPoly(pixels, outline, colour, cv2.LINE_AA, SHARE_BITS)
        start += len(points)
    hip = np.round(body.hip * flip + origin).astype(int)
    row, col = len(shade) // 2 - hip[1] + top, len(shade) // 2 - hip[0] + left
    crop = shade[row : row + bottom - top, col : col + right - left]
    pixels = cv2.multiply(pixels, crop, scale=1 / 128)
    if eyes is not None:
        eyes = eyes * flip + origin
        face = np.sort(face.reshape(2, 2) * flip + origin, axis=0).reshape(4)
    return Sprite(pixels, left, top, face, eyes)


def _bgra(rgb: Rgb, factor: float = 1.0) -> tuple[int, int, int, int]:
    red, green, blue = (int(min(255, c * factor)) for c in rgb)
    return blue, green, red, 255


def _capsule(
    a: Float[np.ndarray, " 2"],
    b: Float[np.ndarray, " 2"],
    radius_a: float,
    radius_b: float,
) -> np.ndarray:
    """A tapered limb with round ends: its outline."""
    x, y = b - a
    length = math.hypot(x, y) or 1.0
    x, y = x / length, y / length
    radius = radius_b + (radius_a - radius_b) * IS_START
    return ENDS @ np.array([[-y, x], [-x, -y]]) * radius + b + (a - b) * IS_START


def _oval(
    centre: Float[np.ndarray, " 2"],
    up: Float[np.ndarray, " 2"],
    width: float,
    height: float,
) -> np.ndarray:
    (x, y), w, h = up, width, height
    return CIRCLE @ np.array([[-y * w, x * w], [x * h, y * h]]) + centre


def _shapes(person: world.Person, body: poses.Pose):
    """All outlines in drawing order, in units of height; eyes and face where drawn."""
    shirt = words.COLOURS[person.shirt]
    far, near = [], []
    for shapes, which, factor in ((far, 0, FAR), (near, 1, 1.0)):
        shapes += _leg(body.legs[which], person.trousers, factor)
    arms = [
        _arm(body.arms[which], shirt, person.skin, factor)
        for which, factor in ((0, FAR), (1, 0.92))
    ]
    torso = _torso(body, shirt, person.trousers)
    head, eyes, face = _head(person, body)
    if body.view == "side":
        shapes = arms[0] + far + near + torso + head + arms[1]
    else:
        shapes = far + near + arms[0] + arms[1] + torso + head
    return shapes, eyes, face


def _leg(joints: Float[np.ndarray, "3 2"], trousers: Rgb, factor: float) -> list:
    hip, knee, ankle = joints
    toe = ankle + np.array([0.05, 0.018])
    return [
        (_capsule(ankle, toe, 0.022, 0.016), _bgra((36, 30, 28), factor)),
        (_capsule(knee, ankle, 0.037, 0.025), _bgra(trousers, factor)),
        (_capsule(hip, knee, 0.053, 0.038), _bgra(trousers, factor)),
    ]


def _arm(
    joints: Float[np.ndarray, "3 2"], shirt: Rgb, skin: Rgb, factor: float
) -> list:
    shoulder, elbow, hand = joints
    beyond = hand + 0.12 * (hand - elbow)
    return [
        (_capsule(elbow, hand, 0.025, 0.019), _bgra(shirt, factor)),
        (_capsule(hand, beyond, 0.021, 0.018), _bgra(skin, factor)),
        (_capsule(shoulder, elbow, 0.033, 0.026), _bgra(shirt, factor)),
    ]


def _torso(body: poses.Pose, shirt: Rgb, trousers: Rgb) -> list:
    up, across = body.up, np.array([-body.up[1], body.up[0]]) * body.breadth
    hip, neck = body.hip - 0.01 * up, body.neck
    outline = (
        (hip, 0.086),
        (hip + 0.12 * up, 0.078),
        (neck - 0.06 * up, 0.12),
        (neck - 0.015 * up, 0.112),
        (neck + 0.008 * up, 0.05),
    )
    right = [point + half * across for point, half in outline]
    left = [point - half * across for point, half in outline]
    belt = hip + 0.035 * up
    seat = [hip - 0.03 * up - 0.08 * across, hip - 0.03 * up + 0.08 * across]
    seat += [belt + 0.083 * across, belt - 0.083 * across]
    lower, upper = [right[0], right[1], left[1], left[0]], right[1:] + left[:0:-1]
    colour = _bgra(shirt)
    return [
        (np.array(lower), colour),
        (np.array(upper), colour),
        (np.array(seat), _bgra(trousers)),
    ]


def _head(person: world.Person, body: poses.Pose):
    size, up = poses.HEAD, body.crown
    across = np.array([-up[1], up[0]])
    centre = body.head
    ahead = {"front": 0.02, "side": 0.06, "back": 0.0}[body.view] * size * across
    hair, skin = _bgra(person.hair), _bgra(person.skin)
    shapes = [
        (_capsule(body.neck - 0.01 * up, centre, 0.034, 0.03), _bgra(person.skin, 0.85))
    ]
    crown = centre + 0.07 * size * up - ahead
    if person.has_long_hair:
        shapes.insert(
            0, (_oval(crown - 0.2 * size * up, up, 0.45 * size, 0.6 * size), hair)
        )
    shapes.append((_oval(crown, up, 0.44 * size, 0.51 * size), hair))
    if body.view == "back":
        return shapes, None, None
    middle = centre - 0.04 * size * up + 1.6 * ahead
    shapes.append((_oval(middle, up, 0.37 * size, 0.47 * size), skin))
    shapes += _features(middle + 0.5 * ahead, up, across, size, person)
    eyes = np.stack(
        [
            middle + 0.5 * ahead + s * 0.16 * size * across + 0.07 * size * up
            for s in (-1, 1)
        ]
    )
    corner = 0.37 * size * np.abs(across) + 0.47 * size * np.abs(up)
    return shapes, eyes, np.concatenate([middle - corner, middle + corner])


def _features(
    middle: Float[np.ndarray, " 2"],
    up: Float[np.ndarray, " 2"],
    across: Float[np.ndarray, " 2"],
    size: float,
    person: world.Person,
) -> list:
    """Brows, eyes, nose and mouth of a face seen from the front."""
    dark, lip = _bgra((28, 22, 20)), _bgra((150, 70, 66))
    shapes = []
    for side in (-1, 1):
        eye = middle + side * 0.16 * size * across + 0.07 * size * up
        brow = eye + 0.1 * size * up
        shapes += [
            (_oval(eye, up, 0.085 * size, 0.055 * size), _bgra((240, 236, 230))),
            (_oval(eye, up, 0.05 * size, 0.055 * size), dark),
            (
                _bar(
                    brow - 0.08 * size * across,
                    brow + 0.08 * size * across,
                    0.02 * size,
                ),
                _bgra(person.hair, 0.8),
            ),
        ]
    nose, mouth = middle - 0.1 * size * up, middle - 0.25 * size * up
    shade = _bgra(person.skin, 0.72)
    shapes.append((_bar(nose + 0.12 * size * up, nose, 0.025 * size), shade))
    shapes.append(
        (
            _bar(nose - 0.05 * size * across, nose + 0.05 * size * across, 0.02 * size),
            shade,
        )
    )
    shapes.append(
        (
            _bar(
                mouth - 0.12 * size * across, mouth + 0.12 * size * across, 0.03 * size
            ),
            lip,
        )
    )
    return shapes


def _bar(
    a: Float[np.ndarray, " 2"], b: Float[np.ndarray, " 2"], radius: float
) -> np.ndarray:
    return _capsule(a, b, radius, radius)
