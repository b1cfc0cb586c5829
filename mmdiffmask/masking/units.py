"""Patches and boxes to units: what is masked as a whole."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from mmdiffmask import config, grid
from mmdiffmask.masking import anchors
from mmdiffmask.types import Boxes


class ClipUnits(NamedTuple):
    """The units of one clip, as the fields of `VideoBatch` want them.

    `unit_of_token` is -1 for patches that are never masked. Units of boxes come
    first, in the order of the boxes that own a patch, then the background; there are
    as many slots as patches, and slots without a patch have score 0.
    """

    unit_of_token: Int[np.ndarray, " q"]
    unit_score: Float[np.ndarray, " q"]
    is_box_unit: Bool[np.ndarray, " q"]


def from_boxes(
    patch_grid: grid.PatchGrid,
    masking: config.Masking,
    min_overlap: float,
    boxes: Boxes,
    covered_share: Float[np.ndarray, "m n"],
    is_patch_valid: Bool[np.ndarray, "t n"],
    embeddings: dict[str, np.ndarray] | None = None,
) -> ClipUnits:
    """The units of one clip under the settings: its boxes of the chosen kind.

    Args:
      patch_grid: the grid that `covered_share` was made for.
      masking: box kind, mask unit, selection and anchors.
      min_overlap: share of a patch that a box must pass to own it.
      boxes: all boxes of the clip, of every kind; may be none.
      covered_share: share of each patch that each box covers (`grid.covered_share`).
      is_patch_valid: patches that may be masked at all.
      embeddings: label -> vector, or None (`anchors.label_similarity`).
    """
    chosen = np.flatnonzero([kind == masking.boxes for kind in boxes.kind])
    boxes = boxes.take(chosen)
    return assign(
        np.asarray(covered_share, np.float64)[chosen],
        boxes.frame,
        anchors.box_similarity(boxes, masking.anchors, embeddings),
        is_patch_valid,
        min_overlap=min_overlap,
        group_of_patch=group_of_patch(patch_grid, masking.mask_unit),
        selection=masking.selection,
    )


def group_of_patch(patch_grid: grid.PatchGrid, mask_unit: str) -> Int[np.ndarray, " n"]:
    """What is hidden together in a frame: the patch itself, or its 2x2 cell."""
    if mask_unit == "cell":
        return grid.cell_of_patch(patch_grid)
    return np.arange(patch_grid.n_patches)


def assign(
    covered_share: Float[np.ndarray, "m n"],
    box_frame: Int[np.ndarray, " m"],
    similarity: Float[np.ndarray, " m"],
    is_patch_valid: Bool[np.ndarray, "t n"],
    *,
    min_overlap: float,
    group_of_patch: Int[np.ndarray, " n"],
    selection: str = "unit",
) -> ClipUnits:
    """Gives every valid patch of a clip to a box or makes it a unit of its own.

    A patch belongs to a box that covers more than `min_overlap` of it; of several
    boxes to the one of higher similarity, then of smaller area, then the earlier one.
    With cells the same rule runs over all boxes of all valid patches of the cell.
    DESIGN sections 3 and 4; paper: appendix B.

    Args:
      covered_share: share of each patch of its frame that each box covers.
      box_frame: frame of each box, in [0, t).
      similarity: score of each box's label (Eq. 3), in [0, 1].
      is_patch_valid: False patches get unit -1.
      min_overlap: in [0, 1).
      group_of_patch: patches of a frame with the same number stay together.
      selection: "unit": a box is one unit; "patch": each of its patches (cells) is
        a unit with the box's score.
    """
    t, n = is_patch_valid.shape
    n_groups = int(group_of_patch.max()) + 1
    owner = np.full((t, n_groups), -1)
    area = covered_share.sum(1, dtype=np.float64)  # in patches, all in one frame
    best_first = np.lexsort((np.arange(len(area)), area, -similarity))
    for box in best_first[::-1]:  # the best writes last
        frame = box_frame[box]
        is_inside = (covered_share[box] > min_overlap) & is_patch_valid[frame]
        owner[frame, group_of_patch[is_inside]] = box
    group = np.arange(t)[:, None] * n_groups + group_of_patch  # (t, n) over the clip
    owner_of_patch = owner.reshape(-1)[group]
    m = len(area)
    is_own_unit = (owner_of_patch < 0) | (selection == "patch")
    name = np.where(is_own_unit, m + group, owner_of_patch)
    name = np.where(owner_of_patch < 0, name + t * n_groups, name)  # background last
    return _number(name, owner_of_patch, similarity, is_patch_valid)


def _number(
    name: np.ndarray,
    owner_of_patch: np.ndarray,
    similarity: np.ndarray,
    is_patch_valid: np.ndarray,
) -> ClipUnits:
    """Numbers the units in use from 0, in the order of their names."""
    is_valid = is_patch_valid.reshape(-1)
    _, first, unit = np.unique(
        name.reshape(-1)[is_valid], return_index=True, return_inverse=True
    )
    unit_of_token = np.full(is_valid.shape, -1, np.int32)
    unit_of_token[is_valid] = unit
    owner = np.full(is_valid.shape, -1)
    owner[: len(first)] = owner_of_patch.reshape(-1)[is_valid][first]
    is_box_unit = owner >= 0
    unit_score = np.zeros(is_valid.shape, np.float32)
    unit_score[is_box_unit] = similarity[owner[is_box_unit]]
    return ClipUnits(unit_of_token, unit_score, is_box_unit)
