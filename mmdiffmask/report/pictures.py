"""Draws frames with their boxes, the patch grid and what a mask hides."""

import dataclasses
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from mmdiffmask import grid as grids
from mmdiffmask import types
from mmdiffmask.data.records import frames as stored_frames

Colour = tuple[int, int, int]  # RGB
# Told apart with red-green colour blindness too (Okabe and Ito's palette).
COLOUR = {"body": (230, 159, 0), "face": (86, 180, 233), "object": (0, 190, 130)}
_PLURAL = {"body": "bodies", "face": "faces", "object": "objects"}
MIN_WIDTH_PX = 240  # smaller frames are enlarged to about this
GAP_PX = 6
_PAPER = (255, 255, 255)
_INK = (34, 34, 34)
_HIDDEN = (70, 74, 84)
_HATCH = (150, 155, 168)
_PADDING = (226, 228, 232)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclasses.dataclass(frozen=True)
class Clip:
    """The frames of one record, as they lie on disk.

    Attributes:
      name: the example id, for titles.
      frames: RGB pictures, one per segment; None where the segment has no frame.
      boxes: in pixels of the source frames.
      source_size_px: width and height of each source frame, where the stored ones
        are smaller; None where they are the same.
    """

    name: str
    frames: tuple[np.ndarray | None, ...]
    boxes: types.Boxes
    source_size_px: tuple[tuple[int, int], ...] | None = None

    def fit(self, grid: grids.PatchGrid, i: int) -> grids.FrameFit | None:
        """How source frame i lies in the grid; None where there is no frame."""
        frame = self.frames[i]
        if frame is None:
            return None
        width, height = frame.shape[1], frame.shape[0]
        if self.source_size_px is not None:
            width, height = self.source_size_px[i]
        return grids.fit_frame(grid, width, height)


def decode(record: Any) -> Clip:
    """A record (`data.records.schema.Record`) as something to draw.

    Raises:
      ValueError: if a frame is no readable picture.
    """
    frames, sizes = [], []
    for i, data in enumerate(record.frames):
        sizes.append(tuple(int(side) for side in record.source_size_px[i]))
        if not record.is_frame_valid[i]:
            frames.append(None)
            continue
        try:
            frames.append(stored_frames.decode_jpeg(data))
        except ValueError as error:
            raise ValueError(
                f"{record.example_id}: frame {i} is no readable picture ({error});"
                " make the records again"
            ) from error
    return Clip(record.example_id, tuple(frames), record.boxes, tuple(sizes))


def patch_size(grid: grids.PatchGrid) -> int:
    """Pixels of a drawn patch: whole, so that lines fall on patch borders."""
    return max(grid.patch_px, round(MIN_WIDTH_PX / grid.cols))


def draw_frame(
    grid: grids.PatchGrid,
    clip: Clip,
    i: int,
    is_hidden: Bool[np.ndarray, " n"] | None = None,
    with_labels: bool = False,
    size: int | None = None,
) -> UInt8[np.ndarray, "H W 3"]:
    """Frame i, fitted: grid lines, hidden patches hatched, boxes, padding shaded.

    Args:
      grid: the patch grid the frame is fitted into.
      clip: a frame that is None draws an empty, shaded grid.
      i: which frame.
      is_hidden: patches the model does not see.
      with_labels: whether to write each box's label.
      size: pixels of a drawn patch; None: as `patch_size` says.
    """
    size = patch_size(grid) if size is None else size
    image = draw_picture(grid, clip, i, size)
    if is_hidden is not None:
        covered = pixels(grid, is_hidden, size)
        image = _shade(image, covered, _HIDDEN, _HATCH, opacity=0.88)
    image = draw_lines(image, size)
    boxes, corners = drawn_boxes(grid, clip, i, size)
    return _draw_boxes(image, corners, boxes, with_labels)


def draw_picture(
    grid: grids.PatchGrid, clip: Clip, i: int, size: int
) -> UInt8[np.ndarray, "H W 3"]:
    """Frame i alone, fitted; what is no valid patch is shaded."""
    shape = (grid.rows * size, grid.cols * size)
    image = np.full((*shape, 3), _PADDING, np.uint8)
    frame, fit = clip.frames[i], clip.fit(grid, i)
    if frame is not None:
        stored = dataclasses.replace(
            fit, source_width=frame.shape[1], source_height=frame.shape[0]
        )
        fitted = np.round(grids.fit_image(grid, stored, frame) * 255).astype(np.uint8)
        image = cv2.resize(fitted, shape[::-1], interpolation=cv2.INTER_CUBIC)
    outside = pixels(grid, ~valid_patches(grid, clip)[i], size)
    return _shade(image, outside, _PADDING, _PAPER, opacity=1.0)


def drawn_boxes(
    grid: grids.PatchGrid, clip: Clip, i: int, size: int
) -> tuple[types.Boxes, Float[np.ndarray, "m 4"]]:
    """Frame i's boxes, and their corners in the drawing; none without a frame."""
    fit = clip.fit(grid, i)
    is_here = (clip.boxes.frame == i) & (fit is not None)
    boxes = clip.boxes.take(np.flatnonzero(is_here))
    if fit is None:
        return boxes, np.zeros((0, 4))
    return boxes, grids.fit_boxes(fit, boxes.xyxy_px) * (size / grid.patch_px)


def pixels(
    grid: grids.PatchGrid, patches: Bool[np.ndarray, " n"], size: int
) -> Bool[np.ndarray, "H W"]:
    """The patches' flags at every drawn pixel."""
    flags = patches.reshape(grid.rows, grid.cols)
    return flags.repeat(size, 0).repeat(size, 1)


