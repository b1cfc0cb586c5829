"""Decoded pictures to what is to be seen: square pixels, turned and mirrored.

A file says both beside its pictures: the aspect ratio of a stored pixel, and a matrix
that takes the stored picture, once its pixels are square, to the shown one.
"""

import math
from collections.abc import Callable
from fractions import Fraction

import av
import cv2
import numpy as np
from jaxtyping import Int, UInt8

from preprocessing import files

MAX_ASPECT = 4.0  # of a pixel, either way
SQUARE = 0.02  # ratios nearer to 1 are rounding: no picture is resampled for them
MAX_LEAN = math.sin(math.radians(5))  # of the matrix's axes
MAX_STRETCH = 8.0
ONE = 1 << 16  # of the matrix's fixed-point numbers

Tell = Callable[[str], None]
Picture = UInt8[np.ndarray, "h w 3"]
Linear = Int[np.ndarray, "2 2"]


def shown(
    image: Picture, aspect: Fraction | None, linear: Linear | None, tell: Tell
) -> Picture:
    """The picture as it is to be seen.

    Args:
      image: as stored.
      aspect: width of a stored pixel by its height; None = not said.
      linear: where the stored picture's axes go, from `linear_of`; None = stay.
      tell: is called with a sentence about what makes no sense.
    """
    if linear is not None and not _is_sane(linear):
        cells = ", ".join(f"{cell / ONE:g}" for cell in linear.ravel().tolist())
        tell(f"its display matrix ({cells}) makes no sense: shown as stored")
        return image
    if aspect is not None and aspect != 1:
        image = _squared(image, aspect, tell)
    return image if linear is None else _turned(image, linear, tell)


def linear_of(frame: av.VideoFrame) -> Linear | None:
    """The display matrix's linear part: rows are where right and down go."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return None
    return np.frombuffer(bytes(data), np.int32, 9).reshape(3, 3)[:2, :2]


def _squared(image: Picture, aspect: Fraction, tell: Tell) -> Picture:
    """Widened or heightened, never made smaller, until its pixels are square."""
    ratio = float(aspect)
    if abs(ratio - 1) <= SQUARE:
        return image
    height, width = image.shape[:2]
    is_sane = 1 / MAX_ASPECT <= ratio <= MAX_ASPECT
    if is_sane:
        size = round(width * max(ratio, 1)), round(height * max(1 / ratio, 1))
    if not is_sane or math.prod(size) > files.MAX_PIXELS:
        tell(
            f"says that its pixels are {aspect.numerator}:{aspect.denominator}:"
            " they are taken for square"
        )
        return image
    return cv2.resize(image, size, interpolation=cv2.INTER_LINEAR_EXACT)


def _turned(image: Picture, linear: Linear, tell: Tell) -> Picture:
    """Turned by quarters and mirrored, as the nearest of the eight ways asks."""
    (a, b), (c, d) = linear.tolist()
    across, down = a, d
    if abs(b) + abs(c) > abs(a) + abs(d):
        image = image.swapaxes(0, 1)
        across, down = c, b
    lean = min(math.hypot(a, d), math.hypot(b, c))
    if lean > MAX_LEAN * math.hypot(a, b, c, d):
        tell("is to be shown askew: it is turned by whole quarters")
    if across < 0:
        image = image[:, ::-1]
    if down < 0:
        image = image[::-1]
    return np.ascontiguousarray(image)


def _is_sane(linear: Linear) -> bool:
    """Whether the axes have a length and stand at right angles."""
    right, down = (math.hypot(*axis) for axis in linear.tolist())
    if not 0 < right <= MAX_STRETCH * down or not 0 < down <= MAX_STRETCH * right:
        return False
    (a, b), (c, d) = linear.tolist()
    return abs(a * c + b * d) <= MAX_LEAN * right * down
