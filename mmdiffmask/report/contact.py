"""A contact sheet of one record, from its boxes, units and masks.

Panels of the segments up to the last that has a frame: the boxes in the
colours of their tracks; the units that masks are made of; what each strategy hides.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from mmdiffmask import grid as grids
from mmdiffmask import types
from mmdiffmask.report import marks, paper, pictures, weighing

# RGB; the first seven are Okabe and Ito's, the others differ from them in lightness.
PALETTE = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (190, 255, 130),
    (140, 90, 255),
    (255, 170, 190),
    (120, 70, 20),
    (0, 230, 230),
)
_FILL = 0.5  # opacity of a unit


@dataclasses.dataclass(frozen=True)
class Units:
    """The units of the record, as `VideoBatch` has them.

    Attributes:
      kinds: of the boxes they come from.
      of_patch: unit of each patch; -1 = never masked.
      is_box: units that come from a box; False = background, a patch or cell each.
      weight: of each unit; None: units are drawn without it.
    """

    kinds: tuple[str, ...]
    of_patch: Int[np.ndarray, "t n"]
    is_box: Bool[np.ndarray, " u"]
    weight: Float[np.ndarray, " u"] | None = None


def draw(
    grid: grids.PatchGrid,
    record: Any,
    units: Units,
    masks: Mapping[str, Bool[np.ndarray, "t n"]],
    notes: Sequence[str] = (),
) -> UInt8[np.ndarray, "H W 3"]:
    """The sheet of a record (`data.records.schema.Record`).

    Args:
      grid: the records' patch grid.
      record: frames, boxes, patch map.
      units: what masks are made of.
      masks: strategy -> hidden patches, in the order of the panels.
      notes: lines below what the record is.
    """
    clip = pictures.decode(record)
    size = paper.tile_px(grid.cols)
    colours = box_colours(record.boxes)
    shown = range(_end(record))

    def panel(heading: str, draw_tile: Callable[[int], np.ndarray]) -> list[np.ndarray]:
        tiles = [paper.captioned(draw_tile(i), _caption(record, i)) for i in shown]
        return [paper.text_line(heading), *paper.rows(tiles)]

    n_valid = int((units.of_patch >= 0).sum())
    parts = [paper.text_line(record.example_id, 0.7)]
    about = [_about(record), *notes]
    parts += [paper.text_line(text, 0.5, paper.GREY) for text in about]
    parts += panel(
        _tracks_heading(record.boxes),
        lambda i: draw_tracks(grid, clip, i, size, colours),
    )
    of_unit, tags = unit_colours(units, record, colours), {}
    if units.weight is not None:
        tags = weighing.tags(record.boxes, unit_boxes(units, record), units.weight)

    def draw_tagged(i: int) -> UInt8[np.ndarray, "H W 3"]:
        image = draw_units(grid, clip, i, size, units, of_unit)
        return weighing.write(image, grid, units.of_patch[i], tags, of_unit)

    parts += panel(_units_heading(units), draw_tagged)
    for name, hidden in masks.items():
        parts += panel(
            f"{name}: hides {int(hidden.sum())} of {n_valid} patches",
            lambda i, hidden=hidden: pictures.draw_frame(
                grid, clip, i, hidden[i], size=size
            ),
        )
    return paper.stack(parts)


def box_colours(boxes: types.Boxes) -> UInt8[np.ndarray, "m 3"]:
    """One colour for each track, in the order of their numbers.

    Boxes without a track have colours by their place among those of their frame and
    kind, so colours tell them apart in one frame, and say nothing over time.
    """
    tracks = np.unique(boxes.track[boxes.track >= 0])
    place = np.searchsorted(tracks, boxes.track)
    seen: dict[tuple[int, str], int] = {}
    for i in np.flatnonzero(boxes.track < 0):
        owner = int(boxes.frame[i]), boxes.kind[i]
        place[i] = seen[owner] = seen.get(owner, len(tracks) - 1) + 1
    return np.array(PALETTE, np.uint8)[place % len(PALETTE)].reshape(-1, 3)


def unit_colours(
    units: Units, record: Any, colours: UInt8[np.ndarray, "m 3"]
) -> dict[int, tuple[int, int, int]]:
    """The colour of each box unit: that of its box."""
    return {
        unit: tuple(int(c) for c in colours[box])
        for unit, box in unit_boxes(units, record).items()
    }


def unit_boxes(units: Units, record: Any) -> dict[int, int]:
    """The box of each box unit: the one whose patches it shares most of."""
    boxes, touched = record.boxes, record.covered_share > 0
    box_of_unit = {}
    for unit in np.flatnonzero(units.is_box):
        is_own = units.of_patch == unit
        frames = np.flatnonzero(is_own.any(1))
        if not len(frames):
            continue
        frame = int(frames[0])
        is_of = np.array([kind in units.kinds for kind in boxes.kind], bool)
        mine = np.flatnonzero(is_of & (boxes.frame == frame))
        both = (touched[mine] & is_own[frame]).sum(1)
        either = (touched[mine] | is_own[frame]).sum(1)
        box_of_unit[int(unit)] = int(mine[np.argmax(both / np.maximum(either, 1))])
    return box_of_unit


def draw_tracks(
    grid: grids.PatchGrid,
    clip: pictures.Clip,
    i: int,
    size: int,
    colours: UInt8[np.ndarray, "m 3"],
) -> UInt8[np.ndarray, "H W 3"]:
    """Frame i with grid and boxes: bodies and objects whole, faces dashed.

    Beside a box stands its track's number, at an object its label too.
    """
    image = pictures.draw_lines(pictures.draw_picture(grid, clip, i, size), size)
    image = np.ascontiguousarray(image)
    boxes, corners = pictures.drawn_boxes(grid, clip, i, size)
    of_frame = colours[clip.boxes.frame == i]
    limit = np.array([image.shape[1], image.shape[0]] * 2) - 2
    corners = np.clip(np.round(corners), 1, limit).astype(int)
    is_drawn = (corners[:, 2:] > corners[:, :2]).all(1)
    every = [k for k in range(len(boxes)) if is_drawn[k]]
    for k in every:
        colour = tuple(int(c) for c in of_frame[k])
        marks.outline(image, corners[k], colour, is_dashed=boxes.kind[k] == "face")
    is_taken = np.zeros(image.shape[:2], bool)
    for left, top, right, bottom in corners[is_drawn]:
        is_taken[top : bottom + 1, left : right + 1] = True
    for k in every:
        tag = marks.tag(boxes, k)
        if tag:
            colour = tuple(int(c) for c in of_frame[k])
            marks.write_tag(image, is_taken, tag, corners[k], colour)
    return image


def draw_units(
    grid: grids.PatchGrid,
    clip: pictures.Clip,
    i: int,
    size: int,
    units: Units,
    colours: Mapping[int, tuple[int, int, int]],
) -> UInt8[np.ndarray, "H W 3"]:
    """Frame i with the patches of each box unit filled, and every unit's border."""
    image = pictures.draw_picture(grid, clip, i, size)
    unit_of_patch = units.of_patch[i]
    for unit in np.unique(unit_of_patch[unit_of_patch >= 0]).tolist():
        if unit in colours:
            where = pictures.pixels(grid, unit_of_patch == unit, size)[..., None]
            mixed = (1 - _FILL) * image + _FILL * np.array(colours[unit])
            image = np.where(where, mixed, image).astype(np.uint8)
    return _draw_borders(
        grid, image, unit_of_patch, size, np.isin(unit_of_patch, list(colours))
    )