def _shade(
    image: UInt8[np.ndarray, "H W 3"],
    where: Bool[np.ndarray, "H W"],
    colour: Colour,
    stripe: Colour,
    opacity: float,
) -> UInt8[np.ndarray, "H W 3"]:
    """Covers pixels with `colour` and diagonal stripes; what is below shines through.

    Stripes tell a hidden patch from a dark picture, also in print.
    """
    y, x = np.indices(where.shape, sparse=True)
    cover = np.where(((x + y) % 8 < 2)[..., None], stripe, colour)
    mixed = (1 - opacity) * image + opacity * cover
    return np.where(where[..., None], mixed, image).round().astype(np.uint8)


def draw_lines(
    image: UInt8[np.ndarray, "H W 3"], size: int
) -> UInt8[np.ndarray, "H W 3"]:
    """Thin grid lines, half transparent, so that they do not hide the picture."""
    lines = np.zeros(image.shape[:2], bool)
    lines[::size] = lines[:, ::size] = True
    lines[-1] = lines[:, -1] = True
    return _shade(image, lines, _PAPER, _PAPER, opacity=0.3)


def _draw_boxes(
    image: UInt8[np.ndarray, "H W 3"],
    corners: Float[np.ndarray, "m 4"],
    boxes: types.Boxes,
    with_labels: bool,
) -> UInt8[np.ndarray, "H W 3"]:
    """Outlines in the colour of the kind, on a dark edge for light backgrounds."""
    image = np.ascontiguousarray(image)
    limit = np.array([image.shape[1], image.shape[0]] * 2) - 2
    corners = np.clip(np.round(corners), 1, limit).astype(int)
    is_visible = (corners[:, 2:] > corners[:, :2]).all(1)
    for i in np.flatnonzero(is_visible):
        left, top, right, bottom = (int(side) for side in corners[i])
        cv2.rectangle(image, (left, top), (right, bottom), _INK, 4)
        cv2.rectangle(image, (left, top), (right, bottom), COLOUR[boxes.kind[i]], 2)
    is_taken = np.zeros(image.shape[:2], bool)
    for i in np.flatnonzero(is_visible & with_labels):
        if boxes.label[i] != boxes.kind[i]:  # else the colour says it already
            colour = COLOUR[boxes.kind[i]]
            _write(image, is_taken, boxes.label[i], corners[i], colour)
    return image


def _write(
    image: UInt8[np.ndarray, "H W 3"],
    is_taken: Bool[np.ndarray, "H W"],
    text: str,
    corners: Int[np.ndarray, " 4"],
    colour: Colour,
) -> None:
    """A label on its own ground above the box; none where another one stands."""
    text = printable(text)
    (width, height), _ = cv2.getTextSize(text, _FONT, 0.4, 1)
    left = int(np.clip(corners[0] - 1, 0, max(0, image.shape[1] - width - 4)))
    top = int(max(0, corners[1] - height - 6))
    right, bottom = left + width + 4, top + height + 5
    area = (slice(top, bottom), slice(left, right))
    if is_taken[area].any():
        return
    is_taken[area] = True
    cv2.rectangle(image, (left, top), (right, bottom), colour, -1)
    at = (left + 2, top + height + 2)
    cv2.putText(image, text, at, _FONT, 0.4, _INK, 1, cv2.LINE_AA)


def printable(text: str) -> str:
    """The text with what OpenCV's font cannot draw as '?'."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)


def draw_strip(
    grid: grids.PatchGrid,
    clip: Clip,
    is_hidden: Bool[np.ndarray, "t n"] | None = None,
    with_labels: bool = False,
) -> UInt8[np.ndarray, "H W 3"]:
    """A clip's frames side by side.

    Raises:
      ValueError: if the mask is not one flag per frame and patch.
    """
    expected = (len(clip.frames), grid.n_patches)
    if is_hidden is not None and is_hidden.shape != expected:
        raise ValueError(
            f"clip {clip.name}: the mask is {is_hidden.shape}, but {expected[0]} frames"
            f" on the grid {grid} need {expected}"
        )
    tiles = []
    for i in range(len(clip.frames)):
        hidden = None if is_hidden is None else is_hidden[i]
        tiles.append(draw_frame(grid, clip, i, hidden, with_labels))
        tiles.append(np.full((tiles[0].shape[0], GAP_PX, 3), _PAPER, np.uint8))
    return np.concatenate(tiles[:-1], axis=1)


def valid_patches(grid: grids.PatchGrid, clip: Clip) -> Bool[np.ndarray, "t n"]:
    """Patches with picture; none where there is no frame."""
    is_valid = np.zeros((len(clip.frames), grid.n_patches), bool)
    for i in range(len(clip.frames)):
        fit = clip.fit(grid, i)
        if fit is not None:
            is_valid[i] = grids.valid_patches(grid, fit)
    return is_valid


def count_boxes(boxes: types.Boxes) -> str:
    """How many boxes of each kind: `3 bodies, 1 face`."""
    counts = [(boxes.kind.count(kind), kind, word) for kind, word in _PLURAL.items()]
    parts = [f"{n} {kind if n == 1 else word}" for n, kind, word in counts if n]
    return ", ".join(parts) or "no box"


def to_png(image: UInt8[np.ndarray, "H W 3"]) -> bytes:
    """The RGB picture as a PNG file, without loss."""
    return _encode(image, ".png", [cv2.IMWRITE_PNG_COMPRESSION, 9])


def to_jpeg(image: UInt8[np.ndarray, "H W 3"]) -> bytes:
    """The RGB picture as a JPEG file: a fifth of the size, for the page."""
    return _encode(image, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, 85])


def _encode(image: np.ndarray, suffix: str, settings: list[int]) -> bytes:
    done, data = cv2.imencode(suffix, np.ascontiguousarray(image[..., ::-1]), settings)
    assert done, suffix
    return data.tobytes()
