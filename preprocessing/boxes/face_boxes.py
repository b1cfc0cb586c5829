"""Face boxes of frames: the MTCNN cascade with facenet-pytorch's defaults.

boxes.md section 1 has every constant. What looks odd here (which corners
count as inclusive, where numbers are cut to integers) is what the published weights
were tuned with.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8

from preprocessing.boxes import mtcnn, resizing

_CELL_PX, _STRIDE_PX = 12, 2
_HEAD = 32  # boxes that suppression compares with all others at a time

Found = tuple[
    Float[np.ndarray, "m 4"], Float[np.ndarray, " m"], Float[np.ndarray, "m 5 2"]
]

Sums = Int[np.ndarray, "h+1 w+1 3"]  # of a frame, as `resizing.integral` has them


@dataclasses.dataclass(frozen=True)
class Settings:
    """facenet-pytorch's settings: smallest face, a threshold per stage, the pyramid."""

    min_face_px: int = 20
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7)
    factor: float = 0.709


def detect(
    frames: Sequence[UInt8[np.ndarray, "h w 3"]], settings: Settings = Settings()
) -> list[Found]:
    """Faces of each RGB frame, each frame worked on alone.

    Returns:
      for each frame (xyxy in pixels of the frame, may reach past it; probability; left
      eye, right eye, nose, left and right mouth corner as seen), float32, the largest
      face first.

    Raises:
      ValueError: if a weight file is missing; says how to install it.
    """
    faces, sums = [], None
    for frame in frames:
        sums = resizing.integral(frame, sums)  # new memory takes ten times as long
        faces.append(_detect_one(sums, settings))
    return faces


def _detect_one(sums: Sums, settings: Settings) -> Found:
    height, width = (n - 1 for n in sums.shape[:2])
    boxes = _propose(sums, width, height, settings)
    boxes = _refine(sums, width, height, boxes, settings.thresholds[1])
    xyxy, probability, points = _output(
        sums, width, height, boxes, settings.thresholds[2]
    )
    area = (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])
    order = np.argsort(area)[::-1]
    return xyxy[order], probability[order], points[order]


def pyramid(width: int, height: int, settings: Settings) -> list[float]:
    """The scales at which the smallest to the largest face is 12 pixels."""
    scales = []
    scale, side = (
        _CELL_PX / settings.min_face_px,
        min(width, height) * _CELL_PX / settings.min_face_px,
    )
    while side >= _CELL_PX:
        scales.append(scale)
        scale *= settings.factor
        side *= settings.factor
    return scales


def candidates(
    sums: Sums, width: int, height: int, scale: float, threshold: float
) -> Float[np.ndarray, "m 9"]:
    """The first network's cells at one scale: xyxy, probability, four offsets."""
    size = int(height * scale + 1), int(width * scale + 1)
    plan = resizing.shrinking((height, width), size)
    offsets, probability = mtcnn.pnet(resizing.shrink(sums, plan))
    row, col = np.nonzero(probability >= np.float32(threshold))
    # In float32, as torch divides: in float64 some corners move by a pixel.
    cell = np.stack([col, row], 1).astype(np.float32) * _STRIDE_PX + 1
    low = np.floor(cell / np.float32(scale))
    high = np.floor((cell + (_CELL_PX - 1)) / np.float32(scale))
    score = probability[row, col][:, None]
    return np.hstack([low, high, score, offsets[:, row, col].T])


def _propose(sums: Sums, width: int, height: int, settings: Settings) -> np.ndarray:
    """Square boxes (m, 4) from the first network over the pyramid."""
    proposals = []
    for scale in pyramid(width, height, settings):
        cells = candidates(sums, width, height, scale, settings.thresholds[0])
        proposals.append(cells[suppress(cells[:, :4], cells[:, 4], 0.5)])
    cells = np.concatenate(proposals) if proposals else np.zeros((0, 9), np.float32)
    cells = cells[suppress(cells[:, :4], cells[:, 4], 0.7)]
    return _square(_regress(cells[:, :4], cells[:, 5:], inclusive=0))


