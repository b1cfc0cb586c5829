"""What masks were made of, counted by hand."""

import numpy as np

from mmdiffmask import grid as grids
from mmdiffmask.masking import summary as mask_summary


def test_mask_summary_by_hand():
    grid = grids.PatchGrid(2, 4, 16)  # 8 patches, 2 cells a frame
    unit = np.array([[0, 0, 1, 1, 0, 0, 6, -1], [0, 1, 2, 3, 4, 5, 6, -1]])
    is_box = np.zeros((2, 8), bool)
    is_box[0, :2] = True  # clip 0: box 0 = the left cell, box 1 = top of the right one
    valid = np.ones((2, 1, 8), bool)
    valid[:, 0, 7] = False
    masked = np.zeros((2, 1, 8), bool)
    masked[0, 0, [0, 1, 4, 5, 2, 6]] = True  # box 0 whole, half of box 1, one patch
    masked[1, 0, [2, 3, 6]] = True  # all that is picture of the right cell
    found = mask_summary.summarise_masks(grid, masked, valid, unit, is_box)
    assert found == mask_summary.MaskSummary(
        clips=2,
        clips_without_box=1,
        hidden_patches=4.5,
        hidden_share=9 / 14,
        whole_box=4 / 9,
        cut_box=1 / 9,
        fill=4 / 9,
        boxes_share=6 / 14,
        cells=2.0,
        cells_touched=1.5,
        cells_hidden=1.0,
    )
