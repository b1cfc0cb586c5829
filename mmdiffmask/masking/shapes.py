"""Units that look at no label: what is hidden together as tubes, frames, blocks, boxes.

Controls for the shape of a mask. What is drawn here depends on (seed, epoch, example
id) alone, as masks do (design.md section 4.4).
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from mmdiffmask import seeds
from mmdiffmask.masking import units
from mmdiffmask.masking.units import ClipUnits, Score, Settings, Units
from mmdiffmask.tokens import name_hash

BLOCK_SHARE = 0.15  # of a frame (V-JEPA's short-range blocks)
BLOCK_ASPECT = (0.75, 1.5)  # height over width
MOST_BLOCKS = 64  # more never count: by then nearly everything is covered


def generator(settings: Settings, example_id: str, purpose: str) -> np.random.Generator:
    """Draws for one example and one purpose; others in every epoch if masks are."""
    names = int(name_hash(purpose)), int(name_hash(example_id))
    # Always a number for the epoch, so that a seed's upper word cannot pass for one.
    epoch = 0 if settings.epoch is None else 1 + settings.epoch
    return seeds.generator(settings.seed, *names, epoch)


def tubes(
    record: Any,
    is_patch_valid: Bool[np.ndarray, "t n"],
    score: Score | None,
    settings: Settings,
) -> ClipUnits:
    """The same patch (cell) of all frames together. arXiv 2203.12602 (VideoMAE)."""
    del record, score
    group = units.group_of_patch(settings.grid, settings.masking.mask_unit)
    name = np.broadcast_to(group, is_patch_valid.shape)
    return units.of_names(name, is_patch_valid)


def whole_frames(
    record: Any,
    is_patch_valid: Bool[np.ndarray, "t n"],
    score: Score | None,
    settings: Settings,
) -> ClipUnits:
    """All patches of a frame together."""
    del record, score, settings
    frame = np.arange(len(is_patch_valid))[:, None]
    return units.of_names(np.broadcast_to(frame, is_patch_valid.shape), is_patch_valid)


def blocks(
    record: Any,
    is_patch_valid: Bool[np.ndarray, "t n"],
    score: Score | None,
    settings: Settings,
) -> ClipUnits:
    """Rectangles of 15 % of a frame, each in all frames, the first the highest score.

    arXiv 2404.08471 (V-JEPA's multi-block, short-range). What two of them cover belongs
    to the first, so taking them by score hides their union. Departs: as many as the
    budget takes, the last one cut to it, in place of eight; long-range blocks, 70 % of
    a frame, pass the budget and are left out.
    """
    del score
    rng = generator(settings, record.example_id, "blocks")
    rows, cols = token_grid(settings)
    name = np.full((rows, cols), MOST_BLOCKS)
    for i in range(MOST_BLOCKS):
        aspect = rng.uniform(BLOCK_ASPECT[0], BLOCK_ASPECT[1])
        area = BLOCK_SHARE * rows * cols
        height = min(max(1, round(np.sqrt(area * aspect))), rows)
        width = min(max(1, round(np.sqrt(area / aspect))), cols)
        top, left = rng.integers([rows - height + 1, cols - width + 1])
        block = name[top : top + height, left : left + width]
        block[block == MOST_BLOCKS] = i
        if (name < MOST_BLOCKS).all():
            break
    group = units.group_of_patch(settings.grid, settings.masking.mask_unit)
    of_patch = np.broadcast_to(name.reshape(-1)[group], is_patch_valid.shape)
    first_best = np.arange(MOST_BLOCKS + 1, 0, -1, dtype=np.float64)
    return units.of_names(of_patch, is_patch_valid, first_best)


def token_grid(settings: Settings) -> tuple[int, int]:
    """Rows and columns of what is hidden together in a frame: patches, or cells."""
    grid = settings.grid
    step = grid.pool if settings.masking.mask_unit == "cell" else 1
    return grid.rows // step, grid.cols // step


def moved(
    kinds: Sequence[str],
    record: Any,
    is_patch_valid: Bool[np.ndarray, "t n"],
    score: Score | None,
    settings: Settings,
) -> ClipUnits:
    """The boxes of these kinds, each at another place of its frame, as large as it is.

    A box is the patches (cells) that it passes the overlap in, so its form stays the
    same to the patch. A box that fills its frame cannot move.
    """
    of_kinds = np.flatnonzero([kind in kinds for kind in record.boxes.kind])
    boxes = record.boxes.take(of_kinds)
    rng = generator(settings, record.example_id, f"moved {kinds}")
    group = units.group_of_patch(settings.grid, settings.masking.mask_unit)
    shape = token_grid(settings)
    covered = np.zeros((len(boxes), len(group)))
    for i, share in enumerate(np.asarray(record.covered_share)[of_kinds]):
        is_valid = is_patch_valid[boxes.frame[i]]
        in_box = over_tokens((share > settings.min_overlap) & is_valid, group, shape)
        if in_box.any():
            room = over_tokens(is_valid, group, shape)
            covered[i] = elsewhere(rng, in_box, room).reshape(-1)[group]
    return units.assign(
        covered,
        boxes.frame,
        np.zeros(len(boxes)) if score is None else score(boxes, settings),
        is_patch_valid,
        min_overlap=0.0,  # the overlap was looked at before they were moved
        group_of_patch=group,
        selection=settings.masking.selection,
        track=boxes.track if settings.masking.tracks == "joined" else None,
    )


def elsewhere(
    rng: np.random.Generator,
    in_box: Bool[np.ndarray, "r c"],
    room: Bool[np.ndarray, "r c"],
) -> Bool[np.ndarray, "r c"]:
    """A box at another place inside the room, every one alike; the same if none is.

    Args:
      rng: chooses the place.
      in_box: the box, inside the room.
      room: where the frame has picture: a rectangle.
    """
    (top, bottom), (left, right) = map(_ends, (in_box.any(1), in_box.any(0)))
    (first, last), (near, far) = map(_ends, (room.any(1), room.any(0)))
    down = np.arange(first - top, last - bottom + 1)
    across = np.arange(near - left, far - right + 1)
    steps = [(i, j) for i in down for j in across if i or j]
    if not steps:
        return in_box
    return np.roll(in_box, steps[rng.integers(len(steps))], (0, 1))


def _ends(is_used: Bool[np.ndarray, " n"]) -> tuple[int, int]:
    """The first and the last that is used."""
    places = np.flatnonzero(is_used)
    return int(places[0]), int(places[-1])


def over_tokens(
    is_one: Bool[np.ndarray, " n"], group: Int[np.ndarray, " n"], shape: tuple[int, int]
) -> Bool[np.ndarray, "r c"]:
    """Whether any patch of each token is one."""
    in_token = np.zeros(shape, bool)
    in_token.reshape(-1)[group[is_one]] = True
    return in_token


def of_another(
    kinds: Sequence[str],
    record: Any,
    is_patch_valid: Bool[np.ndarray, "t n"],
    score: Score | None,
    settings: Settings,
) -> ClipUnits:
    """The boxes of another clip, frame for frame; none where no other clip has any."""
    lender = settings.lend(record, kinds)
    if lender is None:
        return units.patches(record, is_patch_valid, None, settings)
    return units.of_boxes(kinds, lender, is_patch_valid, score, settings)


def outside(
    kinds: Sequence[str],
    record: Any,
    is_patch_valid: Bool[np.ndarray, "t n"],
    score: Score | None,
    settings: Settings,
) -> ClipUnits:
    """As the boxes, but score 1 outside them and 0 inside: what is hidden is turned."""
    del score
    clip = units.of_boxes(kinds, record, is_patch_valid, None, settings)
    is_used = np.arange(clip.unit_score.size) <= clip.unit_of_token.max(initial=-1)
    is_outside = is_used & ~clip.is_box_unit
    return clip._replace(unit_score=is_outside.astype(np.float32))


TUBES = Units("tube", tubes, is_box=False, is_whole=True)
FRAMES = Units("frame", whole_frames, is_box=False, is_whole=True)
BLOCKS = Units("block", blocks, is_box=False, is_whole=True)


def moved_boxes(kind: str) -> Units:
    """Units of the boxes of a kind, moved."""
    make = functools.partial(moved, (kind,))
    return Units(f"moved {kind}", make, is_box=True, boxes=(kind,))


def another_s_boxes(kind: str) -> Units:
    """Units of another clip's boxes of a kind."""
    make = functools.partial(of_another, (kind,))
    return Units(f"another clip's {kind}", make, is_box=True, boxes=(kind,))


def outside_boxes(kind: str) -> Units:
    """Units of what lies outside the boxes of a kind."""
    make = functools.partial(outside, (kind,))
    return Units(f"patch outside {kind}", make, is_box=False, boxes=(kind,))
