"""Detected boxes to the boxes and the patch map of a record."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from mmdiffmask.data.records import frames as frames_lib
from mmdiffmask.grid import PatchGrid
from mmdiffmask.types import Boxes


def no_boxes() -> Boxes:
    """Boxes of a clip in which nothing was found, or looked for."""
    return Boxes(
        frame=np.zeros(0, np.int32),
        xyxy_px=np.zeros((0, 4), np.float32),
        kind=(),
        label=(),
        score=np.zeros(0, np.float32),
        track=np.zeros(0, np.int32),
        source=(),
    )


def of_window(boxes: Boxes, place_of_frame: Mapping[int, int]) -> Boxes:
    """The boxes of a window's frames, ordered by its places.

    Args:
      boxes: of all frames that were looked at together.
      place_of_frame: which of those frames are the window's, and their places.
    """
    places = np.array([place_of_frame.get(int(f), -1) for f in boxes.frame], np.int32)
    order = np.argsort(places, kind="stable")
    order = order[places[order] >= 0]
    taken = boxes.take(order)
    return Boxes(
        frame=places[order],
        xyxy_px=taken.xyxy_px.astype(np.float32),
        kind=taken.kind,
        label=taken.label,
        score=taken.score.astype(np.float32),
        track=taken.track.astype(np.int32),
        source=taken.source,
    )


def on_grid(
    grid: PatchGrid,
    boxes: Boxes,
    source_size_px: Int[np.ndarray, "t 2"],
    stored_size_px: Int[np.ndarray, "t 2"],
) -> tuple[Boxes, Float[np.ndarray, "m n"]]:
    """The boxes that touch the picture, and the share of each patch they cover.

    A box that lies wholly beyond its frame, or has no area, hides nothing and could
    never be a unit.
    """
    share = frames_lib.covered_share(grid, boxes, source_size_px, stored_size_px)
    touching = np.flatnonzero(share.any(1))
    return boxes.take(touching), share[touching]
