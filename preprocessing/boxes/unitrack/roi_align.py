"""Features of boxes: RoIAlign to a fixed grid, as the tracker's features are cut."""

import numpy as np
from jaxtyping import Float

ROWS, COLS = 4, 10  # wide, although people are tall: as the tracker has it


def roi_align(
    features: Float[np.ndarray, "c h w"], xyxy: Float[np.ndarray, "n 4"]
) -> Float[np.ndarray, "n c 4 10"]:
    """Mean of bilinear samples in each of 4 x 10 parts of each box, float32.

    Samples a part has: the box's cells per part, rounded up (sampling ratio -1).
    Corners are not moved by half a cell (aligned False). He et al. 2017; the rules at
    the border are torchvision's.

    Args:
      features: one picture's.
      xyxy: in cells of `features`; may reach past them, where the features are 0.
    """
    depth, height, width = features.shape
    flat = np.asarray(features, np.float32)
    out = np.zeros((len(xyxy), depth, ROWS, COLS), np.float32)
    for i, (left, top, right, bottom) in enumerate(np.asarray(xyxy, np.float32)):
        down = _weights(top, bottom, ROWS, height)
        across = _weights(left, right, COLS, width)
        out[i] = down @ flat @ across.T
    return out


def _weights(
    start: np.float32, end: np.float32, parts: int, size: int
) -> Float[np.ndarray, "parts size"]:
    """How much each of `size` cells counts in each part of a stretch.

    Bilinear sampling is the product of this along both axes.
    """
    length = np.maximum(end - start, np.float32(1)) / np.float32(parts)
    count = int(np.ceil(length))
    within = (np.arange(count, dtype=np.float32) + np.float32(0.5)) / np.float32(count)
    part = np.arange(parts, dtype=np.float32)
    place = (start + part[:, None] * length + within * length).reshape(-1)
    is_inside = (place >= -1) & (place <= size)
    place = np.clip(place, 0, size - 1)
    low = np.minimum(place.astype(int), size - 1)
    high = np.minimum(low + 1, size - 1)
    share = place - low
    weight = np.zeros((len(place), size), np.float32)
    sample = np.arange(len(place))
    weight[sample, low] += (1 - share) * is_inside
    weight[sample, high] += share * is_inside
    return weight.reshape(parts, count, size).mean(1)
