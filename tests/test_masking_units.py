"""Units: which patch belongs to which box."""

import dataclasses
import types

import numpy as np
import pytest

from mmdiffmask import config, grid
from mmdiffmask.masking import strategies, units
from mmdiffmask.types import Boxes

TINY = grid.PatchGrid(2, 4, 2)  # cells: columns 0-1 and 2-3
PATCH = units.group_of_patch(TINY, "patch")
CELL = units.group_of_patch(TINY, "cell")


def assign(share, frame, similarity, valid=None, **kw):
    share = np.array(share, float).reshape(len(frame), 8)
    valid = np.ones((1, 8), bool) if valid is None else valid
    settings = {"min_overlap": 0.0, "group_of_patch": PATCH} | kw
    return units.assign(
        share, np.array(frame, int), np.array(similarity, float), valid, **settings
    )


def test_boxes_first_then_background_by_patch():
    got = assign([[0, 1, 1, 0, 0, 0.1, 0, 0]], [0], [0.5])
    assert got.unit_of_token.tolist() == [1, 0, 0, 2, 3, 0, 4, 5]
    assert got.unit_score.tolist() == [0.5] + [0] * 7
    assert got.is_box_unit.tolist() == [True] + [False] * 7


def test_min_overlap_must_be_passed():
    share = [[0, 0.25, 0.26, 0, 0, 0, 0, 0]]
    got = assign(share, [0], [1], min_overlap=0.25)
    assert got.unit_of_token.tolist() == [1, 2, 0, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    "similarity, sizes, winner",
    [
        ([0.2, 0.9], (3, 5), 1),  # the more similar
        ([0.9, 0.2], (5, 3), 0),
        ([0.5, 0.5], (5, 3), 1),  # alike: the smaller
        ([0.5, 0.5], (3, 3), 0),  # and of the same size: the earlier
    ],
)
def test_patch_in_two_boxes(similarity, sizes, winner):
    share = np.zeros((2, 8))
    for box, size in enumerate(sizes):
        share[box, :size] = 1
    got = assign(share, [0, 0], similarity)
    assert got.unit_score[got.unit_of_token[0]] == np.float32(similarity[winner])
    other = 1 - winner
    if sizes[other] > sizes[winner]:
        assert got.unit_of_token[sizes[other] - 1] == other
    assert got.unit_of_token[0] == (winner if sizes[other] > sizes[winner] else 0)


def test_cell_belongs_to_the_box_of_any_valid_patch():
    share = [[0, 1, 0, 0, 0, 0, 0, 0]]
    got = assign(share, [0], [1], group_of_patch=CELL)
    assert got.unit_of_token.tolist() == [0, 0, 1, 1, 0, 0, 1, 1]
    valid = np.ones((1, 8), bool)
    valid[0, 1] = False  # the only patch of the box: now background
    got = assign(share, [0], [1], valid, group_of_patch=CELL)
    assert got.unit_of_token.tolist() == [0, -1, 1, 1, 0, 0, 1, 1]
    assert not got.is_box_unit.any()


def test_cell_with_two_boxes_goes_to_the_more_similar():
    share = [[1, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1, 1, 0]]
    got = assign(share, [0, 0], [0.3, 0.6], group_of_patch=CELL)
    assert got.unit_of_token.tolist() == [0] * 8
    assert got.unit_score[0] == np.float32(0.6)


def test_frames_do_not_share_units_and_invalid_patches_have_none():
    valid = np.ones((2, 8), bool)
    valid[1, 4:] = False
    got = assign(np.ones((2, 8)), [0, 1], [1, 1], valid)
    assert got.unit_of_token.tolist() == [0] * 8 + [1] * 4 + [-1] * 4


def test_single_patches_of_boxes_keep_the_score():
    share = [[0, 1, 1, 0, 0, 0, 0, 0]]
    got = assign(share, [0], [0.5], selection="patch")
    assert got.unit_of_token.tolist() == [2, 0, 1, 3, 4, 5, 6, 7]
    assert got.unit_score.tolist() == [0.5, 0.5] + [0] * 6
    assert got.is_box_unit.tolist() == [True] * 2 + [False] * 6


def test_box_of_weight_zero_stays_a_unit():
    got = assign([[1, 1, 0, 0, 0, 0, 0, 0]], [0], [0.0])
    assert got.unit_of_token[:3].tolist() == [0, 0, 1]
    assert got.is_box_unit.tolist() == [True] + [False] * 7


def boxes(kinds, labels, frames):
    m = len(kinds)
    return Boxes(
        np.array(frames, int), np.zeros((m, 4)), tuple(kinds), tuple(labels),
        np.ones(m), np.full(m, -1), ("true",) * m,
    )  # fmt: skip


def clip_units(strategy, given, share, valid, **kw):
    settings = units.Settings(TINY, config.Masking(mask_unit="patch"), 0.0)
    record = types.SimpleNamespace(boxes=given, covered_share=share)
    row = dataclasses.replace(strategies.find(strategy), **kw)
    return row.clip_units(record, valid, settings)


def test_only_boxes_of_the_strategy_count():
    share = np.zeros((3, 8), np.float16)
    share[0, 0], share[1, 1], share[2, 2] = 1, 1, 1
    given = boxes(["object", "body", "face"], ["ball", "person", "face"], [0, 0, 0])
    valid = np.ones((1, 8), bool)
    names = ("difference-object", "difference", "difference-face")
    for patch, name in enumerate(names):
        got = clip_units(name, given, share, valid)
        assert got.unit_of_token[patch] == 0
        assert got.is_box_unit.sum() == 1
        # "ball" is unknown without embeddings; a face is part of a person.
        assert got.unit_score[0] == (0 if patch == 0 else 1)
        assert clip_units(name, given, share, valid, score=None).unit_score[0] == 0


def test_clip_without_boxes_is_all_background():
    none, share = boxes([], [], []), np.zeros((0, 8), np.float16)
    got = clip_units("difference", none, share, np.ones((2, 8), bool))
    assert got.unit_of_token.tolist() == list(range(16))
    assert not got.is_box_unit.any()


def test_patches_alone_have_no_boxes_and_the_mean_score_of_a_cell():
    valid = np.ones((1, 8), bool)
    valid[0, 5] = False
    value = np.array([[1.0, 2, 0, 0, 6, 99, 0, 4]])
    settings = units.Settings(TINY, config.Masking(mask_unit="cell"), 0.0)
    got = units.patches(None, valid, lambda record, settings: value, settings)
    assert got.unit_of_token.tolist() == [0, 0, 1, 1, 0, -1, 1, 1]
    assert got.unit_score.tolist() == [3, 1] + [0] * 6
    assert not got.is_box_unit.any()
    assert not units.patches(None, valid, None, settings).unit_score.any()
