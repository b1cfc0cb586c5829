"""Fits frames into the ViT's grid of patches and maps boxes onto it.

Preprocessing and the loader both call this module, with the same `FrameFit`, so an
image and its boxes cannot drift apart.
"""

import dataclasses
import functools

import cv2
import numpy as np
import scipy.sparse
from jaxtyping import Bool, Float, Int, UInt8

from mmdiffmask.types import Array, Pixels

MAX_SIDE = 256  # 4096 px: more than any stored frame has, and memory holds its map


@dataclasses.dataclass(frozen=True)
class PatchGrid:
    """rows x cols patches of patch_px pixels, pooled pool x pool into cells.

    Raises:
      ValueError: if a side is not a positive multiple of `pool`, or more than
        `MAX_SIDE`.
    """

    rows: int = 12
    cols: int = 20
    patch_px: int = 16
    pool: int = 2

    def __post_init__(self):
        sides = self.rows, self.cols
        if min(sides) < 1 or max(sides) > MAX_SIDE or any(s % self.pool for s in sides):
            raise ValueError(
                f"grid {self.rows}x{self.cols}: rows and cols must be positive"
                f" multiples of the pooling, {self.pool}, of at most {MAX_SIDE}"
            )

    @property
    def height_px(self) -> int:
        """Height of a fitted frame."""
        return self.rows * self.patch_px

    @property
    def width_px(self) -> int:
        """Width of a fitted frame."""
        return self.cols * self.patch_px

    @property
    def n_patches(self) -> int:
        """Patches of a frame."""
        return self.rows * self.cols

    @property
    def n_cells(self) -> int:
        """Pooled cells of a frame."""
        return self.n_patches // self.pool**2

    def __str__(self) -> str:
        return f"{self.rows}x{self.cols}"


@dataclasses.dataclass(frozen=True)
class FrameFit:
    """How one source frame lies in the grid: the transform, as a value.

    The frame of `source_width` x `source_height` pixels is scaled to `width` x
    `height` and put at (left, top); the rest of the grid is padding.
    """

    source_width: int
    source_height: int
    width: int
    height: int
    left: int = 0
    top: int = 0

    @property
    def is_copy(self) -> bool:
        """Whether the frame has its size already: each pixel is copied."""
        return (self.width, self.height) == (self.source_width, self.source_height)

    @property
    def inside(self) -> tuple[slice, slice]:
        """Where the frame lies in the grid's pixels."""
        return (
            slice(self.top, self.top + self.height),
            slice(self.left, self.left + self.width),
        )


def fit_frame(grid: PatchGrid, source_width: int, source_height: int) -> FrameFit:
    """Scales to fit inside the grid, keeping the aspect; top left.

    Reserve truncates the scaled sides (reserve.md section 6.1: the float32 product),
    so they may come out one pixel short.

    Raises:
      ValueError: if the frame has no pixels.
    """
    if source_width < 1 or source_height < 1:
        raise ValueError(f"a frame of {source_width}x{source_height} px has no pixels")
    scale = np.minimum(
        np.float32(grid.height_px) / np.float32(source_height),
        np.float32(grid.width_px) / np.float32(source_width),
    )
    width = max(1, int(np.float32(source_width) * scale))
    height = max(1, int(np.float32(source_height) * scale))
    return FrameFit(source_width, source_height, width, height)


def fit_image(
    grid: PatchGrid, fit: FrameFit, image: UInt8[np.ndarray, "h w 3"]
) -> Float[np.ndarray, "H W 3"]:
    """The RGB picture fitted into the grid: values in [0, 1], padding 0.

    Antialiased bilinear, as Reserve resizes (reserve.md section 6.1).

    Raises:
      ValueError: if the picture is not of the size that `fit` was made for.
    """
    _check_size(fit, image)
    pixels = image if fit.is_copy else _resize(fit, image)
    fitted = np.zeros((grid.height_px, grid.width_px, 3), np.float32)
    picture = fitted[fit.inside]
    np.divide(pixels, np.float32(255), out=picture)
    np.minimum(picture, 1.0, out=picture)  # weights of a pixel may sum to 1 + 1e-7
    return fitted


def place_image(
    grid: PatchGrid, fit: FrameFit, image: UInt8[np.ndarray, "h w 3"]
) -> UInt8[np.ndarray, "H W 3"]:
    """The bytes of a picture that fits as it is: `unit_values` of them = `fit_image`.

    Raises:
      ValueError: if the picture is not of the size that `fit` was made for.
    """
    assert fit.is_copy, fit
    _check_size(fit, image)
    fitted = np.zeros((grid.height_px, grid.width_px, 3), np.uint8)
    fitted[fit.inside] = image
    return fitted


