"""The contact sheet: one colour a track, units filled, all of it on the paper."""

import types as types_of_python

import cv2
import numpy as np
import pytest

from mmdiffmask import grid as grids
from mmdiffmask import types
from mmdiffmask.report import contact, paper, pictures

GRID = grids.PatchGrid(6, 10, 16)
GROUND = (90, 90, 90)


def boxes(rows):
    """Rows of (frame, corners, kind, track)."""
    return types.Boxes(
        frame=np.array([r[0] for r in rows], int),
        xyxy_px=np.array([r[1] for r in rows], float).reshape(-1, 4),
        kind=tuple(r[2] for r in rows),
        label=tuple({"body": "person", "object": "ball"}.get(r[2], r[2]) for r in rows),
        score=np.ones(len(rows)),
        track=np.array([r[3] for r in rows], int),
        source=("true",) * len(rows),
    )


def record(found, frames=2, absent=()):
    data = cv2.imencode(".png", np.full((96, 160, 3), GROUND, np.uint8))[1].tobytes()
    is_valid = np.array([i not in absent for i in range(frames)])
    share = grids.covered_share(GRID, found.xyxy_px)
    return types_of_python.SimpleNamespace(
        example_id="clip~w0000",
        question="Who?",
        frames=tuple(data if valid else b"" for valid in is_valid),
        source_size_px=np.where(is_valid[:, None], [160, 96], 0),
        frame_time_s=np.arange(frames) / 3,
        is_frame_valid=is_valid,
        is_boxed=True,
        boxes=found,
        covered_share=share,
    )


def has(image, colour, slack=0):
    far = np.abs(image.astype(int) - np.array(colour)).max(-1)
    return np.argwhere(far <= slack)


def test_a_track_keeps_its_colour():
    found = boxes(
        [
            (0, (0, 0, 32, 48), "body", 7),
            (0, (64, 0, 96, 48), "body", 40),
            (0, (8, 0, 16, 8), "face", 7),
            (1, (64, 0, 96, 48), "body", 7),
            (1, (0, 0, 32, 48), "body", 40),
        ]
    )
    colours = contact.box_colours(found)
    assert (colours[0] == colours[[2, 3]]).all() and (colours[1] == colours[4]).all()
    assert (colours[0] != colours[1]).any()
    clip = pictures.decode(record(found))
    for frame, (first, second) in enumerate([(0, 1), (1, 0)]):
        image = contact.draw_tracks(GRID, clip, frame, 16, colours)
        # Source pixels are drawn pixels here: the left box ends at column 32.
        left = has(image, colours[first])[:, 1]
        right = has(image, colours[second])[:, 1]
        assert left.min() < 4 and left.max() < 60 < right.min()


def test_boxes_without_a_track_have_a_colour_each():
    rows = [(0, (16 * i, 0, 16 * i + 9, 9), "body", -1) for i in range(4)]
    rows += [(1, (0, 0, 9, 9), "body", 5)]
    colours = contact.box_colours(boxes(rows))
    assert len({tuple(c) for c in colours.tolist()}) == 5
    assert contact.box_colours(boxes([])).shape == (0, 3)


def test_a_face_is_dashed():
    image = {}
    for kind in ("body", "face"):
        found = boxes([(0, (20, 20, 100, 80), kind, -1)])
        clip = pictures.decode(record(found, 1))
        colours = contact.box_colours(found)
        image[kind] = len(
            has(contact.draw_tracks(GRID, clip, 0, 16, colours), colours[0])
        )
    assert 0.3 < image["face"] / image["body"] < 0.75


@pytest.mark.parametrize("kind", ["body", "object"])
def test_a_number_stands_beside_its_box(kind):
    box = (40, 40, 60, 70)
    found = boxes([(0, box, kind, 12)])
    clip = pictures.decode(record(found, 1))
    colour = contact.box_colours(found)[0]
    drawn = contact.draw_tracks(GRID, clip, 0, 16, np.array([colour]))
    outside = [y for y, x in has(drawn, colour) if y < 37]
    assert len(outside) > 40, "a ground of that colour above the box"
    inside = drawn[44:67, 44:57]
    assert np.abs(inside.astype(int) - GROUND).max() < 60, "the box is not covered"


