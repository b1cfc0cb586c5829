"""Costs of taking detections for tracks, and the pairs that cost the least.

boxes.md section 6. Appearance costs are float32 like the
features they come from; boxes and distances are float64.
"""

import numpy as np
import scipy.optimize
from jaxtyping import Float, Int

from preprocessing.boxes.unitrack import kalman

SHARPNESS = 100.0  # of the softmax over positions
_LEAST_NORM = np.float32(1e-12)
# Softmax weights below e^-60 vanish beside `_LEAST_NORM`; denormal ones are slow.
_LEAST_LOGIT = np.float32(-60)
_BLOCK = 4  # targets at once: their weights stay in the cache


def iou_cost(
    tlbr: Float[np.ndarray, "n 4"], others: Float[np.ndarray, "m 4"]
) -> Float[np.ndarray, "n m"]:
    """1 - IoU of boxes whose right and bottom pixels lie inside."""
    low = np.maximum(tlbr[:, None, :2], others[:, :2])
    high = np.minimum(tlbr[:, None, 2:], others[:, 2:])
    shared = np.clip(high - low + 1, 0.0, None).prod(2)
    area = (tlbr[:, 2:] - tlbr[:, :2] + 1).prod(1)
    other_area = (others[:, 2:] - others[:, :2] + 1).prod(1)
    union = area[:, None] + other_area - shared
    return 1 - np.divide(shared, union, where=shared > 0, out=np.zeros_like(shared))


def assign(cost: Float[np.ndarray, "n m"], limit: float) -> Int[np.ndarray, "k 2"]:
    """(row, column) pairs of least total cost, where a row left alone costs `limit`.

    A pair of `limit` or more is never made; costs may be infinite. Ordered by row.
    """
    cost = np.asarray(cost, np.float64)
    row, col = scipy.optimize.linear_sum_assignment(np.minimum(cost, limit))
    is_near = cost[row, col] < limit
    return np.stack([row[is_near], col[is_near]], axis=1)


def unit_cells(
    feature: Float[np.ndarray, "n c rows cols"],
) -> Float[np.ndarray, "n s c"]:
    """The s = rows * cols positions of each feature map as unit vectors, float32."""
    size = feature.shape[2] * feature.shape[3]
    cells = np.asarray(feature, np.float32).reshape(*feature.shape[:2], size)
    cells = np.ascontiguousarray(cells.swapaxes(1, 2))
    norm = np.linalg.norm(cells, axis=2, keepdims=True)
    return cells / np.maximum(norm, _LEAST_NORM)


def appearance_cost(
    tracks: Float[np.ndarray, "n s c"], detections: Float[np.ndarray, "m s c"]
) -> Float[np.ndarray, "n m"]:
    """How badly tracks and detections are rebuilt from each other's positions.

    Each position of a track attends to all positions of all detections, and the part
    of the answer that comes from one detection is that detection's reconstruction of
    the track; likewise backwards. A detection that others explain better rebuilds
    little, so the costs of a row compete. The cost is 1 - the mean of both cosines.

    Args:
      tracks: positions of unit length, from `unit_cells`.
      detections: the same of the other side.
    """
    if not len(tracks) or not len(detections):
        return np.zeros((len(tracks), len(detections)), np.float32)
    depth = tracks.shape[2]
    logits = tracks.reshape(-1, depth) @ detections.reshape(-1, depth).T
    logits *= np.float32(SHARPNESS)
    forward = _rebuilt_cosine(logits, tracks, detections)
    backward = _rebuilt_cosine(logits.T, detections, tracks)
    return 1 - (forward + backward.T) / 2


def _rebuilt_cosine(
    logits: np.ndarray, targets: np.ndarray, sources: np.ndarray
) -> np.ndarray:
    """(targets, sources): cosine of each target with what each source makes of it."""
    size, rows = targets.shape[1], []
    for i in range(0, len(targets), _BLOCK):
        some = targets[i : i + _BLOCK]
        part = np.ascontiguousarray(logits[i * size : (i + len(some)) * size])
        rebuilt = _rebuild(part, sources)
        rebuilt = rebuilt.reshape(len(sources), len(some), -1)
        flat = some.reshape(len(some), -1)
        product = np.einsum("mnk,nk->nm", rebuilt, flat)
        norm = np.sqrt(np.einsum("mnk,mnk->nm", rebuilt, rebuilt))
        flat_norm = np.linalg.norm(flat, axis=1)[:, None]
        product /= np.maximum(norm, _LEAST_NORM) * np.maximum(flat_norm, _LEAST_NORM)
        rows.append(product)
    return np.concatenate(rows)


def _rebuild(logits: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """(m, r, c): each source's part of what r positions attend to."""
    count, size, _ = sources.shape
    weight = logits - logits.max(1, keepdims=True)
    np.exp(np.maximum(weight, _LEAST_LOGIT, out=weight), out=weight)
    total = weight.sum(1, keepdims=True)
    rebuilt = weight.reshape(-1, count, size).swapaxes(0, 1) @ sources
    rebuilt /= total
    return rebuilt


def with_motion(
    cost: Float[np.ndarray, "n m"],
    distance: Float[np.ndarray, "n m"],
    share: float,
    is_gated: bool,
) -> Float[np.ndarray, "n m"]:
    """The cost mixed with the distance to where the track should be.

    Args:
      cost: of appearance.
      distance: squared Mahalanobis distance.
      share: of the cost; the rest is the distance's.
      is_gated: whether a detection beyond the gate costs infinity.
    """
    mixed = share * cost + (1 - share) * distance
    if is_gated:
        mixed = np.where(distance > kalman.GATE, np.inf, mixed)
    return mixed.astype(np.float32)


def with_category(
    cost: Float[np.ndarray, "n m"],
    category: Int[np.ndarray, " n"],
    other: Int[np.ndarray, " m"],
) -> Float[np.ndarray, "n m"]:
    """The cost plus the difference of the class numbers: 1 or more forbids a pair."""
    difference = np.abs(category[:, None] - other)
    return cost + difference.astype(np.float32)