def _draw_borders(
    grid: grids.PatchGrid,
    image: UInt8[np.ndarray, "H W 3"],
    unit: Int[np.ndarray, " n"],
    size: int,
    is_box: Bool[np.ndarray, " n"],
) -> UInt8[np.ndarray, "H W 3"]:
    """Thin light lines between units, dark ones around those of a box."""
    unit, is_box = (
        values.reshape(grid.rows, grid.cols).repeat(size, 0).repeat(size, 1)
        for values in (unit, is_box)
    )
    thin, strong = np.zeros(unit.shape, bool), np.zeros(unit.shape, bool)
    down = (slice(None, -1), slice(None)), (slice(1, None), slice(None))
    across = tuple(side[::-1] for side in down)
    for before, after in (down, across):
        differs = unit[before] != unit[after]
        thin[after] |= differs
        is_strong = differs & (is_box[before] | is_box[after])
        strong[before] |= is_strong
        strong[after] |= is_strong
    lit = (0.6 * image + 0.4 * np.array(paper.PAPER)).astype(np.uint8)
    image = np.where(thin[..., None], lit, image)
    return np.where(strong[..., None], np.array(paper.INK, np.uint8), image)


def _end(record: Any) -> int:
    """How many segments there are up to the last that has a frame."""
    return 1 + int(np.flatnonzero(record.is_frame_valid).max(initial=0))


def _about(record: Any) -> str:
    parts = [pictures.count_boxes(record.boxes)]
    if not record.is_boxed:
        parts = ["no detector has looked at it"]
    if _end(record) < len(record.frames):
        parts.append(f"the last {len(record.frames) - _end(record)} have no frame")
    if record.question:
        parts.append(record.question)
    return ";  ".join(parts)


def _caption(record: Any, i: int) -> str:
    if not record.is_frame_valid[i]:
        return f"{i + 1}: no frame"
    return f"{i + 1}: {record.frame_time_s[i]:.2f} s"


def _tracks_heading(boxes: types.Boxes) -> str:
    tracks = len(np.unique(boxes.track[boxes.track >= 0]))
    lone = int((boxes.track < 0).sum())
    text = f"{tracks} track{'s' * (tracks != 1)}, a colour and a number each"
    if lone:
        text += f"; {lone} boxes without a track, coloured by box"
    return f"Boxes: {text}; faces are dashed"


def _units_heading(units: Units) -> str:
    """How many units there are, and of how many patches."""
    unit_of_patch = units.of_patch[units.of_patch >= 0]
    sizes = np.bincount(unit_of_patch, minlength=len(units.is_box))
    boxes = sizes[units.is_box & (sizes > 0)]
    others = sizes[~units.is_box & (sizes > 0)]
    text = f"{len(boxes)} from boxes of kind {' or '.join(units.kinds)}"
    if len(boxes):
        text += f" ({boxes.min()} to {boxes.max()} patches)"
    said = "; each with its label and weight" if units.weight is not None else ""
    return f"Units that are masked whole: {text}, {len(others)} of background{said}"
