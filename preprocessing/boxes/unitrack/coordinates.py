"""Maps pixels of a video's frame to the demo's detector picture, and back.

A frame of the video is shrunk into the test size; that *resized frame* is what boxes
are reported on. The detector sees it centred on grey, the *letterbox*, and gives boxes
in units of that. boxes.md section 3.
"""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

TEST_WH = (640, 480)
GREY = 127.5

Size = tuple[int, int]  # width, height in pixels


def resized_wh(video_wh: Size) -> Size:
    """Size of the resized frame, cut to whole pixels."""
    scale = _scale(video_wh)
    return int(video_wh[0] * scale), int(video_wh[1] * scale)


def letterbox(
    frame: UInt8[np.ndarray, "h w 3"],
) -> Float[np.ndarray, "480 640 3"]:
    """A frame of the video on grey, in [0, 255], the channels as they were."""
    size = resized_wh((frame.shape[1], frame.shape[0]))
    resized = cv2.resize(frame, size)
    scale = _scale(size)
    inner = round(size[0] * scale), round(size[1] * scale)
    resized = cv2.resize(resized, inner, interpolation=cv2.INTER_AREA)
    # Of an odd rest the larger half goes right and below.
    left = round((TEST_WH[0] - inner[0]) / 2 - 0.1)
    top = round((TEST_WH[1] - inner[1]) / 2 - 0.1)
    picture = np.full((TEST_WH[1], TEST_WH[0], 3), GREY, np.float32)
    picture[top : top + inner[1], left : left + inner[0]] = resized
    return picture


def in_letterbox(
    normalised: Float[np.ndarray, "n k"],
) -> Float[np.ndarray, "n 4"]:
    """Boxes (cx, cy, w, h, ...) in units of the letterbox -> xyxy in its pixels."""
    pixels = np.asarray(normalised, np.float64)[:, :4] * np.tile(TEST_WH, 2)
    centre, half = pixels[:, :2], pixels[:, 2:] / 2
    return np.hstack([centre - half, centre + half])


def in_resized(
    xyxy_px: Float[np.ndarray, "n 4"], resized: Size
) -> Float[np.ndarray, "n 4"]:
    """Boxes of the letterbox -> boxes of the resized frame; not clipped to it."""
    scale = _scale(resized)
    border = (np.array(TEST_WH) - np.array(resized) * scale) / 2
    return (xyxy_px - np.tile(border, 2)) / scale


def in_video(
    xyxy_px: Float[np.ndarray, "n 4"], video_wh: Size
) -> Float[np.ndarray, "n 4"]:
    """Boxes of the resized frame -> boxes of the video's frame.

    Departs: upstream reports boxes of the resized frame.
    """
    ratio = np.array(video_wh) / np.array(resized_wh(video_wh))
    return xyxy_px * np.tile(ratio, 2)


def _scale(size: Size) -> float:
    """What fits a picture into the test size."""
    return min(TEST_WH[0] / size[0], TEST_WH[1] / size[1])
