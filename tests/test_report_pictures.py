"""Drawn frames: what is hidden cannot be seen, the rest can; boxes where they are."""

import json
import types as types_of_python

import cv2
import numpy as np
import pytest
from helpers import raw_trees

from mmdiffmask import grid as grids
from mmdiffmask import types
from mmdiffmask.report import pictures

GRID = grids.PatchGrid(6, 10, 16)
RED = (200, 30, 30)


def _boxes(rows):
    return types.Boxes(
        frame=np.array([r[0] for r in rows], int),
        xyxy_px=np.array([r[1] for r in rows], float).reshape(-1, 4),
        kind=tuple(r[2] for r in rows),
        label=tuple(r[3] for r in rows),
        score=np.ones(len(rows)),
        track=np.full(len(rows), -1),
        source=("true",) * len(rows),
    )


def _frame(height=96, width=160):
    return np.full((height, width, 3), RED, np.uint8)


def _draw(frame, rows=(), hidden=None, **kw):
    clip = pictures.Clip("c", (frame,), _boxes(rows))
    return pictures.draw_frame(GRID, clip, 0, hidden, **kw)


def _inside(image, row, col):
    """A patch without the grid lines at its border."""
    size = pictures.patch_size(GRID)
    return image[row * size + 2 : (row + 1) * size - 2][
        :, col * size + 2 : (col + 1) * size - 2
    ].astype(int)


@pytest.mark.parametrize(
    "grid, size", [((6, 10), 24), ((12, 20), 16), ((12, 24), 16), ((16, 16), 16)]
)
def test_small_frames_are_enlarged(grid, size):
    assert pictures.patch_size(grids.PatchGrid(*grid)) == size


def test_hidden_patches_and_only_they_are_covered():
    hidden = np.zeros(GRID.n_patches, bool)
    hidden[[0, 13, 59]] = True
    image = _draw(_frame(), hidden=hidden)
    assert image.shape == (144, 240, 3)
    for patch in range(GRID.n_patches):
        inside = _inside(image, *divmod(patch, 10))
        far = np.abs(inside - RED).max(-1)
        assert (far.min() > 60) if hidden[patch] else (far.max() <= 2)


def test_padding_is_shaded():
    image = _draw(_frame(96, 120))
    assert np.abs(_inside(image, 0, 6) - RED).max() <= 2
    assert _inside(image, 0, 8).min() > 200  # columns 7.5 to 10 hold no picture
    empty = _draw(None)
    assert _inside(empty, 3, 3).min() > 200


def test_box_is_drawn_where_the_transform_puts_it():
    # A frame of twice the grid's size: source px 40 = fitted 20 = drawn 30.
    boxes = [(0, (40, 60, 200, 160), "body", "person")]
    image = _draw(_frame(192, 320), boxes)
    is_orange = (np.abs(image.astype(int) - pictures.COLOUR["body"]).max(-1)) < 4
    ys, xs = np.nonzero(is_orange)
    assert abs(xs.min() - 30) <= 2 and abs(xs.max() - 150) <= 2
    assert abs(ys.min() - 45) <= 2 and abs(ys.max() - 120) <= 2
    labelled = _draw(_frame(192, 320), boxes, with_labels=True)
    assert (labelled[:40] != image[:40]).any()


def test_smaller_stored_frame_lies_as_its_source_does():
    boxes = _boxes([(0, (400, 600, 2000, 1600), "body", "person")])
    source = pictures.Clip("c", (_frame(1920, 3200),), boxes)
    stored = pictures.Clip("c", (_frame(192, 320),), boxes, ((3200, 1920),))
    drawn = [pictures.draw_frame(GRID, clip, 0) for clip in (source, stored)]
    np.testing.assert_array_equal(*drawn)


