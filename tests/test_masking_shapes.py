"""Units that look at no label: tubes, frames, blocks, boxes elsewhere; and tracks."""

import dataclasses
import functools

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from mmdiffmask import config, grid
from mmdiffmask.masking import scorers, shapes, strategies, units
from tests.helpers import clip_records

GRID = grid.PatchGrid(6, 10)
SEEDS, UNITS = st.integers(0, 10_000), st.sampled_from(["patch", "cell"])
EXAMPLES = hypothesis.settings(max_examples=60, deadline=None)


def settings(mask_unit="cell", seed=0, epoch=None, **changes):
    masking = config.Masking(mask_unit=mask_unit, **changes)
    return units.Settings(
        GRID,
        masking,
        0.25,
        seed=seed,
        epoch=epoch,
        pictures=functools.partial(clip_records.pixels, patch_grid=GRID),
    )


def tokens(is_one, mask_unit):
    """(r, c) of the patches (n,) of a frame: whether any of a token is one."""
    of_patch = np.asarray(is_one).reshape(GRID.rows, GRID.cols)
    if mask_unit == "patch":
        return of_patch
    return of_patch.reshape(3, 2, 5, 2).any((1, 3))


@EXAMPLES
@hypothesis.given(SEEDS, UNITS)
def test_a_tube_is_the_same_place_of_every_frame(seed, mask_unit):
    record, is_valid = clip_records.make(GRID, seed)
    row = strategies.find("random-tube")
    clip = row.clip_units(record, is_valid, settings(mask_unit))
    unit = clip.unit_of_token.reshape(is_valid.shape)
    assert ((unit >= 0) == is_valid).all() and not clip.is_box_unit.any()
    group = units.group_of_patch(GRID, mask_unit)
    place = np.broadcast_to(group, is_valid.shape)
    pairs = set(zip(unit[is_valid].tolist(), place[is_valid].tolist(), strict=True))
    assert len(pairs) == len({u for u, _ in pairs}) == len({p for _, p in pairs})


def test_a_frame_is_a_unit():
    record, is_valid = clip_records.make(GRID, 3)
    row = strategies.find("whole-frames")
    unit = row.clip_units(record, is_valid, settings()).unit_of_token
    of_frame = [set(u[u >= 0].tolist()) for u in unit.reshape(3, -1)]
    assert sorted(map(len, of_frame)) in ([0, 1, 1], [1, 1, 1])
    assert len(set.union(*of_frame)) == sum(map(len, of_frame))


@EXAMPLES
@hypothesis.given(SEEDS, UNITS)
def test_blocks_go_through_all_frames_and_the_first_is_a_rectangle(seed, mask_unit):
    record, is_valid = clip_records.make(GRID, seed)
    is_valid[:] = True
    row = strategies.find("multi-block")
    clip = row.clip_units(record, is_valid, settings(mask_unit))
    unit = clip.unit_of_token.reshape(is_valid.shape)
    assert (unit == unit[0]).all()
    best = int(clip.unit_score.argmax())
    block = tokens(unit[0] == best, mask_unit)
    (rows, cols), size = np.nonzero(block), block.size
    height, width = np.ptp(rows) + 1, np.ptp(cols) + 1
    assert block.sum() == height * width  # whole: nothing lies over it
    area, (flat, tall) = 0.15 * size, shapes.BLOCK_ASPECT
    assert (area * flat) ** 0.5 - 0.5 <= height <= (area * tall) ** 0.5 + 0.5
    assert (area / tall) ** 0.5 - 0.5 <= width <= (area / flat) ** 0.5 + 0.5
    assert clip.unit_score[np.unique(unit)].min() > 0


@EXAMPLES
@hypothesis.given(SEEDS, UNITS)
def test_moved_boxes_stay_in_their_frame_and_keep_their_form(seed, mask_unit):
    record, is_valid = clip_records.make(GRID, seed, n_boxes=1)
    kind, frame = record.boxes.kind[0], int(record.boxes.frame[0])
    row = strategies.Strategy(
        "moved", "", shapes.moved_boxes(kind), None, strategies.uniform
    )
    before = units.of_boxes((kind,), record, is_valid, None, settings(mask_unit))
    after = row.clip_units(record, is_valid, settings(mask_unit))
    pair = [
        tokens((u.unit_of_token == 0).reshape(is_valid.shape)[frame], mask_unit)
        for u in (before, after)
        if u.is_box_unit[0]
    ]
    if not pair:  # it covers too little of every patch
        return
    old, new = pair
    in_frame = np.arange(len(is_valid)) == frame
    box = (after.unit_of_token == 0).reshape(is_valid.shape)
    assert not box[~in_frame].any() and not (box & ~is_valid).any()

    def form(of_tokens):
        rows, cols = np.nonzero(of_tokens)
        return {*zip(rows - rows.min(), cols - cols.min(), strict=True)}

    assert form(old) == form(new)
    room = tokens(is_valid[frame], mask_unit)
    sides = [np.ptp(np.flatnonzero(old.any(axis))) + 1 for axis in (1, 0)]
    fills = sides == [room.any(axis).sum() for axis in (1, 0)]
    assert fills == (old == new).all()


def test_every_other_place_is_as_likely():
    box, room = np.zeros((3, 4), bool), np.ones((3, 4), bool)
    room[2] = False
    box[0, 1:3] = True
    rng = np.random.default_rng(0)
    places = [
        tuple(np.argwhere(shapes.elsewhere(rng, box, room))[0]) for _ in range(500)
    ]
    names, count = np.unique(places, axis=0, return_counts=True)
    assert names.tolist() == [[0, 0], [0, 2], [1, 0], [1, 1], [1, 2]]
    assert count.min() > 60


