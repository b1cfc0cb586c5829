"""Draws an object of each class as a small BGRA picture with premultiplied colours."""

import cv2
import numpy as np

from preprocessing.toy import words

BITS = 4


def draw(label: str, colour: str, size_px: int, rng: np.random.Generator) -> np.ndarray:
    """(size, size, 4) uint8: an object of the class, shaded and slightly mottled."""
    pixels = np.zeros((size_px, size_px, 4), np.uint8)
    for points, shade in SHAPES[label]():
        rgb = words.COLOURS[colour] if isinstance(shade, float) else shade
        factor = shade if isinstance(shade, float) else 1.0
        bgra = (*(int(min(255, c * factor)) for c in rgb[::-1]), 255)
        fixed = np.round(np.asarray(points, float) * (size_px - 1) * 2**BITS)
        cv2.fillPoly(pixels, [fixed.astype(np.int32)], bgra, cv2.LINE_AA, BITS)
    noise = cv2.GaussianBlur(
        rng.standard_normal((size_px, size_px), np.float32), (0, 0), 1.2
    )
    rows, cols = np.mgrid[-1 : 1 : size_px * 1j, -1 : 1 : size_px * 1j]
    shade = 128 * (1 - 0.14 * rows - 0.14 * cols + 0.15 * noise)
    shade = np.repeat(np.clip(shade, 0, 255)[:, :, None], 4, 2)
    shade[:, :, 3] = 128
    return cv2.multiply(pixels, shade.astype(np.uint8), scale=1 / 128)


def _box(x0: float, y0: float, x1: float, y1: float):
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def _oval(
    x: float,
    y: float,
    width: float,
    height: float,
    start: float = 0.0,
    stop: float = 2 * np.pi,
):
    angle = np.linspace(start, stop, 32)
    return np.stack([x + width * np.cos(angle), y + height * np.sin(angle)], 1)


DARK, PALE, BROWN, GLASS = (46, 44, 50), (235, 232, 224), (124, 84, 50), (150, 190, 215)


def _ball():
    return [
        (_oval(0.5, 0.5, 0.5, 0.5), 1.0),
        (_oval(0.5, 0.5, 0.5, 0.13), PALE),
        (_oval(0.5, 0.5, 0.14, 0.5), 0.7),
    ]


def _crate():
    parts = [(_box(0, 0, 1, 1), 0.6), (_box(0.1, 0.1, 0.9, 0.9), 1.0)]
    parts.append(
        (
            [
                (0.1, 0.1),
                (0.24, 0.1),
                (0.9, 0.76),
                (0.9, 0.9),
                (0.76, 0.9),
                (0.1, 0.24),
            ],
            0.6,
        )
    )
    parts.append(
        (
            [
                (0.9, 0.1),
                (0.9, 0.24),
                (0.24, 0.9),
                (0.1, 0.9),
                (0.1, 0.76),
                (0.76, 0.1),
            ],
            0.6,
        )
    )
    return parts


def _kite():
    tail = [
        (0.48, 0.7),
        (0.54, 0.7),
        (0.62, 0.84),
        (0.5, 0.92),
        (0.56, 1.0),
        (0.42, 0.92),
        (0.54, 0.84),
    ]
    return [
        (tail, DARK),
        ([(0.5, 0), (1, 0.34), (0.5, 0.78), (0, 0.34)], 1.0),
        ([(0.5, 0), (0.5, 0.34), (0, 0.34)], 0.7),
        ([(0.5, 0.34), (1, 0.34), (0.5, 0.78)], 0.7),
    ]


def _cup():
    return [
        (_oval(0.76, 0.5, 0.24, 0.28), 0.75),
        (_oval(0.76, 0.5, 0.13, 0.17), PALE),
        ([(0, 0.08), (0.76, 0.08), (0.64, 1), (0.12, 1)], 1.0),
        (_oval(0.38, 0.09, 0.38, 0.09), 0.5),
        ([(0.03, 0.35), (0.73, 0.35), (0.71, 0.5), (0.05, 0.5)], PALE),
    ]


def _star():
    angle = np.arange(10) * np.pi / 5 - np.pi / 2
    reach = np.where(np.arange(10) % 2 == 0, 0.52, 0.22)
    points = np.stack([0.5 + reach * np.cos(angle), 0.54 + reach * np.sin(angle)], 1)
    return [(points, 1.0), (_oval(0.5, 0.54, 0.13, 0.13), 0.65)]