def unit_values(pixels: Pixels[Array, "..."]) -> Float[Array, "..."]:
    """Pixels as values in [0, 1]: bytes over 255, rounded as numpy rounds the quotient.

    Floats are such values already and come back as they are. Compilers turn a division
    by 255 into a product with its inverse, which is off by a bit for half of the bytes.
    So x / 255 = 257 x / 65536 + x / 255 / 65536: the first product is exact and the
    second too small for its rounding to count, fused with the sum or not.
    """
    if pixels.dtype != np.uint8:
        return pixels
    x = pixels.astype(np.float32)
    return x * np.float32(257 / 65536) + x * np.float32(1 / 255 / 65536)


def _check_size(fit: FrameFit, image: UInt8[np.ndarray, "h w 3"]) -> None:
    if image.shape[:2] != (fit.source_height, fit.source_width):
        raise ValueError(
            f"picture of {image.shape[1]}x{image.shape[0]} px, but the fit is for"
            f" {fit.source_width}x{fit.source_height}"
        )


def _resize(
    fit: FrameFit, image: UInt8[np.ndarray, "h w 3"]
) -> Float[np.ndarray, "H W 3"]:
    """The picture in its new size, values in [0, 255].

    OpenCV turns rows and columns: numpy takes four times as long, more than both
    products together.
    """
    down = _resize_matrix(fit.source_height, fit.height)
    across = _resize_matrix(fit.source_width, fit.width)
    pixels = image.astype(np.float32).reshape(fit.source_height, -1)
    pixels = cv2.transpose((down @ pixels).reshape(fit.height, -1, 3))
    pixels = across @ pixels.reshape(fit.source_width, -1)
    return cv2.transpose(pixels.reshape(fit.width, -1, 3))


@functools.lru_cache(maxsize=64)
def _resize_matrix(size: int, new_size: int) -> scipy.sparse.csr_array:
    """(new_size, size): a triangle filter, widened where it shrinks.

    Sparse: a few taps a row, so both products of a frame take 0.2 ms and no thread.
    """
    ratio = size / new_size
    centre = (np.arange(new_size) + 0.5) * ratio - 0.5
    distance = np.abs(centre[:, None] - np.arange(size)) / max(ratio, 1.0)
    weight = np.maximum(0.0, 1.0 - distance)
    weight = (weight / weight.sum(1, keepdims=True)).astype(np.float32)
    return scipy.sparse.csr_array(weight)


def fit_boxes(
    fit: FrameFit, xyxy_px: Float[np.ndarray, "m 4"]
) -> Float[np.ndarray, "m 4"]:
    """Boxes of the source frame in pixels of the fitted one, clipped to the picture."""
    scale = np.array([fit.width / fit.source_width, fit.height / fit.source_height])
    offset = np.array([fit.left, fit.top] * 2)
    moved = np.asarray(xyxy_px, np.float64).reshape(-1, 4) * np.tile(scale, 2)
    limit = np.array([fit.width, fit.height] * 2)
    return np.clip(moved, 0.0, limit) + offset


def covered_share(
    grid: PatchGrid, boxes_px: Float[np.ndarray, "m 4"]
) -> Float[np.ndarray, "m n"]:
    """Share of each patch's area that each box covers; boxes in fitted pixels.

    Patches in row-major order. Exact areas, not counted pixels.
    """
    boxes = np.asarray(boxes_px, np.float64).reshape(-1, 4)
    share_x = _overlap(boxes[:, 0::2], grid.cols, grid.patch_px)
    share_y = _overlap(boxes[:, 1::2], grid.rows, grid.patch_px)
    share = share_y[:, :, None] * share_x[:, None, :]
    return share.reshape(len(boxes), grid.n_patches).astype(np.float32)


def _overlap(ends: np.ndarray, count: int, patch_px: int) -> np.ndarray:
    """(m, count): how much of each of `count` stretches lies between the ends."""
    start = np.arange(count) * patch_px
    low = np.maximum(ends[:, :1], start)
    high = np.minimum(ends[:, 1:], start + patch_px)
    return np.clip(high - low, 0.0, None) / patch_px


def valid_patches(grid: PatchGrid, fit: FrameFit) -> Bool[np.ndarray, " n"]:
    """Patches of which at least half of the pixels are picture."""
    picture = np.array(
        [[fit.left, fit.top, fit.left + fit.width, fit.top + fit.height]], np.float64
    )
    return covered_share(grid, picture)[0] >= 0.5


def to_patches(
    grid: PatchGrid, image: Pixels[np.ndarray, "H W 3"]
) -> Pixels[np.ndarray, "n p"]:
    """Cuts a fitted picture into patches, row-major; each as (row, column, channel)."""
    size = grid.patch_px
    blocks = image.reshape(grid.rows, size, grid.cols, size, 3)
    return blocks.transpose(0, 2, 1, 3, 4).reshape(grid.n_patches, -1)


@functools.lru_cache(maxsize=16)
def cell_of_patch(grid: PatchGrid) -> Int[np.ndarray, " n"]:
    """The pooled cell (row-major) that each patch lies in."""
    row = np.arange(grid.rows)[:, None] // grid.pool
    col = np.arange(grid.cols)[None, :] // grid.pool
    return (row * (grid.cols // grid.pool) + col).reshape(-1)
