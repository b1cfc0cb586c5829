"""Body boxes of frames: the person detector over a frame and its two halves.

Recipe and accuracy: boxes.md 2. Full-height tiles undo the sideways squeeze of a
wide frame to a square view.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from preprocessing.boxes import ssdlite

MIN_SCORE = 0.3
TILED_ASPECT = (11, 10)  # frames at least this many times wider than high get tiles
EDGE_PX = 3.0
MAX_IOU_IN_VIEW, MAX_PER_VIEW = 0.6, 100  # the graph's own suppression
MAX_IOU, MAX_INSIDE = 0.5, 0.8

Found = tuple[Float[np.ndarray, "m 4"], Float[np.ndarray, " m"]]


def detect(frames: Sequence[UInt8[np.ndarray, "h w 3"]]) -> list[Found]:
    """Body boxes of each RGB frame.

    Frames are worked on one view at a time, so a frame's boxes do not depend on the
    others.

    Returns:
      for each frame (xyxy in pixels of the frame, clipped to it; score in [0.3, 1]),
      float32, the highest score first.

    Raises:
      ValueError: if the weight file is missing; says how to install it.
    """
    return [_detect_one(frame) for frame in frames]


def _detect_one(frame: UInt8[np.ndarray, "h w 3"]) -> Found:
    height, width = frame.shape[:2]
    boxes, scores = [], []
    for left, right in views(width, height):
        in_view, score = _detect_view(frame[:, left:right])
        in_view = in_view * np.float32([right - left, height] * 2)
        in_view = in_view + np.float32([left, 0, left, 0])
        keep = ~is_cut(in_view, left, right, width)
        boxes.append(in_view[keep])
        scores.append(score[keep])
    xyxy, score = np.concatenate(boxes), np.concatenate(scores)
    kept = suppress(xyxy, score, MAX_IOU, MAX_INSIDE)
    return xyxy[kept], score[kept]


def views(width: int, height: int) -> list[tuple[int, int]]:
    """(left, right) of each full-height view: the frame, and two tiles if it is wide.

    The tiles are 4/7 of the frame wide and share 1/7.
    """
    whole = [(0, width)]
    if width * TILED_ASPECT[1] < height * TILED_ASPECT[0]:
        return whole
    return [*whole, (0, round(width * 4 / 7)), (round(width * 3 / 7), width)]


def _detect_view(view: UInt8[np.ndarray, "h w 3"]) -> Found:
    """Boxes in units of the view, clipped to it, and their scores."""
    size = (ssdlite.VIEW_PX, ssdlite.VIEW_PX)
    resized = cv2.resize(view, size, interpolation=cv2.INTER_AREA)
    encodings, score = ssdlite.load()(resized)
    likely = np.flatnonzero(score >= MIN_SCORE)
    score = score[likely]
    xyxy = ssdlite.decode(encodings[likely], ssdlite.anchors()[likely])
    kept = suppress(xyxy, score, MAX_IOU_IN_VIEW, max_inside=1.0)[:MAX_PER_VIEW]
    xyxy, score = np.clip(xyxy[kept], 0.0, 1.0), score[kept]
    is_box = (xyxy[:, 2:] > xyxy[:, :2]).all(1)
    return xyxy[is_box], score[is_box]


def is_cut(
    xyxy_px: Float[np.ndarray, "m 4"], left: int, right: int, width: int
) -> Bool[np.ndarray, " m"]:
    """Boxes that end at a tile's inner edge: their whole is in another view."""
    at_left = (left > 0) & (xyxy_px[:, 0] < left + EDGE_PX)
    at_right = (right < width) & (xyxy_px[:, 2] > right - EDGE_PX)
    return at_left | at_right


def suppress(
    xyxy: Float[np.ndarray, "m 4"],
    score: Float[np.ndarray, " m"],
    max_iou: float,
    max_inside: float,
) -> np.ndarray:
    """Indices of the boxes that greedy suppression keeps, the best first.

    A box is dropped if its IoU with a better kept one is above `max_iou` or if more
    than `max_inside` of its own area lies in that one.
    """
    order = np.argsort(-score, kind="stable")
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        shared, area = shared_area(xyxy[best], xyxy[order])
        best_area = box_area(xyxy[best])
        is_same = shared > max_iou * (best_area + area - shared)
        order = order[~(is_same | (shared > max_inside * area))]
    return np.array(kept, int)


def shared_area(
    box: Float[np.ndarray, " 4"], others: Float[np.ndarray, "m 4"]
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Area shared with each of the others, and the areas of the others."""
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[2:], others[:, 2:])
    return np.clip(high - low, 0.0, None).prod(1), box_area(others)


def box_area(xyxy: Float[np.ndarray, "... 4"]) -> Float[np.ndarray, "..."]:
    """Area of each box; 0 for an empty one."""
    return np.clip(xyxy[..., 2:] - xyxy[..., :2], 0.0, None).prod(-1)
