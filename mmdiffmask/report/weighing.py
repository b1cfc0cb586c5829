"""Labels and weights of a record's units, as words: what Eq. 4 prefers in it."""

import collections
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8

from mmdiffmask import grid as grids
from mmdiffmask import types
from mmdiffmask.report import marks, pictures

KINDS = ("body", "face", "object")


def by_label(
    boxes: types.Boxes, weight: Float[np.ndarray, " m"], anchors: Sequence[str]
) -> list[str]:
    """A line for each kind of boxes: labels with their weights and counts.

    Args:
      boxes: of a record.
      weight: of each box, by its label.
      anchors: what labels were compared with.
    """
    weights = np.asarray(weight, np.float64).tolist()
    counts = collections.Counter(zip(boxes.kind, boxes.label, weights, strict=True))
    lines = [f"Weight of a unit by its label (Eq. 4), anchors {', '.join(anchors)}:"]
    for kind in KINDS:
        here = [(w, n, label) for (k, label, w), n in counts.items() if k == kind]
        here.sort(key=lambda entry: (-entry[0], -entry[1], entry[2]))
        if here:
            said = [f"{label} {_number(w)} ({_boxes(n)})" for w, n, label in here]
            lines.append(f"    {kind}: {', '.join(said)}")
    return lines if len(lines) > 1 else []


def tags(
    boxes: types.Boxes,
    box_of_unit: Mapping[int, int],
    weight: Float[np.ndarray, " u"],
) -> dict[int, str]:
    """Unit -> the label of its box and its weight, such as "chair 0.50"."""
    return {
        unit: f"{boxes.label[box]} {_number(float(weight[unit]))}"
        for unit, box in box_of_unit.items()
    }


def _number(weight: float) -> str:
    """Two digits, or more where they would say 0 of what is not."""
    return f"{weight:.2f}" if weight == 0 or weight >= 0.005 else f"{weight:.0e}"


def _boxes(count: int) -> str:
    return f"{count} box{'es' * (count != 1)}"


def write(
    image: UInt8[np.ndarray, "H W 3"],
    grid: grids.PatchGrid,
    unit_of_patch: Int[np.ndarray, " n"],
    tag_of_unit: Mapping[int, str],
    colours: Mapping[int, pictures.Colour],
) -> UInt8[np.ndarray, "H W 3"]:
    """A frame's picture with each unit's tag beside it.

    Args:
      image: patches are squares of `image.shape[0] / grid.rows` pixels.
      grid: of the patches.
      unit_of_patch: of this frame.
      tag_of_unit: units without a tag get none.
      colours: of the units.
    """
    image, size = np.ascontiguousarray(image), image.shape[0] // grid.rows
    place = unit_of_patch.reshape(grid.rows, grid.cols)
    corners_of: dict[int, np.ndarray] = {}
    is_taken = np.zeros(image.shape[:2], bool)
    for unit in sorted(set(unit_of_patch.tolist()) & set(tag_of_unit)):
        rows, cols = np.nonzero(place == unit)
        low, high = (cols.min(), rows.min()), (cols.max() + 1, rows.max() + 1)
        corners = np.array([*low, *high]) * size
        corners_of[unit] = corners
        is_taken[corners[1] : corners[3], corners[0] : corners[2]] = True
    for unit, corners in corners_of.items():
        marks.write_tag(image, is_taken, tag_of_unit[unit], corners, colours[unit])
    return image
