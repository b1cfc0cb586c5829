"""Paints a scene's wide background once per clip; frames are crops of it."""

import cv2
import numpy as np
from jaxtyping import UInt8

from preprocessing.toy import words

HORIZON = 112
MARGIN = 6  # pixels the hand's jitter may reach past the picture

SKY, WALL = (176, 206, 232), (206, 190, 160)
LAYERS = {  # colours of the upper part, of the ground, and how rough each is
    "meadow": (SKY, (112, 160, 74), 6.0, 16.0),
    "beach": ((160, 208, 238), (222, 200, 150), 5.0, 10.0),
    "street": ((188, 196, 206), (118, 118, 122), 6.0, 9.0),
    "room": (WALL, (136, 96, 66), 5.0, 8.0),
    "snow": ((196, 206, 222), (232, 236, 242), 5.0, 7.0),
    "forest": ((126, 158, 120), (92, 84, 50), 12.0, 14.0),
}


def paint(
    scene: str, width_px: int, colours: tuple[str, ...], rng: np.random.Generator
) -> np.ndarray:
    """(height + 2 margins, width + 2 margins, 3) uint8 BGR.

    A string of flags shows all of `colours`, the candidates of the clip's questions, so
    that which colours occur in the picture says nothing about the answer.
    """
    height, width = words.HEIGHT_PX + 2 * MARGIN, width_px + 2 * MARGIN
    upper, lower, rough_upper, rough_lower = LAYERS[scene]
    horizon = HORIZON + MARGIN + int(rng.integers(-8, 9))
    picture = np.empty((height, width, 3), np.float32)
    fade = np.linspace(0.88, 1.06, horizon)[:, None, None]
    picture[:horizon] = np.array(upper[::-1]) * fade
    fade = np.linspace(0.82, 1.08, height - horizon)[:, None, None]
    picture[horizon:] = np.array(lower[::-1]) * fade
    canvas = np.clip(picture, 0, 255).astype(np.uint8)
    PAINTERS[scene](canvas, horizon, rng)
    _flags(canvas, colours, rng)
    rough = np.where(np.arange(height)[:, None] < horizon, rough_upper, rough_lower)
    texture = rough.astype(np.float32) * _noise(height, width, rng)
    tint = 1 + 0.06 * rng.standard_normal(3)
    picture = canvas * tint + texture[:, :, None]
    return np.clip(picture, 0, 255).astype(np.uint8)


