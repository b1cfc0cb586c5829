"""Tracks of made and of real footage, through the finder that records use."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from helpers import raw_trees

from preprocessing import build, items, toy
from preprocessing.boxes import detectors, finders, tracking
from preprocessing.readers import tvqa
from preprocessing.work import clips

LEFT, RIGHT = np.array([200, 40, 40]), np.array([40, 60, 200])


def describe(image, xyxy):
    """Mean colour of each box, as a feature map of equal positions."""
    colour = [
        image[int(t) : int(b), int(x) : int(r)].mean((0, 1)) for x, t, r, b in xyxy
    ]
    return np.tile(np.float32(colour)[:, :, None, None], (1, 1, 4, 10))


def frame(*boxes):
    """Boxes of two colours on grey, and what a detector finds there."""
    image = np.full((90, 160, 3), 120, np.uint8)
    for (left, top, right, bottom), colour in boxes:
        image[top:bottom, left:right] = colour
    xyxy = np.array([box for box, _ in boxes], np.float32).reshape(-1, 4)
    return image, detectors.seen(xyxy, np.full(len(boxes), 0.9), "made")


def walk(x, colour):
    return (x, 20, x + 20, 70), colour


def test_a_first_sighting_has_its_tracks_number_once_confirmed():
    follower = tracking.Follower(describe)
    shown = [
        frame(walk(10, LEFT)),
        frame(walk(13, LEFT), walk(120, RIGHT)),
        frame(walk(16, LEFT), walk(117, RIGHT), ((60, 5, 70, 15), LEFT)),
    ]
    updates = [follower.update(*one) for one in shown]
    found = [follower.settle(raw).track.tolist() for raw, _ in updates]
    assert found == [[1], [1, 2], [1, 2, -1]]  # the last was seen once only
    assert [own.track.tolist() for _, own in updates] == [[1], [1], [1, 2]]


def test_a_frame_without_anybody_and_other_labels():
    follower = tracking.Follower(describe)
    image, nobody = frame()
    assert len(follower.update(image, nobody)[0]) == 0
    image, found = frame(walk(10, LEFT), walk(100, RIGHT))
    found = dataclasses.replace(found, label=("person", "dog"))
    raw, own = follower.update(image, found)
    assert raw.label == ("person", "dog")
    assert set(own.label) == {"person", "dog"}
    assert follower.settle(raw).track.tolist() == [1, 2]


def slow_box(number):
    """Where the file says that somebody is."""
    return [10 + number, 12, 50 + number, 60]


@pytest.fixture
def raw(tmp_path):
    raw_trees.write_video(tmp_path / "raw/a.mp4", 12.0, fps=6)
    rows = [
        {"video": "a", "frame": n + 1, "xyxy": slow_box(n), "label": "person"}
        for n in range(72)
    ]
    path = tmp_path / "boxes.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_records_of_a_box_file_are_tracked(raw):
    asked = finders.People(
        bodies="file", faces="none", boxes=str(raw / "boxes.jsonl"), boxes_fps=6
    )
    clip = items.Clip(str(raw / "raw"), "a", "a", "a.mp4", None, None, (), ())
    settings = items.Settings(raw_trees.GRID)
    (record,) = clips.records(clip, settings, asked, items.Losses())
    assert record.boxes.frame.tolist() == list(range(record.is_frame_valid.sum()))
    assert set(record.boxes.track.tolist()) == {1}
    assert set(record.boxes.source) == {"file"}
    for box, time_s in zip(
        record.boxes.xyxy_px, record.frame_time_s[record.is_frame_valid], strict=True
    ):
        expected = slow_box(round(time_s * 6))
        np.testing.assert_array_equal(box, expected)
    assert asked.settings()["boxes"]["name"] == "boxes.jsonl"


def test_true_boxes_of_the_toy_set_are_a_source(tmp_path):
    toy.render(tmp_path, domain="people", train_clips=1, val_clips=0, seed=4, workers=1)
    asked = finders.People(
        bodies="file", faces="none", boxes=str(tmp_path / "boxes.jsonl")
    )
    clip = tvqa.plan(tmp_path).clips["train"][0]
    settings = items.Settings(raw_trees.GRID, sub_segments=1)
    record = next(clips.records(clip, settings, asked, items.Losses()))
    text = (tmp_path / "boxes.jsonl").read_text()
    true = [json.loads(line) for line in text.splitlines()]
    for place in np.flatnonzero(record.is_frame_valid):
        number = round(float(record.frame_time_s[place]) * 3) + 1
        at = record.boxes.frame == place
        expected = {(r["label"], r["track"]) for r in true if r["frame"] == number}
        found = zip(
            np.array(record.boxes.label)[at], record.boxes.track[at], strict=True
        )
        assert {(str(label), int(track)) for label, track in found} == expected
    assert {"body", "object"} <= set(record.boxes.kind)  # Eq. 4 has what to choose from


def test_boxes_of_a_file_that_are_none_are_told(raw):
    path = raw / "boxes.jsonl"
    bad = {"video": "a", "frame": 1, "label": "person", "xyxy": [30, 12, 10, 60]}
    sized = {"width": 160, "height": 90}
    out_of_it = bad | sized | {"xyxy": [150, 10, 190, 60]}
    rows = path.read_text() + json.dumps(bad) + "\n" + json.dumps(out_of_it) + "\n"
    path.write_text(rows)
    asked = finders.People(bodies="file", faces="none", boxes=str(path), boxes_fps=6)
    options = {"finder": asked, "worker_count": 0, "bar": False}
    settings = items.Settings(raw_trees.GRID)
    manifest = build.build_video(raw / "raw", raw / "out", settings, **options)
    text = (raw / "out/repaired.jsonl").read_text()
    reasons = [json.loads(line)["reason"] for line in text.splitlines()]
    assert reasons == [
        "1 box is cut to the picture",
        "1 box is left out: no area",
    ]
    assert manifest.counts["repaired"] == 2
    assert str(raw) not in text


def build_with(raw, path, rows):
    """Records with a box file of these rows; what is told, in order."""
    lines = [
        {"label": "person", "xyxy": [10, 12, 30, 60], "frame": 1} | r for r in rows
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    asked = finders.People(bodies="file", faces="none", boxes=str(path), boxes_fps=6)
    options = {"finder": asked, "worker_count": 0, "bar": False}
    settings = items.Settings(raw_trees.GRID)
    build.build_video(raw / "raw", raw / "out", settings, **options)
    text = (raw / "out/repaired.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    assert {row["file"] for row in rows} == {path.name}
    return [(row["video"], row["reason"]) for row in rows]


def test_boxes_that_no_frame_can_show_are_told(raw):
    """Of another video, after the end, outside the frame; a line for each reason."""
    rows = [{"video": "a"}, {"video": "A"}, {"video": "b"}, {"video": "b"}]
    rows += [{"video": "a", "frame": frame} for frame in (72, 73, 74, 200)]
    rows += [{"video": "a", "frame": n, "xyxy": [160, 0, 170, 9]} for n in (2, 3)]
    rows += [{"video": "a", "frame": 2, "xyxy": [150, 0, 170, 9]}]
    assert build_with(raw, raw / "mine.jsonl", rows) == [
        ("", "3 boxes are left out: of videos that are no clips, such as 'A'"),
        ("a", "1 box is cut to the picture"),
        ("a", "2 boxes are left out: after the end at 12.0 s"),
        ("a", "2 boxes are left out: outside the picture of 160x90"),
    ]


def test_clips_that_a_file_does_not_know_are_told(raw):
    """An empty MOT file says that there is nobody; no file says nothing."""
    for name in ("b", "c", "d"):
        raw_trees.write_video(raw / f"raw/{name}.mp4", 1.0)
    (raw / "mot").mkdir()
    (raw / "mot/a.txt").write_text("1,1,10,10,30,30,1,-1,-1,-1\n")
    (raw / "mot/b.txt").write_text("")
    asked = finders.People(bodies="file", faces="none", boxes=str(raw / "mot"))
    options = {"finder": asked, "worker_count": 0, "bar": False}
    settings = items.Settings(raw_trees.GRID)
    build.build_video(raw / "raw", raw / "out", settings, **options)
    (line,) = (raw / "out/repaired.jsonl").read_text().splitlines()
    assert json.loads(line) == {
        "video": "",
        "question": "",
        "file": "mot",
        "reason": "says nothing of 2 of 4 clips, such as 'c': no boxes there",
    }


def test_a_file_of_boxes_of_other_videos_alone_is_refused(raw):
    with pytest.raises(ValueError, match="none of the 1 clips: .* 'a', not 'B'"):
        build_with(raw, raw / "mine.jsonl", [{"video": "B"}])
    assert not (raw / "out").exists()


def test_a_file_that_changed_is_read_again(raw):
    """In one process, as in a notebook."""
    path = raw / "mine.jsonl"
    assert len(build_with(raw, path, [{"video": "a"}, {"video": "b"}])) == 1
    shutil.rmtree(raw / "out")
    told = build_with(raw, path, [{"video": "a", "frame": 200}])
    assert told == [("a", "1 box is left out: after the end at 12.0 s")]


def test_a_file_without_boxes_is_told(raw):
    told = build_with(raw, raw / "mine.jsonl", [])
    assert told == [("", "holds no boxes that can be used")]


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf"), 1e9])
def test_a_rate_that_no_boxes_have(fps):
    with pytest.raises(ValueError, match="--boxes-fps .*: must be more than 0"):
        finders.People(bodies="file", boxes="a.jsonl", boxes_fps=fps)


@pytest.mark.parametrize(("within", "shown"), [(0.0, 1), (1.0, 2), (30.0, 3)])
def test_sparse_boxes_stand_for_the_frames_around_them(raw, within, shown):
    """Frames of the record are those of 2.33, 7 and 11.67 s."""
    path = raw / "mine.jsonl"
    box = {"video": "a", "xyxy": slow_box(0), "label": "person"}
    rows = [box | {"second": second} for second in (3.1, 7.0)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = finders.People(
        bodies="file", faces="none", boxes=str(path), boxes_within=within
    )
    clip = items.Clip(str(raw / "raw"), "a", "a", "a.mp4", None, None, (), ())
    settings = items.Settings(raw_trees.GRID)
    (record,) = clips.records(clip, settings, asked, items.Losses())
    assert len(set(record.boxes.frame.tolist())) == shown


@pytest.mark.parametrize("within", [-1.0, float("nan"), float("inf")])
def test_a_time_that_is_none(within):
    with pytest.raises(ValueError, match="--boxes-within .*: must be 0 or more"):
        finders.People(bodies="file", boxes="a.jsonl", boxes_within=within)


def test_only_sampled_frames_where_nothing_is_tracked(raw):
    looked = []

    @dataclasses.dataclass
    class Counts:
        fps: float | None

        def __call__(self, clip, looks):
            looks = list(looks)
            looked.append((len(looks), sum(look.is_sampled for look in looks)))
            return raw_trees.find_red([x.image for x in looks if x.is_sampled])

        def lost(self, clip, duration_s, size_px):
            return []

    clip = items.Clip(str(raw / "raw"), "a", "a", "a.mp4", None, None, (), ())
    made = [
        list(
            clips.records(
                clip, items.Settings(raw_trees.GRID), Counts(fps), items.Losses()
            )
        )
        for fps in (None, 3.0)
    ]
    assert looked[0] == (3, 3)
    assert looked[1][1] == 3
    assert looked[1][0] > 25  # 9.3 s at 3 a second
    np.testing.assert_array_equal(made[0][0].boxes.xyxy_px, made[1][0].boxes.xyxy_px)
    assert made[0][0].frames == made[1][0].frames


def test_flags_that_do_not_go_together():
    with pytest.raises(ValueError, match="--bodies yolox and --yolox FILE go together"):
        finders.People(bodies="yolox")
    with pytest.raises(ValueError, match="--faces frog: is none of mtcnn"):
        finders.People(faces="frog")


def test_walkers_on_real_footage_keep_their_numbers(shared):
    clip = items.Clip(
        str(shared / "media/videos"), "w", "w", "pedestrians_a.mp4", None, None, (), ()
    )
    settings = items.Settings(segments=4, sub_segments=1)
    record = next(
        clips.records(clip, settings, finders.People(faces="none"), items.Losses())
    )
    bodies = np.array(record.boxes.kind) == "body"
    tracks = record.boxes.track[bodies]
    assert (tracks >= 0).mean() > 0.7
    counts = np.unique(tracks[tracks >= 0], return_counts=True)[1]
    assert counts.max() >= 3  # somebody in 3 of the 4 frames, 1.6 s apart
    for place in range(4):
        here = record.boxes.track[bodies & (record.boxes.frame == place)]
        here = here[here >= 0].tolist()
        assert len(here) == len(set(here))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"boxes_within": 1.0}, "--boxes-within: needs --boxes FILE"),
        ({"normalise": "unitrack"}, "--normalise: needs --yolox FILE"),
        ({"appearance": "a.onnx", "tracks": "none"}, "--appearance: needs tracks"),
    ],
)
def test_an_option_about_what_is_not_there_is_refused(given, told):
    with pytest.raises(ValueError, match=told):
        finders.People(**given)
