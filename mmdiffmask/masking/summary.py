"""Counts of what masks hide (whole boxes, cut boxes, background), from the masks."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Int

from mmdiffmask import grid as grids


@dataclasses.dataclass(frozen=True)
class MaskSummary:
    """What a strategy's masks were made of; shares of hidden patches over all clips.

    Attributes:
      clips: how many clips were looked at.
      clips_without_box: of these, clips in which no box has a valid patch.
      hidden_patches: hidden patches per clip, mean.
      hidden_share: hidden patches as a share of the valid ones.
      whole_box: hidden patches that lie in a box that is hidden as a whole.
      cut_box: those in a box of which a part stays visible.
      fill: those outside all boxes.
      boxes_share: part of the picture (valid patches) that lies in boxes.
      cells: cells with picture per clip, mean.
      cells_touched: cells with a hidden patch per clip, mean: what is predicted.
      cells_hidden: cells without any visible patch per clip, mean.
    """

    clips: int
    clips_without_box: int
    hidden_patches: float
    hidden_share: float
    whole_box: float
    cut_box: float
    fill: float
    boxes_share: float
    cells: float
    cells_touched: float
    cells_hidden: float


def summarise_masks(
    grid: grids.PatchGrid,
    is_masked: Bool[np.ndarray, "b t n"],
    is_patch_valid: Bool[np.ndarray, "b t n"],
    unit_of_token: Int[np.ndarray, "b q"],
    is_box_unit: Bool[np.ndarray, "b u"],
) -> MaskSummary:
    """Counts what masks were made of. design.md section 4, end.

    Hand in the BOX units for every strategy, random ones too: then the rows say the
    same thing.

    Args:
      grid: the patch grid.
      is_masked: hidden patches.
      is_patch_valid: patches with picture.
      unit_of_token: unit of each patch of a clip; -1 = none.
      is_box_unit: which units are boxes.
    """
    is_masked, is_patch_valid = np.asarray(is_masked), np.asarray(is_patch_valid)
    hidden = is_masked.reshape(len(is_masked), -1)
    clips = zip(hidden, unit_of_token, is_box_unit, strict=True)
    whole, cut, in_box = np.array([_box_counts(*c) for c in clips], np.int64).T
    cells = _cell_counts(grid, is_masked, is_patch_valid)
    total, pictures = max(int(hidden.sum()), 1), max(int(is_patch_valid.sum()), 1)
    return MaskSummary(
        clips=len(hidden),
        clips_without_box=int((in_box == 0).sum()),
        hidden_patches=float(hidden.sum(1).mean()),
        hidden_share=float(hidden.sum() / pictures),
        whole_box=float(whole.sum() / total),
        cut_box=float(cut.sum() / total),
        fill=float((hidden.sum() - whole.sum() - cut.sum()) / total),
        boxes_share=float(in_box.sum() / pictures),
        **cells,
    )


def _box_counts(
    hidden: Bool[np.ndarray, " q"],
    unit: Int[np.ndarray, " q"],
    is_box: Bool[np.ndarray, " u"],
) -> tuple[int, int, int]:
    """Hidden patches in whole boxes, in cut boxes, and all patches in boxes."""
    in_box = (unit >= 0) & np.asarray(is_box)[np.maximum(unit, 0)]
    size = np.bincount(unit[in_box], minlength=len(is_box))
    gone = np.bincount(unit[in_box & hidden], minlength=len(is_box))
    is_whole = gone == size
    return int(gone[is_whole].sum()), int(gone[~is_whole].sum()), int(in_box.sum())


def _cell_counts(
    grid: grids.PatchGrid, is_masked: np.ndarray, is_valid: np.ndarray
) -> dict[str, float]:
    """Means per clip: cells with picture, touched cells, wholly hidden cells."""
    cell = grids.cell_of_patch(grid)
    onto = (cell[:, None] == np.arange(grid.n_cells)).astype(np.int64)  # (n, c)
    pictures = is_valid.astype(np.int64) @ onto
    hidden = (is_masked & is_valid).astype(np.int64) @ onto
    counts = {
        "cells": pictures > 0,
        "cells_touched": hidden > 0,
        "cells_hidden": (hidden == pictures) & (pictures > 0),
    }
    return {name: float(c.sum((1, 2)).mean()) for name, c in counts.items()}