def _noise(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Noise of several scales, unit variance."""
    total = np.zeros((height, width), np.float32)
    for step, weight in ((2, 0.35), (5, 0.7), (14, 0.9), (40, 0.9)):
        small = rng.standard_normal((height // step + 2, width // step + 2), np.float32)
        total += weight * cv2.resize(
            small, (width, height), interpolation=cv2.INTER_CUBIC
        )
    return total / total.std()


def _places(
    canvas: np.ndarray, gap: tuple[int, int], rng: np.random.Generator
) -> list[int]:
    """Positions along the picture, `gap` apart."""
    x, positions = int(rng.integers(0, gap[1])), []
    while x < canvas.shape[1]:
        positions.append(x)
        x += int(rng.integers(*gap))
    return positions


def _colour(
    rng: np.random.Generator, low: int | tuple[int, ...], high: int | tuple[int, ...]
) -> tuple[int, ...]:
    return tuple(int(c) for c in rng.integers(low, high, 3))


def _tree(
    canvas: UInt8[np.ndarray, "h w 3"],
    x: int,
    y: int,
    size: int,
    rng: np.random.Generator,
    leaf: tuple[int, int, int],
) -> None:
    trunk = (40, 62, 84)
    cv2.rectangle(canvas, (x - size // 9, y - size), (x + size // 9, y), trunk, -1)
    for _ in range(5):
        dx, dy = rng.integers(-size // 3, size // 3 + 1, 2)
        shade = tuple(int(c * rng.uniform(0.8, 1.15)) for c in leaf)
        middle = (int(x + dx), int(y - size + dy))
        cv2.circle(canvas, middle, size // 3, shade, -1, cv2.LINE_AA)


def _flags(
    canvas: UInt8[np.ndarray, "h w 3"],
    colours: tuple[str, ...],
    rng: np.random.Generator,
) -> None:
    top, start = MARGIN + int(rng.integers(2, 8)), int(rng.integers(0, 5))
    for number, x in enumerate(range(-10, canvas.shape[1], 26), start):
        points = np.array([[x, top], [x + 18, top], [x + 9, top + 20]])
        colour = words.COLOURS[colours[number % len(colours)]][::-1]
        cv2.fillConvexPoly(canvas, points, colour, cv2.LINE_AA)
    cv2.line(canvas, (0, top), (canvas.shape[1], top), (70, 70, 70), 1)


def _hills(
    canvas: UInt8[np.ndarray, "h w 3"],
    horizon: int,
    rng: np.random.Generator,
    colour: tuple[int, int, int],
    height: float,
) -> None:
    x = np.arange(0, canvas.shape[1] + 12, 12)
    wave = sum(
        rng.uniform(0.3, 1) * np.sin(x / rng.uniform(25, 90) + rng.uniform(0, 7))
        for _ in range(4)
    )
    y = horizon - height * (0.6 + 0.3 * wave)
    edge = np.stack([x, y], 1).astype(np.int32)
    corners = [[x[-1], horizon], [0, horizon]]
    cv2.fillPoly(canvas, [np.concatenate([edge, corners]).astype(np.int32)], colour)


def _meadow(
    canvas: UInt8[np.ndarray, "h w 3"], horizon: int, rng: np.random.Generator
) -> None:
    _hills(canvas, horizon, rng, (92, 138, 96), 26)
    for x in _places(canvas, (70, 160), rng):
        size = int(rng.integers(34, 64))
        _tree(canvas, x, horizon + int(rng.integers(0, 10)), size, rng, (52, 116, 60))
    for x in _places(canvas, (9, 30), rng):
        y = int(rng.integers(horizon + 10, canvas.shape[0]))
        cv2.circle(canvas, (x, y), 2, _colour(rng, (150, 150, 170), 250), -1)


def _beach(
    canvas: UInt8[np.ndarray, "h w 3"], horizon: int, rng: np.random.Generator
) -> None:
    cv2.rectangle(
        canvas, (0, horizon - 34), (canvas.shape[1], horizon), (176, 128, 58), -1
    )
    for x in _places(canvas, (8, 26), rng):
        y = horizon - int(rng.integers(2, 32))
        cv2.line(canvas, (x, y), (x + int(rng.integers(8, 24)), y), (214, 190, 140), 1)
    for x in _places(canvas, (120, 240), rng):
        foot = horizon + int(rng.integers(0, 12))
        cv2.line(canvas, (x, foot), (x + 8, foot - 78), (60, 96, 130), 5, cv2.LINE_AA)
        for angle in range(-20, 201, 44):
            cv2.ellipse(
                canvas, (x + 8, foot - 78), (30, 7), angle, 0, 180, (58, 128, 62), -1
            )


def _street(
    canvas: UInt8[np.ndarray, "h w 3"], horizon: int, rng: np.random.Generator
) -> None:
    x = -int(rng.integers(0, 60))
    while x < canvas.shape[1]:
        width = int(rng.integers(56, 110))
        top = horizon - int(rng.integers(70, 112))
        wall = _colour(rng, (80, 90, 110), (150, 170, 200))
        cv2.rectangle(canvas, (x, top), (x + width, horizon), wall, -1)
        for wx in range(x + 9, x + width - 14, 22):
            for wy in range(top + 10, horizon - 18, 26):
                lit = (150, 200, 220) if rng.random() < 0.3 else (84, 74, 62)
                cv2.rectangle(canvas, (wx, wy), (wx + 11, wy + 15), lit, -1)
        x += width
    cv2.rectangle(
        canvas, (0, horizon), (canvas.shape[1], horizon + 16), (150, 152, 156), -1
    )
    for x in range(0, canvas.shape[1], 56):
        cv2.rectangle(
            canvas, (x, horizon + 48), (x + 28, horizon + 52), (210, 214, 216), -1
        )


def _room(
    canvas: UInt8[np.ndarray, "h w 3"], horizon: int, rng: np.random.Generator
) -> None:
    for x in _places(canvas, (60, 130), rng):
        y, w, h = rng.integers((14, 30, 28), (44, 60, 56))
        corner, opposite = (x, int(y)), (x + int(w), int(y + h))
        cv2.rectangle(canvas, corner, opposite, _colour(rng, 60, 220), -1)
        cv2.rectangle(canvas, corner, opposite, (50, 70, 96), 3)
    for x in _places(canvas, (110, 210), rng):
        w, h = (int(v) for v in rng.integers((40, 30), (70, 52)))
        cv2.rectangle(canvas, (x, horizon - h), (x + w, horizon + 4), (54, 78, 108), -1)
        cv2.line(
            canvas, (x, horizon - h // 2), (x + w, horizon - h // 2), (36, 54, 80), 2
        )
    cv2.rectangle(
        canvas, (0, horizon - 4), (canvas.shape[1], horizon), (216, 222, 226), -1
    )
    for x in range(0, canvas.shape[1], 26):
        cv2.line(
            canvas,
            (x, horizon),
            (x - 20, canvas.shape[0]),
            (54, 78, 112),
            1,
            cv2.LINE_AA,
        )


def _snow(
    canvas: UInt8[np.ndarray, "h w 3"], horizon: int, rng: np.random.Generator
) -> None:
    _hills(canvas, horizon, rng, (178, 164, 150), 46)
    _hills(canvas, horizon, rng, (222, 214, 206), 22)
    for x in _places(canvas, (44, 110), rng):
        foot, size = horizon + int(rng.integers(0, 10)), int(rng.integers(30, 60))
        for k in range(3):
            half, y = size // 3 - 3 * k, foot - k * size // 4
            points = np.array([[x - half, y], [x + half, y], [x, y - size // 2]])
            cv2.fillConvexPoly(canvas, points, (70, 92 + 8 * k, 62), cv2.LINE_AA)


def _forest(
    canvas: UInt8[np.ndarray, "h w 3"], horizon: int, rng: np.random.Generator
) -> None:
    for x in _places(canvas, (14, 40), rng):
        width = int(rng.integers(5, 15))
        shade = rng.uniform(0.6, 1.2)
        bark = tuple(int(c * shade) for c in (52, 72, 88))
        foot = horizon + int(rng.integers(-4, 10))
        cv2.rectangle(canvas, (x, 0), (x + width, foot), bark, -1)
    for x in _places(canvas, (16, 44), rng):
        y, size = int(rng.integers(-6, 30)), int(rng.integers(14, 30))
        cv2.circle(canvas, (x, y), size, _colour(rng, (30, 70, 30), (60, 120, 70)), -1)
    for x in _places(canvas, (40, 90), rng):
        size = int(rng.integers(8, 15))
        bush = _colour(rng, (36, 84, 40), (60, 120, 70))
        cv2.ellipse(canvas, (x, horizon + 4), (2 * size, size), 0, 180, 360, bush, -1)


PAINTERS = {
    "meadow": _meadow,
    "beach": _beach,
    "street": _street,
    "room": _room,
    "snow": _snow,
    "forest": _forest,
}