def test_units_are_filled_in_their_boxes_colours():
    found = boxes(
        [(0, (0, 0, 32, 32), "body", 1), (0, (64, 0, 112, 48), "body", 2)]
        + [(0, (0, 0, 16, 16), "face", 1)]
    )
    own = np.full((2, GRID.n_patches), -1)
    at = np.arange(GRID.n_patches)
    row, col = at // 10, at % 10
    own[0] = 2 + at
    own[0][(row < 2) & (col < 2)] = 0
    own[0][(row < 3) & (col >= 4) & (col < 7)] = 1
    is_box = np.arange(2 + GRID.n_patches) < 2
    units = contact.Units(("body",), own, is_box)
    made = record(found)
    colours = contact.box_colours(found)
    of_unit = contact.unit_colours(units, made, colours)
    assert of_unit == {0: tuple(colours[0]), 1: tuple(colours[1])}
    clip = pictures.decode(made)
    image = contact.draw_units(GRID, clip, 0, 16, units, of_unit)
    for unit in (0, 1):
        mixed = (np.array(of_unit[unit]) + GROUND) / 2
        patches = np.unique([10 * (y // 16) + x // 16 for y, x in has(image, mixed, 2)])
        assert set(patches) == set(np.flatnonzero(own[0] == unit))
    # Another frame has none of them: nothing is filled there.
    other = contact.draw_units(GRID, clip, 1, 16, units, of_unit)
    assert len(has(other, GROUND, 2)) == other.shape[0] * other.shape[1]
    # A unit of one patch has no line inside, its neighbour's begins at its border.
    assert (image[4 * 16 + 3 : 5 * 16 - 1, 3:15] == GROUND).all()


@pytest.mark.parametrize("frames", [1, 2, 7, 9])
@pytest.mark.parametrize("grid", [(6, 10), (12, 20), (18, 32)])
def test_the_sheet_fits_a_laptop(frames, grid):
    grid = grids.PatchGrid(*grid)
    found = boxes([(0, (10, 10, 50, 90), "body", 1)])
    made = record(found, frames, absent=(0,) if frames > 1 else ())
    made.covered_share = np.zeros((1, grid.n_patches))
    made.covered_share[0, 0] = 1
    made.example_id = "\u00e4" * 300
    own = np.zeros((frames, grid.n_patches), int)
    units = contact.Units(("body",), own, np.array([True]))
    hidden = np.ones((frames, grid.n_patches), bool)
    image = contact.draw(grid, made, units, {"random": hidden})
    assert image.shape[1] <= paper.WIDTH_PX + 2 * paper.MARGIN_PX
    rows = -(-frames // paper.COLUMNS)
    tile = paper.tile_px(grid.cols) * grid.rows
    assert image.shape[0] > 3 * rows * tile
    assert image.std() > 20


def test_headings_count():
    found = boxes([(0, (0, 0, 9, 9), "body", t) for t in (3, 3, 8, -1)])
    assert contact._tracks_heading(found).startswith("Boxes: 2 tracks")
    assert "1 boxes without a track" in contact._tracks_heading(found)
    own = np.array([[0, 0, 0, 1, 1, 2, -1]])
    units = contact.Units(("face",), own, np.array([True, True, False, False]))
    told = contact._units_heading(units)
    assert "2 from boxes of kind face (2 to 3 patches), 1 of background" in told


def test_places_after_the_last_frame_are_not_drawn():
    found = boxes([(0, (0, 0, 32, 48), "body", 7)])
    units = contact.Units(("body",), np.full((8, 60), -1), np.zeros(0, bool))
    masks = {"random": np.zeros((8, 60), bool)}

    def sheet(*absent):
        return contact.draw(GRID, record(found, 8, absent), units, masks)

    assert len(sheet(4, 5, 6, 7)) < len(sheet(4, 5, 7)) == len(sheet())
    assert "the last 4 have no frame" in contact._about(record(found, 8, (4, 5, 6, 7)))
    assert "no frame" not in contact._about(record(found, 8, (4, 5)))
