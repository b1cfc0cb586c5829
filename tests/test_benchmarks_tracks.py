"""Counts of identities on made sequences, links by flow, and the commands."""

import cv2
import numpy as np

from benchmarks import flow, golden_tracks, tracks
from preprocessing.boxes.unitrack import tracker

SIZE = (320, 240)


def textured(seed, height=64, width=28):
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3))
    return cv2.GaussianBlur(pixels.astype(np.uint8), (0, 0), 1.2)


def walk(steps, rows=(40, 40)):
    """Two patches that walk past each other, and their boxes, left one first."""
    frames, boxes = [], []
    for step in range(steps):
        frame = np.full((240, 320, 3), 120, np.uint8)
        lefts = 60 + 4 * step, 220 - 4 * step
        for seed, left, top in zip((1, 2), lefts, rows, strict=True):
            frame[top : top + 64, left : left + 28] = textured(seed)
        frames.append(frame)
        boxes.append(
            np.float64(
                [
                    [left, top, left + 28, top + 64]
                    for left, top in zip(lefts, rows, strict=True)
                ]
            )
        )
    return frames, boxes


def test_flow_links_boxes_of_the_same_thing():
    frames, boxes = walk(4)
    swapped = [boxes[0], boxes[1][::-1], boxes[2], boxes[3][:1]]
    pairs = flow.links(frames, swapped)
    assert [one.tolist() for one in pairs] == [
        [[0, 1], [1, 0]],
        [[0, 1], [1, 0]],
        [[0, 0]],
    ]


def test_flow_links_nothing_that_is_not_clear():
    frames, boxes = walk(2)
    both = np.concatenate([boxes[0], boxes[0]])  # every point lies in two boxes
    assert not len(flow.links(frames, [both, boxes[1]])[0])
    assert not len(flow.links(frames, [boxes[0], boxes[1][:0]])[0])
    twice = np.concatenate([boxes[1], boxes[1]])  # two boxes hold the points
    assert not len(flow.links(frames, [boxes[0], twice])[0])
    flat = [np.full_like(frame, 120) for frame in frames]
    assert not len(flow.links(flat, boxes)[0])


def ids(*frames):
    return [np.array(frame) for frame in frames]


def test_counts_of_a_clip_that_the_eye_can_check():
    middle, edge = [100, 80, 130, 160], [2, 80, 30, 160]
    detected = [np.float64([middle, edge])] * 4
    links = [np.array([[0, 0], [1, 1]])] * 3
    found = tracks.count(detected, ids([1, 2], [1, 2], [1, 3], [4, -1]), links, SIZE)
    # 4 starts in the middle late; 3 at the border. 1 -> 4 and 2 -> 3 are switches.
    assert (found.ids, found.started_inside) == (4, 1)
    assert found.median_length == 1.5
    assert (found.switches, found.links) == (2, 5)
    swapped = tracks.count(detected, ids([1, 2], [2, 1], [2, 1], [2, 1]), links, SIZE)
    assert (swapped.switches, swapped.links, swapped.started_inside) == (2, 6, 0)
    nobody = tracks.count([np.zeros((0, 4))] * 2, ids([], []), links[:0], SIZE)
    assert (nobody.ids, nobody.median_length) == (0, 0.0)


def test_changes_of_id_along_objects():
    objects = np.array([0, 0, 0, 0, 1, 1, 1])
    found = tracks_against([1, 1, 2, 2, 3, -1, 3], objects)
    assert found == (1, 4, 0)
    assert tracks_against([1, 1, 1, 3, 3, 3, 3], objects) == (1, 5, 1)


def tracks_against(own, objects):
    return golden_tracks.against_objects(np.array(own), objects)


def test_objects_are_told_by_their_looks():
    generator = np.random.default_rng(0)
    looks = generator.normal(size=(2, 1, 4, 40))[[0, 1, 0, 1]]
    looks = looks + 0.1 * generator.normal(size=looks.shape)
    frame = np.array([1, 1, 2, 2])
    found = golden_tracks.objects_of(looks, frame)
    assert found[0] == found[2] != found[1] == found[3]
    assert golden_tracks.objects_of(looks[[0, 2, 1]], np.array([1, 1, 2])) is None


def test_a_clip_is_tracked_with_each_kind_of_looks():
    frames, boxes = walk(6)
    detected = [(one, np.ones(2)) for one in boxes]
    settings = tracker.Settings(conf_thres=0.0, frame_rate=10)
    lines = list(
        tracks.clip_lines("walk", frames, detected, settings, tracks.looks_of(None))
    )
    assert [line.split()[:4] for line in lines] == [
        ["walk", "none", "2", "ids"],
        ["walk", "colours", "2", "ids"],
    ]
    assert all("switches 0/10" in line for line in lines)


def test_the_real_command_on_a_small_video(tmp_path, capsys, monkeypatch):
    frames, boxes = walk(5)
    path = tmp_path / "videos" / "walk.mp4"
    path.parent.mkdir()
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, SIZE)
    for frame in frames:
        writer.write(frame[:, :, ::-1])
    writer.release()
    shown, fps = tracks.read_video(path)
    assert (len(shown), fps) == (5, 10)
    coming = iter(boxes)
    lines = list(
        tracks.media_lines(
            tmp_path,
            [],
            {"none": tracks.alike},
            lambda given: [(next(coming), np.ones(2))],
        )
    )
    assert lines[0].startswith("walk                   none        2 ids of   5.0")
    assert tracks.main([str(tmp_path), "--clips", "run"]) == 2
    assert "its videos are walk" in capsys.readouterr().err
    assert golden_tracks.main([str(tmp_path), str(tmp_path)]) == 2
    assert "holds no seq_<name>.npz" in capsys.readouterr().err
    path.write_bytes(b"no video")
    assert tracks.main([str(tmp_path)]) == 2
    assert "is no video" in capsys.readouterr().err


def test_recorded_looks_keep_drawn_objects_apart(shared):
    path = shared / "golden" / "unitrack" / "seq_duplicates.npz"
    with np.load(path) as arrays:
        given = dict(arrays)
    settings = tracker.Settings()
    lines = list(golden_tracks.drawn_lines("duplicates", given, settings))
    none, recorded = lines
    assert "5 ids, 1 mixed, switches 1/" in none
    assert "5 ids, 0 mixed, switches 0/" in recorded
