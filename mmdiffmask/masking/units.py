"""Units, which are masked as a whole, from the patches and boxes of a clip."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from mmdiffmask import config
from mmdiffmask import grid as grids
from mmdiffmask.masking.tables import Table


class ClipUnits(NamedTuple):
    """The units of one clip, as the fields of `VideoBatch` want them.

    `unit_of_token` is -1 for patches that are never masked. Units of boxes come
    first, in the order of the boxes that own a patch, then the background; there are
    as many slots as patches, and slots without a patch have score 0.
    """

    unit_of_token: Int[np.ndarray, " q"]
    unit_score: Float[np.ndarray, " q"]
    is_box_unit: Bool[np.ndarray, " q"]


class Settings(NamedTuple):
    """What units and scores are made from, beside the record itself.

    `min_overlap` is the share of a patch that a box must pass to own it; `embeddings`
    is label -> vector, or None (`anchors.label_similarity`); `seed` is the run's, for
    units that are drawn, and `epoch` that of masks that change with it, else None.
    `tables` has the arrays by example id, by the setting that names their file.
    `pictures` gives a record's patches (t, n, p), `lend` another record that has boxes
    of these kinds, or None where no other clip has any. `attention` gives each frame's
    [CLS] attention to its patches (t, n), of a record; None: it is not known.
    """

    grid: grids.PatchGrid
    masking: config.Masking
    min_overlap: float
    embeddings: dict[str, np.ndarray] | None = None
    seed: int = 0
    epoch: int | None = None
    tables: Mapping[str, Table] | None = None
    pictures: Callable[[Any], np.ndarray] | None = None
    lend: Callable[[Any, Sequence[str]], Any] | None = None
    attention: Callable[[Any], np.ndarray] | None = None


# (boxes, settings) -> their scores (m,), or (record, settings) -> its patches' (t, n)
Score = Callable[[Any, Settings], np.ndarray]
# (record, valid patches (t, n), settings) -> scores of the patches (t, n), of which
# every unit has the mean
PatchScore = Callable[[Any, np.ndarray, Settings], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Units:
    """What a strategy hides as a whole.

    Attributes:
      kind: what a unit is, in a word or two ("patch", "body").
      make: (record, valid patches (t, n), score or None, settings) -> `ClipUnits`.
      is_box: units are boxes, and background only fills what they leave.
      is_whole: units are drawn whole, else every patch (cell) for itself; so are boxes.
      boxes: kinds of the boxes that units are made from; () needs none.
    """

    kind: str
    make: Callable[[Any, np.ndarray, Score | None, Settings], ClipUnits]
    is_box: bool
    is_whole: bool = False
    boxes: tuple[str, ...] = ()


def patches(
    record: Any,
    is_patch_valid: Bool[np.ndarray, "t n"],
    score: Score | None,
    settings: Settings,
) -> ClipUnits:
    """Every valid patch (or cell) alone, with the mean score of its valid patches.

    Args:
      record: a clip, of which the score is asked.
      is_patch_valid: patches that may be masked at all.
      score: of the record's patches (t, n); None: all 0.
      settings: grid and mask unit.
    """
    units = assign(
        np.zeros((0, settings.grid.n_patches)),
        np.zeros(0, int),
        np.zeros(0),
        is_patch_valid,
        min_overlap=settings.min_overlap,
        group_of_patch=group_of_patch(settings.grid, settings.masking.mask_unit),
    )
    if score is None:
        return units
    value = np.asarray(score(record, settings), np.float64)  # a mask is 0 and 1
    return with_means(units, value.reshape(is_patch_valid.shape))


def with_means(units: ClipUnits, value: Float[np.ndarray, "t n"]) -> ClipUnits:
    """The units, each with the mean value of its patches as its score."""
    is_valid = units.unit_of_token >= 0
    unit, slots = units.unit_of_token[is_valid], len(units.unit_score)
    total = np.bincount(unit, value.reshape(-1)[is_valid], slots)
    mean = total / np.maximum(np.bincount(unit, None, slots), 1)
    return units._replace(unit_score=mean.astype(np.float32))


def of_boxes(
    kinds: Sequence[str],
    record: Any,
    is_patch_valid: Bool[np.ndarray, "t n"],
    score: Score | None,
    settings: Settings,
) -> ClipUnits:
    """The boxes of some kinds, and each patch (cell) outside them alone.

    Args:
      kinds: of boxes.
      record: with `boxes` of every kind, maybe none, and the share of each patch that
        each covers (`covered_share`, of the settings' grid).
      is_patch_valid: patches that may be masked at all.
      score: of these boxes (m,); None: all 0.
      settings: grid, overlap, mask unit, selection, tracks.
    """
    chosen = np.flatnonzero([kind in kinds for kind in record.boxes.kind])
    boxes = record.boxes.take(chosen)
    return assign(
        np.asarray(record.covered_share, np.float64)[chosen],
        boxes.frame,
        np.zeros(len(boxes)) if score is None else score(boxes, settings),
        is_patch_valid,
        min_overlap=settings.min_overlap,
        group_of_patch=group_of_patch(settings.grid, settings.masking.mask_unit),
        selection=settings.masking.selection,
        track=boxes.track if settings.masking.tracks == "joined" else None,
    )


def of_names(
    name: Int[np.ndarray, "t n"],
    is_patch_valid: Bool[np.ndarray, "t n"],
    score: Float[np.ndarray, " names"] | None = None,
) -> ClipUnits:
    """Valid patches of the same number are one unit; no boxes.

    Args:
      name: of each patch, at least 0.
      is_patch_valid: patches that may be masked at all.
      score: of each number; None: all 0.
    """
    no_owner = np.full(name.shape, -1)
    units = _number(name, no_owner, np.zeros(0), is_patch_valid)
    if score is None:
        return units
    used = np.unique(name[is_patch_valid])
    units.unit_score[: len(used)] = score[used]
    return units


def none(n_patches: int) -> ClipUnits:
    """No unit at all: for whoever hides nothing of a clip's patches."""
    score, is_box = np.zeros(n_patches, np.float32), np.zeros(n_patches, bool)
    return ClipUnits(np.full(n_patches, -1, np.int32), score, is_box)


PATCHES = Units("patch", patches, is_box=False)
# Units of boxes where they are.
AT_BOXES = BODIES, FACES, OBJECTS, THINGS = tuple(
    Units(
        " or ".join(kinds), functools.partial(of_boxes, kinds), is_box=True, boxes=kinds
    )
    for kinds in (("body",), ("face",), ("object",), ("body", "object"))
)


def group_of_patch(grid: grids.PatchGrid, mask_unit: str) -> Int[np.ndarray, " n"]:
    """What is hidden together in a frame: the patch itself, or its 2x2 cell."""
    if mask_unit == "cell":
        return grids.cell_of_patch(grid)
    return np.arange(grid.n_patches)


def assign(
    covered_share: Float[np.ndarray, "m n"],
    box_frame: Int[np.ndarray, " m"],
    similarity: Float[np.ndarray, " m"],
    is_patch_valid: Bool[np.ndarray, "t n"],
    *,
    min_overlap: float,
    group_of_patch: Int[np.ndarray, " n"],
    selection: str = "unit",
    track: Int[np.ndarray, " m"] | None = None,
) -> ClipUnits:
    """Gives every valid patch of a clip to a box or makes it a unit of its own.

    A patch belongs to a box that covers more than `min_overlap` of it; of several
    boxes to the one of higher similarity, then of smaller area, then the earlier one.
    With cells the same rule runs over all boxes of all valid patches of the cell.
    design.md sections 3 and 4; paper: appendix B.

    Args:
      covered_share: share of each patch of its frame that each box covers.
      box_frame: frame of each box, in [0, t).
      similarity: score of each box (by its label: Eq. 3), at least 0.
      is_patch_valid: False patches get unit -1.
      min_overlap: in [0, 1).
      group_of_patch: patches of a frame with the same number stay together.
      selection: "unit": a box is one unit; "patch": each of its patches (cells) is
        a unit with the box's score.
      track: of each box, -1 = none: the boxes of a track are one unit, which has their
        best score. None: each box alone.
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
    if track is not None and m:
        first, similarity = _join(track, np.asarray(similarity))
        owner_of_patch = np.where(owner_of_patch < 0, -1, first[owner_of_patch])
    is_own_unit = (owner_of_patch < 0) | (selection == "patch")
    name = np.where(is_own_unit, m + group, owner_of_patch)
    name = np.where(owner_of_patch < 0, name + t * n_groups, name)  # background last
    return _number(name, owner_of_patch, similarity, is_patch_valid)


def _join(
    track: Int[np.ndarray, " m"], score: Float[np.ndarray, " m"]
) -> tuple[Int[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """The first box of each box's track, and the track's best score for every box."""
    alone = track.max() + 1 + np.arange(len(track))
    _, first, of_box = np.unique(
        np.where(track < 0, alone, track), return_index=True, return_inverse=True
    )
    best = np.zeros(len(first))
    np.maximum.at(best, of_box, score)
    return first[of_box], best[of_box]


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
