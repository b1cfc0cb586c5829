"""Links boxes of consecutive frames that are the same thing, by optical flow alone."""

from collections.abc import Sequence

import cv2
import numpy as np

MAX_POINTS, LEAST_POINTS = 40, 6  # of a box
CORE = 0.6  # points lie in this share of a box's width and height, away from its rim
MAX_RETURN_PX = 1.0  # a point that is followed there and back must return so near
LEAST_SHARE, MOST_ELSEWHERE = 0.8, 0.3  # of the points, in the same box and another


def links(frames: Sequence[np.ndarray], xyxy: Sequence[np.ndarray]) -> list[np.ndarray]:
    """(k, 2) for each frame but the last: a box of it and its box in the next frame.

    Only clear cases: at least 6 points lie in the core of that box alone, 80 % of them
    land in one box, less than 30 % in any other, and no second box claims that one.

    Args:
      frames: RGB.
      xyxy: of each frame, (m, 4) in its pixels.
    """
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    return [
        _links(grey[i], grey[i + 1], xyxy[i], xyxy[i + 1])
        for i in range(len(frames) - 1)
    ]


def _links(
    before: np.ndarray, after: np.ndarray, xyxy: np.ndarray, later: np.ndarray
) -> np.ndarray:
    matched = []
    for i, box in enumerate(xyxy):
        points = _points(before, box, np.delete(xyxy, i, axis=0))
        landed = _followed(before, after, points)
        if len(landed) < LEAST_POINTS or not len(later):
            continue
        share = is_inside(landed, later).mean(0)
        best = int(share.argmax())
        elsewhere = np.delete(share, best).max(initial=0.0)
        if share[best] >= LEAST_SHARE and elsewhere < MOST_ELSEWHERE:
            matched.append((i, best))
    pairs = np.array(matched, int).reshape(-1, 2)
    claims = np.bincount(pairs[:, 1], minlength=len(later))
    return pairs[claims[pairs[:, 1]] == 1]


def _points(grey: np.ndarray, box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(n, 2): corners in the box's core that no other box holds."""
    margin = (box[2:] - box[:2]) * (1 - CORE) / 2
    core = np.concatenate([box[:2] + margin, box[2:] - margin])
    height, width = grey.shape
    left, top, right, bottom = np.clip(
        np.round(core), 0, [width, height, width, height]
    ).astype(int)
    none = np.zeros((0, 2), np.float32)
    if right - left < 3 or bottom - top < 3:
        return none
    corners = cv2.goodFeaturesToTrack(
        np.ascontiguousarray(grey[top:bottom, left:right]), MAX_POINTS, 0.01, 2
    )
    if corners is None:
        return none
    points = corners.reshape(-1, 2) + np.float32([left, top])
    return points[~is_inside(points, others).any(1)]


def _followed(before: np.ndarray, after: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(k, 2): where the points lie in the next frame, those that find back."""
    if not len(points):
        return points
    origin = points.astype(np.float32).reshape(-1, 1, 2)
    there, is_found, _ = cv2.calcOpticalFlowPyrLK(before, after, origin, None)
    back, is_back, _ = cv2.calcOpticalFlowPyrLK(after, before, there, None)
    away = np.linalg.norm((back - origin).reshape(-1, 2), axis=1)
    keep = (is_found & is_back).reshape(-1).astype(bool) & (away <= MAX_RETURN_PX)
    return there.reshape(-1, 2)[keep]


def is_inside(points: np.ndarray, xyxy: np.ndarray) -> np.ndarray:
    """(n, m): which points lie in which boxes."""
    low, high = xyxy[None, :, :2], xyxy[None, :, 2:]
    return ((points[:, None] >= low) & (points[:, None] < high)).all(-1)
