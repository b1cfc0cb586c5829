"""Resizing for MTCNN: means of whole pixels, of whole pictures and of cut-outs.

Torch's "area" resizing, which the published weights were tuned with (boxes.md
section 1). OpenCV's method of that name weighs the pixels at a window's border.
"""

import dataclasses
import functools

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

_BLOCK = 1 << 16  # values of a block of rows that is summed while in the cache


def integral(
    picture: UInt8[np.ndarray, "h w 3"], out: np.ndarray | None = None
) -> Int[np.ndarray, "h+1 w+1 3"]:
    """Sums over all rows and columns before each corner, exact.

    They are written to `out`, an earlier result, if that has the size.
    """
    return cv2.integral(picture, out, sdepth=cv2.CV_32S)


@dataclasses.dataclass(frozen=True)
class Shrinking:
    """How pictures of one size are resized to another: windows and 1 / their sizes."""

    top: Int[np.ndarray, " r"]
    bottom: Int[np.ndarray, " r"]
    left: Int[np.ndarray, " c"]
    right: Int[np.ndarray, " c"]
    row_factor: Float[np.ndarray, "r 1"]
    col_factor: Float[np.ndarray, " c*3"]


@functools.lru_cache(maxsize=256)  # some 12 levels for each size of a data set's videos
def shrinking(size: tuple[int, int], to: tuple[int, int]) -> Shrinking:
    """From (height, width) to (height, width)."""
    sides = [
        [window[0] for window in _windows(np.zeros(1, int), np.array([n]), m)]
        for n, m in zip(size, to, strict=True)
    ]
    (top, bottom), (left, right) = sides
    rows = (1 / (bottom - top)).astype(np.float32)[:, None]
    cols = (1 / (right - left)).astype(np.float32)
    return Shrinking(top, bottom, left, right, rows, np.repeat(cols, 3))


def shrink(
    sums: Int[np.ndarray, "h+1 w+1 3"], plan: Shrinking
) -> Float[np.ndarray, "r c 3"]:
    """A whole picture resized as `resize` does cut-outs."""
    rows, cols = len(plan.top), len(plan.left)
    result = np.empty((rows, cols, 3), np.float32)
    step = max(1, _BLOCK // (sums.shape[1] * 3))
    for start in range(0, rows, step):
        part = slice(start, start + step)
        total = np.take(sums, plan.bottom[part], axis=0)
        total -= np.take(sums, plan.top[part], axis=0)
        difference = np.take(total, plan.right, axis=1)
        difference -= np.take(total, plan.left, axis=1)
        mean = difference.astype(np.float32).reshape(-1, cols * 3)
        mean *= plan.col_factor
        np.multiply(mean, plan.row_factor[part], out=result[part].reshape(mean.shape))
    return result


def resize(
    sums: Int[np.ndarray, "h+1 w+1 3"],
    corners: Int[np.ndarray, "m 4"],
    height: int,
    width: int,
) -> Float[np.ndarray, "m height width 3"]:
    """Cut-outs (left, top, right, bottom) of a picture, resized.

    Output i of n is the mean over inputs floor(i k / n) .. ceil((i + 1) k / n) - 1 of
    k: torch's "area". Means are differences of an integral picture, hence exact
    (differences of wrapped 32-bit sums are still right).
    """
    top, bottom = _windows(corners[:, 1], corners[:, 3], height)
    left, right = _windows(corners[:, 0], corners[:, 2], width)
    top, bottom = top[:, :, None], bottom[:, :, None]
    left, right = left[:, None], right[:, None]
    flat, line = sums.reshape(-1, 3), sums.shape[1]
    above, below = top * line, bottom * line
    total = np.take(flat, below + right, axis=0)
    total -= np.take(flat, below + left, axis=0)
    total -= np.take(flat, above + right, axis=0)
    total += np.take(flat, above + left, axis=0)
    mean = total.astype(np.float32)
    mean /= ((bottom - top) * (right - left)).astype(np.float32)[..., None]
    return mean


def _windows(start: np.ndarray, end: np.ndarray, count: int):
    """(m, count) first and last + 1 input of each output along one side."""
    size = (end - start)[:, None]
    place = np.arange(count)
    low = place * size // count
    high = -(-(place + 1) * size // count)
    return start[:, None] + low, start[:, None] + high
