"""Faults of the toy set's true boxes: as many as asked for, and nothing else."""

import json

import numpy as np
import pytest

from preprocessing.boxes import box_files
from preprocessing.toy import box_faults, words

FRAMES = 33


@pytest.fixture
def true(tmp_path):
    """boxes.jsonl of 40 clips with two persons in each frame."""
    rows = [
        {"video": f"clip{clip:02}", "frame": frame, "xyxy": [100, 50, 140, 150],
         "label": ("person", "face")[track], "score": 1, "track": track,
         "visible": 1.0}
        for clip in range(40) for frame in range(1, FRAMES + 1) for track in range(2)
    ]  # fmt: skip
    path = tmp_path / "boxes.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _with(true, seed=0, **faults):
    out = true.with_name("out.jsonl")
    box_faults.write(true, out, box_faults.Faults(**faults), seed)
    return [json.loads(line) for line in out.read_text().splitlines()]


def _rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_without_faults_the_boxes_are_the_true_ones(true):
    assert _with(true) == _rows(true)


def test_the_share_asked_for_is_lost(true):
    before, after = _rows(true), _with(true, lost=0.3)
    assert len(after) / len(before) == pytest.approx(0.7, abs=0.03)
    key = "video", "frame", "track"
    kept = {tuple(row[name] for name in key) for row in after}
    assert [r for r in before if tuple(r[name] for name in key) in kept] == after
    fewer = {tuple(r[name] for name in key) for r in _with(true, lost=0.6)}
    assert fewer < kept
    assert _with(true, lost=1.0) == []


def test_sides_are_moved_by_the_share_asked_for(true):
    before, after = _rows(true), _with(true, moved=0.1)
    assert [{**r, "xyxy": 0} for r in after] == [{**r, "xyxy": 0} for r in before]
    shift = np.array([r["xyxy"] for r in after]) - [100, 50, 140, 150]
    sd = shift.std(axis=0)
    np.testing.assert_allclose(sd, [4, 10, 4, 10], rtol=0.1)
    assert abs(shift.mean(axis=0)).max() < 0.5
    far = np.array([r["xyxy"] for r in _with(true, moved=3.0)])
    assert (far[:, 2:] - far[:, :2] >= box_faults.MIN_SIDE_PX).all()
    assert (far >= 0).all() and (far[:, 2:] <= (words.WIDTH_PX, words.HEIGHT_PX)).all()


def test_false_boxes_come_beside_the_true_ones(true):
    before, after = _rows(true), _with(true, false=0.5)
    false = [r for r in after if r["track"] >= box_faults.FALSE_TRACKS]
    assert [r for r in after if r not in false] == before
    assert len(false) / len(before) == pytest.approx(0.5, abs=0.05)
    corners = np.array([r["xyxy"] for r in false])
    assert (corners[:, 2:] - corners[:, :2] == (40, 100)).all()
    assert len({tuple(corner) for corner in corners}) > len(false) / 2
    assert {r["frame"] for r in false} == set(range(1, FRAMES + 1))
    assert {r["label"] for r in false} == {"person", "face"}


def test_one_kind_of_fault_does_not_move_another(true):
    lost, both = _with(true, lost=0.3), _with(true, lost=0.3, moved=0.1, false=0.5)
    true_ones = [r for r in both if r["track"] < box_faults.FALSE_TRACKS]
    assert [(r["video"], r["frame"], r["track"]) for r in lost] == [
        (r["video"], r["frame"], r["track"]) for r in true_ones
    ]


def test_faults_are_those_of_the_seed_and_can_be_read(true):
    assert _with(true, lost=0.3) == _with(true, lost=0.3) != _with(true, 1, lost=0.3)
    _with(true, lost=0.3, moved=0.2, false=1.0)
    read = box_files.read(true.with_name("out.jsonl"))
    assert not sum(read.counts.values())