def _ladder():
    parts = [(_box(0.12, 0, 0.28, 1), 1.0), (_box(0.72, 0, 0.88, 1), 1.0)]
    return parts + [
        (_box(0.2, y, 0.8, y + 0.09), 0.75) for y in (0.08, 0.3, 0.52, 0.74)
    ]


def _car():
    return [
        ([(0.2, 0.5), (0.3, 0.22), (0.7, 0.22), (0.85, 0.5)], 0.85),
        ([(0.27, 0.48), (0.34, 0.28), (0.49, 0.28), (0.49, 0.48)], GLASS),
        ([(0.53, 0.48), (0.53, 0.28), (0.67, 0.28), (0.76, 0.48)], GLASS),
        ([(0, 0.58), (0.06, 0.48), (0.94, 0.48), (1, 0.58), (1, 0.8), (0, 0.8)], 1.0),
        (_oval(0.24, 0.82, 0.14, 0.14), DARK),
        (_oval(0.76, 0.82, 0.14, 0.14), DARK),
        (_oval(0.24, 0.82, 0.06, 0.06), PALE),
        (_oval(0.76, 0.82, 0.06, 0.06), PALE),
    ]


def _boat():
    return [
        (_box(0.46, 0.0, 0.52, 0.75), BROWN),
        ([(0.55, 0.05), (0.95, 0.6), (0.55, 0.6)], PALE),
        ([(0.43, 0.1), (0.43, 0.6), (0.12, 0.6)], PALE),
        ([(0, 0.68), (1, 0.68), (0.82, 1), (0.2, 1)], 1.0),
        (_box(0.04, 0.74, 0.96, 0.79), 0.6),
    ]


def _plane():
    return [
        ([(0.05, 0.2), (0.2, 0.2), (0.32, 0.48), (0.1, 0.48)], 0.75),
        (_oval(0.52, 0.52, 0.48, 0.13), 1.0),
        ([(0.36, 0.52), (0.6, 0.52), (0.36, 0.92), (0.22, 0.92)], 0.7),
        ([(0.42, 0.44), (0.6, 0.44), (0.46, 0.16), (0.36, 0.16)], 0.7),
        (_box(0.78, 0.44, 0.88, 0.52), GLASS),
        *[(_oval(x, 0.5, 0.025, 0.03), GLASS) for x in (0.35, 0.46, 0.57, 0.68)],
    ]


def _rocket():
    return [
        ([(0.4, 0.84), (0.6, 0.84), (0.5, 1.0)], (245, 150, 40)),
        ([(0.34, 0.55), (0.34, 0.86), (0.12, 0.92)], 0.65),
        ([(0.66, 0.55), (0.66, 0.86), (0.88, 0.92)], 0.65),
        (_oval(0.5, 0.44, 0.2, 0.44), 1.0),
        (_box(0.36, 0.62, 0.64, 0.86), 1.0),
        (_oval(0.5, 0.36, 0.1, 0.1), PALE),
        (_oval(0.5, 0.36, 0.07, 0.07), GLASS),
    ]


def _bus():
    return [
        (_box(0, 0.12, 1, 0.86), 1.0),
        *[(_box(x, 0.2, x + 0.19, 0.45), GLASS) for x in (0.05, 0.29, 0.53, 0.77)],
        (_box(0, 0.55, 1, 0.62), PALE),
        (_oval(0.23, 0.87, 0.12, 0.12), DARK),
        (_oval(0.77, 0.87, 0.12, 0.12), DARK),
    ]


def _balloon():
    return [
        ([(0.3, 0.6), (0.33, 0.6), (0.44, 0.86), (0.41, 0.86)], DARK),
        ([(0.7, 0.6), (0.67, 0.6), (0.56, 0.86), (0.59, 0.86)], DARK),
        (_oval(0.5, 0.37, 0.4, 0.37), 1.0),
        (_oval(0.5, 0.37, 0.16, 0.37), PALE),
        ([(0.2, 0.58), (0.8, 0.58), (0.62, 0.74), (0.38, 0.74)], 0.8),
        (_box(0.4, 0.84, 0.6, 1.0), BROWN),
    ]


SHAPES = {
    "ball": _ball,
    "crate": _crate,
    "kite": _kite,
    "cup": _cup,
    "star": _star,
    "ladder": _ladder,
    "car": _car,
    "boat": _boat,
    "plane": _plane,
    "rocket": _rocket,
    "bus": _bus,
    "balloon": _balloon,
}
