"""Small records as masking sees them: random boxes on a grid, frames without pixels."""

import types

import numpy as np

from mmdiffmask import grid
from mmdiffmask.types import Boxes

LABELS = ("person", "dog", "cup")
KINDS = ("body", "face", "object")


def make(patch_grid, seed, t=3, n_boxes=5):
    """(record, valid patches): any aspect, maybe a missing frame, boxes anywhere."""
    rng = np.random.default_rng([seed, patch_grid.rows, patch_grid.cols])
    width, height = (int(x) for x in rng.integers(100, 400, 2))
    fit = grid.fit_frame(patch_grid, width, height)
    is_frame = np.ones(t, bool)
    is_frame[rng.integers(t)] = rng.random() < 0.5
    size = rng.uniform(0.05, 0.7, (n_boxes, 2)) * [width, height]
    corner = rng.uniform(-0.1, 0.9, (n_boxes, 2)) * [width, height]
    boxes = Boxes(
        frame=rng.integers(0, t, n_boxes),
        xyxy_px=np.concatenate([corner, corner + size], 1),
        kind=tuple(rng.choice(KINDS, n_boxes)),
        label=tuple(rng.choice(LABELS, n_boxes)),
        score=np.ones(n_boxes),
        track=rng.integers(-1, 2, n_boxes),
        source=("test",) * n_boxes,
    )
    share = grid.covered_share(patch_grid, grid.fit_boxes(fit, boxes.xyxy_px))
    record = types.SimpleNamespace(
        example_id=f"example {seed}",
        clip=f"clip {seed}",
        boxes=boxes,
        covered_share=share,
        frames=(b"",) * t,
        is_frame_valid=is_frame,
    )
    is_valid = is_frame[:, None] & grid.valid_patches(patch_grid, fit)[None]
    return record, is_valid


def pixels(record, patch_grid):
    """Random bytes in place of its pictures."""
    rng = np.random.default_rng(len(record.boxes))
    shape = (len(record.frames), patch_grid.n_patches, 12)
    return rng.integers(0, 256, shape, dtype=np.uint8)
