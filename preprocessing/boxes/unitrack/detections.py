"""A frame's detections, checked before the tracker uses them."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from preprocessing.boxes.unitrack import association


class Detections(NamedTuple):
    """What a detector found in one frame.

    `tlwh` is left, top, width, height in pixels; detections of another `category` than
    a track's are not matched by appearance (-1 for all: no such rule). `feature` is a
    map of the box's looks, UniTrack's has 4 x 10 positions; its scale does not matter.
    """

    tlwh: Float[np.ndarray, "n 4"]
    score: Float[np.ndarray, " n"]
    category: Int[np.ndarray, " n"]
    feature: Float[np.ndarray, "n c rows cols"]


class Seen(NamedTuple):
    """The detections of one frame that count, boxes and scores in float64.

    `index` is the position among all detections of the frame, `cells` are the unit
    vectors of `association.unit_cells`.
    """

    index: Int[np.ndarray, " n"]
    tlwh: Float[np.ndarray, "n 4"]
    score: Float[np.ndarray, " n"]
    category: Int[np.ndarray, " n"]
    cells: Float[np.ndarray, "n s c"]

    def __len__(self) -> int:
        return len(self.index)

    def take(self, which: np.ndarray) -> "Seen":
        """The detections at the positions `which`."""
        return Seen(*(array[which] for array in self))


def look(detections: Detections, threshold: float) -> Seen:
    """The detections with a score above the threshold.

    Raises:
      ValueError: if the arrays do not belong together, a number is not finite or a
        box has no area.
    """
    tlwh = np.asarray(detections.tlwh, np.float64)
    score = np.asarray(detections.score, np.float64)
    category = np.asarray(detections.category)
    feature = np.asarray(detections.feature, np.float32)
    n = len(score)
    shapes = tlwh.shape, score.shape, category.shape, feature.shape[:1]
    if shapes != ((n, 4), (n,), (n,), (n,)) or feature.ndim != 4:
        raise ValueError(
            f"detections of one frame have shapes {tlwh.shape}, {score.shape},"
            f" {category.shape}, {feature.shape}; tlwh must be (n, 4), score and"
            " category (n,), feature (n, channels, rows, columns)"
        )
    for name, array in (("tlwh", tlwh), ("score", score), ("feature", feature)):
        if not np.isfinite(array).all():
            raise ValueError(f"detections of one frame: {name} holds NaN or infinity")
    flat = np.flatnonzero((tlwh[:, 2:] <= 0).any(1))
    if len(flat):
        raise ValueError(
            f"detection {flat[0]} has width and height {tlwh[flat[0], 2:].tolist()};"
            " leave out boxes without area"
        )
    index = np.flatnonzero(score > threshold)
    cells = association.unit_cells(feature[index])
    return Seen(index, tlwh[index], score[index], category[index], cells)
