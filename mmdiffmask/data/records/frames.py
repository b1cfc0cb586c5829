"""Stored frames: JPEG bytes to pixels, and the clip's boxes onto their grid.

Everybody who opens a record's frame does it here, so that a frame has one size and
one orientation for preprocessing, loader and report alike.
"""

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from mmdiffmask import grid as grid_lib
from mmdiffmask.types import Boxes

JPEG, START_OF_SCAN, END_OF_IMAGE = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
APP1 = b"\xe1"  # the segment that holds EXIF tags
# Segments with the picture's size: all from 0xc0 to 0xcf that are no tables.
SIZES = tuple(bytes([i]) for i in range(0xC0, 0xD0) if i not in (0xC4, 0xC8, 0xCC))


def decode_jpeg(data: bytes) -> UInt8[np.ndarray, "h w 3"]:
    """The RGB picture, turned as its EXIF tag says.

    Raises:
      ValueError: if the bytes are empty, cut short or no picture.
    """
    if not data:
        raise ValueError("the picture is empty (0 bytes)")
    # A decoder paints the missing part of a cut JPEG grey and reports success. Inside
    # a scan 0xff is always escaped, so these two markers cannot occur by chance.
    if data.startswith(JPEG) and (
        data.rfind(END_OF_IMAGE) < max(data.rfind(START_OF_SCAN), 0)
    ):
        raise ValueError("the picture is cut short (no end of image)")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:  # a header that asks for too many pixels
        raise ValueError(f"no picture that can be decoded ({error.err})") from error
    if image is None:
        raise ValueError("no picture that can be decoded")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def size_px(data: bytes) -> tuple[int, int]:
    """Width and height of a stored frame; of a plain JPEG from its header alone.

    A JPEG with an EXIF tag may be turned, and anything else is no JPEG: those are
    decoded. Whether the rest of the picture is whole, only `decode_jpeg` tells.

    Raises:
      ValueError: as `decode_jpeg`.
    """
    place = 2
    while data.startswith(JPEG) and data[place : place + 1] == b"\xff":
        marker = data[place + 1 : place + 2]
        if marker == APP1:
            break
        if marker in SIZES:
            height, width = (int.from_bytes(data[place + i :][:2]) for i in (5, 7))
            if not (height and width):
                break
            return width, height
        place += 2 + int.from_bytes(data[place + 2 : place + 4])
    height, width = decode_jpeg(data).shape[:2]
    return width, height


def sizes(frames: tuple[bytes, ...]) -> Int[np.ndarray, "t 2"]:
    """Width and height of each stored frame; 0 where it is absent.

    Raises:
      ValueError: if a frame that is there cannot be decoded.
    """
    sizes_px = np.zeros((len(frames), 2), np.int32)
    for i, data in enumerate(frames):
        if data:
            height, width = decode_jpeg(data).shape[:2]
            sizes_px[i] = width, height
    return sizes_px


def fitted_boxes(
    grid: grid_lib.PatchGrid,
    boxes: Boxes,
    source_size_px: Int[np.ndarray, "t 2"],
    stored_size_px: Int[np.ndarray, "t 2"],
) -> Float[np.ndarray, "m 4"]:
    """The boxes in pixels of the fitted frames: source to stored to grid.

    The transform is `grid.fit_frame` of the STORED size, the one that also fits the
    picture. Boxes in absent frames come out empty.
    """
    fitted = np.zeros((len(boxes), 4))
    for frame in np.unique(boxes.frame):
        width, height = (int(side) for side in stored_size_px[frame])
        if not width:
            continue
        rows = boxes.frame == frame
        scale = np.array([width, height]) / source_size_px[frame]
        stored = boxes.xyxy_px[rows].astype(np.float64) * np.tile(scale, 2)
        fit = grid_lib.fit_frame(grid, width, height)
        fitted[rows] = grid_lib.fit_boxes(fit, stored)
    return fitted


def covered_share(
    grid: grid_lib.PatchGrid,
    boxes: Boxes,
    source_size_px: Int[np.ndarray, "t 2"],
    stored_size_px: Int[np.ndarray, "t 2"],
) -> Float[np.ndarray, "m n"]:
    """Share of each patch of its own frame that each box covers, float16."""
    fitted = fitted_boxes(grid, boxes, source_size_px, stored_size_px)
    return grid_lib.covered_share(grid, fitted).astype(np.float16)