def test_decode_a_record():
    data = cv2.imencode(".jpg", _frame()[..., ::-1])[1].tobytes()
    record = types_of_python.SimpleNamespace(
        example_id="q1",
        frames=(data, b""),
        source_size_px=np.array([[320, 192], [0, 0]]),
        is_frame_valid=np.array([True, False]),
        boxes=_boxes([]),
    )
    clip = pictures.decode(record)
    assert clip.name == "q1" and clip.frames[1] is None
    assert np.abs(clip.frames[0].astype(int) - RED).max() <= 3
    assert clip.fit(GRID, 0) == grids.fit_frame(GRID, 320, 192)
    assert pictures.valid_patches(GRID, clip).sum(1).tolist() == [60, 0]
    record.frames = (data[:50], b"")
    with pytest.raises(ValueError, match="q1: frame 0 is no readable picture"):
        pictures.decode(record)


def test_a_turned_frame_is_drawn_upright_under_its_boxes():
    """The red square and the box around it are in upright pixels."""
    upright = raw_trees.picture(3)
    box = raw_trees.red_box(3)
    record = types_of_python.SimpleNamespace(
        example_id="q1",
        frames=(raw_trees.turned_jpeg(upright),),
        source_size_px=np.array([[160, 90]]),
        is_frame_valid=np.array([True]),
        boxes=_boxes([(0, box, "object", "red box")]),
    )
    stored = cv2.imdecode(
        np.frombuffer(record.frames[0], np.uint8), cv2.IMREAD_IGNORE_ORIENTATION | 1
    )
    assert stored.shape == (160, 90, 3)  # it lies on its side in the file
    clip = pictures.decode(record)
    assert clip.frames[0].shape == (90, 160, 3)
    assert np.abs(clip.frames[0].astype(int) - upright).mean() < 4
    image = pictures.draw_picture(GRID, clip, 0, pictures.patch_size(GRID)).astype(int)
    is_red = np.argwhere(image[..., 0] - image[..., 1] > 100)
    _, corners = pictures.drawn_boxes(GRID, clip, 0, pictures.patch_size(GRID))
    seen = [*is_red.min(0)[::-1], *(is_red.max(0)[::-1] + 1)]
    np.testing.assert_allclose(corners[0], seen, atol=2)


def test_boxes_outside_the_frame_do_not_stop_the_drawing():
    boxes = [
        (0, (-50, -50, -10, -10), "face", "face"),
        (0, (150, 90, 900, 900), "object", "bäll"),
    ]
    image = _draw(_frame(), boxes, with_labels=True)
    assert image.shape == (144, 240, 3)


def test_files_hold_the_picture():
    image = _draw(_frame(), [(0, (10, 10, 50, 90), "body", "person")])
    back = cv2.imdecode(np.frombuffer(pictures.to_png(image), np.uint8), 1)
    np.testing.assert_array_equal(back[..., ::-1], image)
    assert pictures.to_jpeg(image)[:2] == b"\xff\xd8"


def test_mask_of_another_grid_is_refused():
    clip = pictures.Clip("c", (_frame(),), _boxes([]))
    with pytest.raises(ValueError, match=r"clip c: the mask is \(1, 240\)"):
        pictures.draw_strip(GRID, clip, np.zeros((1, 240), bool))


def test_count_boxes():
    rows = [(0, (0, 0, 9, 9), kind, "x") for kind in ("body", "body", "face")]
    assert pictures.count_boxes(_boxes(rows)) == "2 bodies, 1 face"
    assert pictures.count_boxes(_boxes([])) == "no box"


def test_real_frame(shared):
    truth = json.loads((shared / "media" / "ground_truth.json").read_text())
    entry = next(f for f in truth["frames"] if f["body"] and f["face"])
    picture = cv2.imread(str(shared / "media" / entry["image"]))[..., ::-1]
    rows = [
        (0, box, kind, "person") for kind in ("body", "face") for box in entry[kind]
    ]
    grid = grids.PatchGrid()
    clip = pictures.Clip("c", (np.ascontiguousarray(picture),), _boxes(rows))
    image = pictures.draw_frame(grid, clip, 0)
    assert image.shape == (192, 320, 3) and image.std() > 20