def _refine(
    sums: Sums,
    width: int,
    height: int,
    boxes: Float[np.ndarray, "m 4"],
    threshold: float,
) -> np.ndarray:
    """Square boxes (m, 4) that the second network takes for faces."""
    boxes, crops = _crop(sums, width, height, boxes, 24)
    offsets, probability = mtcnn.rnet(crops)
    keep = np.flatnonzero(probability > threshold)
    keep = keep[suppress(boxes[keep], probability[keep], 0.7)]
    return _square(_regress(boxes[keep], offsets[keep], inclusive=1))


def _output(
    sums: Sums,
    width: int,
    height: int,
    boxes: Float[np.ndarray, "m 4"],
    threshold: float,
) -> Found:
    """The third network's faces, in no particular order."""
    boxes, crops = _crop(sums, width, height, boxes, 48)
    offsets, points, probability = mtcnn.onet(crops)
    keep = np.flatnonzero(probability > threshold)
    boxes, offsets, probability = boxes[keep], offsets[keep], probability[keep]
    size = boxes[:, 2:] - boxes[:, :2] + 1
    points = points[keep].reshape(-1, 2, 5).swapaxes(1, 2)
    points = points * size[:, None] + boxes[:, None, :2] - 1
    boxes = _regress(boxes, offsets, inclusive=1)
    keep = suppress(boxes, probability, 0.7, is_of_smaller=True)
    return boxes[keep], probability[keep], points[keep]


def _crop(sums: Sums, width: int, height: int, boxes: np.ndarray, size: int):
    """The boxes that lie in the frame at all, and their cut-outs."""
    # Corners count from 1 and both are inside.
    corner = np.trunc(boxes).astype(int)
    low = np.maximum(corner[:, :2], 1) - 1
    high = np.minimum(corner[:, 2:], [width, height])
    inside = (high > low).all(1)
    corners = np.hstack([low, high])[inside]
    return boxes[inside], resizing.resize(sums, corners, size, size)


def _regress(boxes: np.ndarray, offsets: np.ndarray, inclusive: int) -> np.ndarray:
    """Boxes moved by the offsets, in units of their size."""
    size = np.tile(boxes[:, 2:] - boxes[:, :2] + np.float32(inclusive), 2)
    return boxes + offsets * size


def _square(boxes: np.ndarray) -> np.ndarray:
    """Squares around the same centres, as large as the longer side."""
    size = boxes[:, 2:] - boxes[:, :2]
    side = size.max(1, keepdims=True, initial=0)
    low = boxes[:, :2] + size * np.float32(0.5) - side * np.float32(0.5)
    return np.hstack([low, low + side])


def suppress(
    boxes: Float[np.ndarray, "m 4"],
    score: Float[np.ndarray, " m"],
    limit: float,
    is_of_smaller: bool = False,
) -> np.ndarray:
    """Indices of the boxes that greedy suppression keeps, the best first.

    Overlap is the IoU or, `is_of_smaller`, the shared share of the smaller box with
    both corners inside. Of equal scores, which boxes of one cut-out have, the first is
    the best. Departs: facenet-pytorch's last suppression leaves that to an unstable
    sort, hence to the processor; a face in a hundred lies up to 1 px elsewhere.
    """
    extra = np.float32(is_of_smaller)
    x1, y1, x2, y2 = np.ascontiguousarray(boxes.T)
    area = (x2 - x1 + extra) * (y2 - y1 + extra)
    order = np.argsort(-score, kind="stable")
    kept = []
    while len(order):
        # All overlaps with the best few at once: most boxes fall to one of them.
        head = order[:_HEAD]
        one = head[:, None]
        width = np.minimum(x2[one], x2[order]) - np.maximum(x1[one], x1[order]) + extra
        height = np.minimum(y2[one], y2[order]) - np.maximum(y1[one], y1[order]) + extra
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        if is_of_smaller:
            whole = np.minimum(area[one], area[order])
        else:
            whole = area[one] + area[order] - shared
        is_over = shared / whole > limit
        is_left = np.ones(len(order), bool)
        for i in range(len(head)):
            if is_left[i]:
                kept.append(head[i])
                is_left &= ~is_over[i]
        is_left[: len(head)] = False
        order = order[is_left]
    return np.array(kept, int)