@EXAMPLES
@hypothesis.given(SEEDS, UNITS)
def test_outside_is_where_no_box_is(seed, mask_unit):
    record, is_valid = clip_records.make(GRID, seed)
    row = strategies.find("background")
    boxes = units.of_boxes(("body",), record, is_valid, None, settings(mask_unit))
    clip = row.clip_units(record, is_valid, settings(mask_unit))
    np.testing.assert_array_equal(clip.unit_of_token, boxes.unit_of_token)
    used = np.unique(clip.unit_of_token[clip.unit_of_token >= 0])
    assert (clip.unit_score[used] == ~boxes.is_box_unit[used]).all()
    assert clip.unit_score.sum() == (~boxes.is_box_unit[used]).sum()


def test_another_clip_s_boxes_are_as_they_are_there():
    (record, is_valid), (lender, _) = (clip_records.make(GRID, i) for i in (1, 2))
    asked = []

    def lend(borrower, kinds):
        asked.append((borrower, kinds))
        return lender

    row = strategies.find("other-clip-object")
    clip = row.clip_units(record, is_valid, settings()._replace(lend=lend))
    there = units.of_boxes(("object",), lender, is_valid, None, settings())
    for one, other in zip(clip, there, strict=True):
        np.testing.assert_array_equal(one, other)
    assert asked == [(record, ("object",))]
    alone = row.clip_units(record, is_valid, settings()._replace(lend=lambda *_: None))
    assert not alone.is_box_unit.any()


@pytest.mark.parametrize("name", ["multi-block", "moved", "band-noise"])
def test_what_is_drawn_depends_on_seed_epoch_and_example_alone(name):
    row = strategies.find(name)

    def drawn(number=1, seed=0, epoch=None):
        record, is_valid = clip_records.make(GRID, 1, n_boxes=12)
        record.example_id = f"example {number}"
        clip = row.clip_units(record, is_valid, settings("patch", seed, epoch))
        return clip.unit_of_token.tobytes() + clip.unit_score.tobytes()

    assert drawn() == drawn()
    others = [drawn(), drawn(2), drawn(seed=1), drawn(seed=2**32)]
    others += [drawn(epoch=0), drawn(epoch=1)]
    assert len(set(others)) == len(others)


def test_noise_is_one_value_a_cell_and_has_a_band_of_frequencies():
    record, is_valid = clip_records.make(grid.PatchGrid(32, 32), 0)
    wide = settings("patch")._replace(grid=grid.PatchGrid(32, 32))
    score = scorers.by_band_noise(record, wide).reshape(3, 32, 32)
    assert sorted(score.reshape(-1)) == pytest.approx(np.arange(1, 3073) / 3072)
    power = np.mean(np.abs(np.fft.fft2(score - score.mean())) ** 2, 0)
    radius = np.hypot(*np.meshgrid(*[np.fft.fftfreq(32)] * 2))
    low, band, high = (
        power[(radius >= a) & (radius < b)].mean()
        for a, b in ((0, 0.04), (0.1, 0.25), (0.45, 0.8))
    )
    assert band > 4 * low and band > 4 * high
    cells = scorers.by_band_noise(record, wide._replace(masking=config.Masking()))
    of_cell = cells.reshape(3, 16, 2, 16, 2)
    assert (of_cell == of_cell[:, :, :1, :, :1]).all()


def test_motion_is_the_difference_to_the_frames_beside():
    record, _ = clip_records.make(GRID, 0, t=4)
    record.is_frame_valid = np.array([True, False, True, True])
    patches = np.zeros((4, GRID.n_patches, 3), np.uint8)
    patches[2, 7], patches[3, 7, 0] = 255, 51
    patches[1] = 99  # no frame: does not count
    still = settings()._replace(pictures=lambda _: patches)
    score = scorers.by_motion(record, still)
    last = 1 - 0.2 / 3
    assert score[:, 7] == pytest.approx([1, 0, (1 + last) / 2, last])
    assert not np.delete(score, 7, 1).any()


def test_boxes_of_a_track_are_one_unit():
    record, is_valid = clip_records.make(GRID, 5, n_boxes=6)
    is_valid[:] = True
    share = np.zeros((6, GRID.n_patches))
    for box, patch in enumerate((0, 0, 0, 30, 30, 30)):
        share[box, patch] = 1
    boxes = dataclasses.replace(
        record.boxes,
        kind=("object",) * 6,
        label=("cup", "person", "cup", "cup", "cup", "cup"),
        frame=np.array([0, 1, 2] * 2),
        track=np.array([4, 4, 4, 7, -1, -1]),
    )
    record.boxes, record.covered_share = boxes, share
    row = strategies.find("difference-object")
    joined = row.clip_units(record, is_valid, settings("patch", tracks="joined"))
    unit = joined.unit_of_token.reshape(3, -1)
    assert unit[:, 0].tolist() == [0, 0, 0] and unit[:, 30].tolist() == [1, 2, 3]
    assert joined.unit_score[:4].tolist() == [1, 0, 0, 0]  # the track's best
    assert joined.is_box_unit.sum() == 4
    apart = row.clip_units(record, is_valid, settings("patch"))
    assert apart.is_box_unit.sum() == 6
    assert len(np.unique(unit)) == len(np.unique(apart.unit_of_token)) - 2
