"""Files of boxes of each form: what is read, at which time, and what is refused."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.boxes import box_files
from preprocessing.boxes.unitrack import mot

LINE = {"video": "a", "frame": 3, "xyxy": [1, 2, 30, 40], "label": "person"}


def write(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(content, str):
        content = json.dumps(content)
    path.write_text(content, encoding="utf-8")
    return path


def lines(folder, *entries):
    return write(folder, "boxes.jsonl", "\n".join(map(json.dumps, entries)))


def test_a_line_is_found_at_its_video_and_frame(tmp_path):
    entry = {**LINE, "score": 0.5, "track": 7}
    boxes = box_files.read(lines(tmp_path, entry))
    found = boxes.boxes_at("a", 2 / 3, 3)  # frame 3 shows second 2 / 3
    assert found.xyxy_px.tolist() == [[1, 2, 30, 40]]
    assert found.kind == ("body",)
    assert found.label == ("person",)
    assert found.score.tolist() == [0.5]
    assert found.track.tolist() == [7]
    assert found.source == ("boxes.jsonl",)
    assert found.frame.tolist() == [0]
    assert len(boxes.boxes_at("a", 2 / 3 + 0.16, 3)) == 1  # still the nearest
    assert len(boxes.boxes_at("a", 2 / 3 + 0.17, 3)) == 0
    assert len(boxes.boxes_at("b", 2 / 3, 3)) == 0
    assert "a" in boxes
    assert "b" not in boxes
    assert boxes.frames_of("a", 3) == [3]
    assert boxes.frames_of("b", 3) == []


def test_a_second_is_the_nearest_frame_at_any_rate(tmp_path):
    entry = {"video": "a", "second": 1.0, "xyxy": [0, 0, 9, 9], "label": "cup"}
    boxes = box_files.read(lines(tmp_path, entry))
    assert boxes.frames_of("a", 3) == [4]
    assert boxes.frames_of("a", 25) == [26]
    assert len(boxes.boxes_at("a", 1.01, 25)) == 1
    assert len(boxes.boxes_at("a", 1.03, 25)) == 0


def test_a_frame_without_boxes_takes_those_of_the_nearest(tmp_path):
    rows = [(4, 1), (4, 2), (10, 3), (13, 4)]
    boxes = box_files.read(
        lines(tmp_path, *({**LINE, "frame": at, "track": one} for at, one in rows))
    )

    def tracks(number, within_s):
        time_s = (number - 1) / 3
        return boxes.boxes_at("a", time_s, 3, None, within_s).track.tolist()

    assert tracks(4, 1.0) == tracks(4, 0.0) == [1, 2]
    assert tracks(5, 0.0) == []
    assert tracks(5, 0.3) == []
    assert tracks(5, 0.34) == [1, 2]
    assert tracks(7, 1.0) == [1, 2]  # 10 is as far: the earlier
    assert tracks(8, 1.0) == [3]
    assert tracks(1, 1.0) == [1, 2]
    assert tracks(16, 1.0) == [4]
    assert tracks(17, 1.0) == []
    assert len(boxes.boxes_at("b", 1.0, 3, None, 9.0)) == 0


def test_kinds_and_defaults(tmp_path):
    names = ("person", "Face", "red ball", "Woman")
    boxes = box_files.read(lines(tmp_path, *({**LINE, "label": n} for n in names)))
    found = boxes.boxes_at("a", 1.0, 2)
    assert found.kind == ("body", "face", "object", "body")
    assert found.label == names  # in the file's order
    assert found.score.tolist() == [1.0] * 4
    assert found.track.tolist() == [-1] * 4


def test_boxes_that_can_not_be_are_left_out_and_counted(tmp_path):
    shapes = [
        [1, 2, 30, 40],
        [math.nan, 2, 30, 40],
        [1, 2, math.inf, 40],
        [30, 2, 1, 40],
        [1, 2, 30, 2],
        [70, 2, 90, 40],
        [-5, 2, 30, 70],
    ]
    size = {"width": 64, "height": 48}
    entries = [{**LINE, "xyxy": xyxy, **size} for xyxy in shapes]
    boxes = box_files.read(lines(tmp_path, *entries))
    found = boxes.boxes_at("a", 1.0, 2)
    assert found.xyxy_px.tolist() == [[1, 2, 30, 40], [0, 2, 30, 48]]
    assert boxes.counts == {"not finite": 2, "no area": 2, "outside": 1, "cut": 1}
    assert len(boxes) == 2


def test_a_frame_of_another_size_scales_and_cuts(tmp_path):
    entries = [
        {**LINE, "xyxy": [0, 0, 32, 24], "width": 64, "height": 48},
        {**LINE, "xyxy": [100, 10, 140, 20]},  # of a picture of unknown size
        {**LINE, "xyxy": [128, 10, 140, 20]},
    ]
    boxes = box_files.read(lines(tmp_path, *entries))
    assert not boxes.counts
    found = boxes.boxes_at("a", 1.0, 2, (128, 144))
    assert found.xyxy_px.tolist() == [[0, 0, 64, 72], [100, 10, 128, 20]]
    assert not boxes.counts
    told = {"outside the picture of 128x144": 1, "cut": 1}
    assert boxes.lost("a", 9.0, 2, (128, 144)) == told
    assert boxes.lost("a", 0.4, 2, (128, 144)) == {"after the end at 0.4 s": 3}
    assert boxes.lost("b", 0.0, 2, (128, 144)) == {}


def test_videos_go_by_shorter_names_that_are_theirs_alone(tmp_path):
    names = ("x/one.mp4", "x/two.mp4", "y/two.mp4", "s01.clip", "one")
    entries = [{**LINE, "video": v, "track": i} for i, v in enumerate(names)]
    boxes = box_files.read(lines(tmp_path, *entries))

    def track(video):
        return boxes.boxes_at(video, 1.0, 2).track.tolist()

    for i, name in enumerate(names):
        assert track(name) == [i]
    assert track("x/one") == [0]
    assert track("one.mp4") == [0]
    assert track("one") == [4]  # a name as it is written goes first
    assert track("two") == track("two.mp4") == []
    assert track("s01") == []


numbers = st.floats(-1e4, 1e4, width=32)
entries = st.builds(
    lambda video, when, corner, size, label, score, track: {
        "video": video,
        **when,
        "xyxy": [*corner, corner[0] + size[0], corner[1] + size[1]],
        "label": label,
        "score": score,
        "track": track,
    },
    video=st.sampled_from(["a", "b/c", "ü 1"]),
    when=st.one_of(
        st.builds(lambda n: {"frame": n}, st.integers(1, 5)),
        st.builds(lambda n: {"second": n / 4}, st.integers(0, 8)),
    ),
    corner=st.tuples(numbers, numbers),
    size=st.tuples(st.floats(1, 100), st.floats(1, 100)),
    label=st.sampled_from(["person", "face", "cup"]),
    score=st.floats(0, 1, width=32),
    track=st.integers(-1, 9),
)


@settings(deadline=None, max_examples=20)
@given(st.lists(entries, max_size=12), st.sampled_from([1.0, 4.0, 3.0]))
def test_lines_come_back_at_their_frames(tmp_path_factory, written, fps):
    boxes = box_files.read(lines(tmp_path_factory.mktemp("lines"), *written))
    assert len(boxes) == len(written)
    for video in ("a", "b/c", "ü 1"):
        for number in range(1, 12):
            expected = [
                entry
                for entry in written
                if entry["video"] == video
                and number
                == entry.get(
                    "frame", math.floor(entry.get("second", 0) * fps + 0.5) + 1
                )
            ]
            found = boxes.boxes_at(video, (number - 1) / fps, fps)
            assert list(found.label) == [entry["label"] for entry in expected]
            assert found.track.tolist() == [entry["track"] for entry in expected]
            np.testing.assert_allclose(
                found.xyxy_px, np.float32([e["xyxy"] for e in expected]).reshape(-1, 4)
            )
            np.testing.assert_array_equal(found.score, [e["score"] for e in expected])


@settings(deadline=None, max_examples=20)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 4),
            st.integers(-1, 9),
            st.tuples(numbers, numbers, st.floats(1, 99), st.floats(1, 99)),
            st.floats(0, 1),
        ),
        max_size=9,
    )
)
def test_mot_files_come_back(tmp_path_factory, written):
    folder = tmp_path_factory.mktemp("mot")
    frame, track, tlwh, score = zip(*written, strict=True) if written else [()] * 4
    rows = mot.Rows(
        np.array(frame, int),
        np.array(track, int),
        np.array(tlwh, float).reshape(-1, 4),
        np.array(score, float),
        np.full(len(frame), -1),
    )
    (folder / "v.txt").write_text("".join(mot.lines(rows)))
    boxes = box_files.read(folder)
    for number in range(1, 5):
        found = boxes.boxes_at("v", (number - 1) / 3, 3)
        expected = [row for row in written if row[0] == number]
        assert found.track.tolist() == [row[1] for row in expected]
        np.testing.assert_allclose(
            found.xyxy_px,
            np.float64(
                [(x, y, x + w, y + h) for *_, (x, y, w, h), _ in expected]
            ).reshape(-1, 4),
            rtol=1e-5,
            atol=1e-3,
        )
        assert set(found.kind) <= {"body"}


def test_unitracks_pixels_need_the_size_of_the_frame(tmp_path):
    path = write(tmp_path, "v.txt", "1,4,64,36,32,18,1,-1,-1,-1\n")
    boxes = box_files.read(path, mot_pixels="img0")
    with pytest.raises(ValueError, match="need the size of the frame"):
        boxes.boxes_at("v", 0.0, 25)
    found = boxes.boxes_at("v", 0.0, 25, (1280, 720))  # resized to 640 x 360
    assert found.xyxy_px.tolist() == [[128, 72, 192, 108]]
    assert box_files.read(path).boxes_at(
        "v", 0.0, 25, (1280, 720)
    ).xyxy_px.tolist() == [[64, 36, 96, 54]]
    with pytest.raises(ValueError, match="must be source or img0"):
        box_files.read(path, mot_pixels="cm")


def test_classes_of_mot_files_need_names(tmp_path):
    path = write(tmp_path, "v.txt", "1,-1,0,0,9,9,0.5,1,-1,-1\n")
    with pytest.raises(ValueError, match=r"v\.txt, frame 1: class 1 has no name"):
        box_files.read(path)
    boxes = box_files.read(path, mot_labels=("person", "bicycle"))
    found = boxes.boxes_at("v", 0, 3)
    assert (found.label, found.kind) == (("bicycle",), ("object",))


COCO = {
    "images": [
        {"id": 5, "file_name": "show/clip_1/00007.jpg", "width": 64, "height": 48},
        {"id": 6, "file_name": "show/clip_1/00008.jpg", "width": 64, "height": 48},
        {"id": 7, "file_name": "b_003.png", "width": 64, "height": 48},
        {"id": 8, "file_name": "c/frame_0002.jpg", "width": 64, "height": 48},
    ],
    "categories": [{"id": 1, "name": "person"}, {"id": 44, "name": "bottle"}],
    "annotations": [
        {"image_id": 5, "category_id": 1, "bbox": [1, 2, 10, 20], "score": 0.25},
        {"image_id": 5, "category_id": 44, "bbox": [1, 2, 99, 20], "track_id": 3},
        {"image_id": 6, "category_id": 1, "bbox": [1, 2, 0, 20]},
        {"image_id": 6, "category_id": 1, "bbox": [0, 0, 60, 40], "iscrowd": 1},
        {"image_id": 7, "category_id": 1, "bbox": [0, 0, 8, 8]},
        {"image_id": 8, "category_id": 1, "bbox": [0, 0, 9, 9]},
    ],
}


def test_coco_pictures_are_frames_of_videos(tmp_path):
    boxes = box_files.read(write(tmp_path, "coco.json", COCO))
    assert boxes.counts == {"no area": 1, "crowd": 1, "cut": 1}
    for name in ("show/clip_1", "clip_1"):
        found = boxes.boxes_at(name, 2.0, 3)
        assert found.xyxy_px.tolist() == [[1, 2, 11, 22], [1, 2, 64, 22]]
        assert found.label == ("person", "bottle")
        assert found.score.tolist() == [0.25, 1.0]
        assert found.track.tolist() == [-1, 3]
    assert boxes.frames_of("b", 3) == [3]
    assert boxes.frames_of("c", 3) == [2]
    doubled = boxes.boxes_at("b", 2.0, 1, (128, 96))
    assert doubled.xyxy_px.tolist() == [[0, 0, 16, 16]]


def test_tvqa_plus_sample(shared):
    path = shared / "data" / "tvqa" / "tvqa_plus_val.sample.json"
    boxes = box_files.read(path)
    questions = json.loads(path.read_text())
    listed = [box for q in questions for frame in q["bbox"].values() for box in frame]
    assert boxes.counts["speck"] == sum(
        min(b["width"], b["height"]) <= 1 for b in listed
    )
    left_out = sum(boxes.counts[r] for r in ("speck", "repeated", "outside", "no area"))
    assert len(boxes) + left_out == len(listed)
    found = boxes.boxes_at("s04e15_seg02_clip_11", 0.0, 3)
    assert found.label == ("person",)
    assert found.kind == ("body",)
    assert found.xyxy_px.tolist() == [[173, 16, 418, 360]]
    labels = set()
    for video in boxes.videos:
        for number in boxes.frames_of(video, 3):
            at = boxes.boxes_at(video, (number - 1) / 3, 3, (1280, 720))
            assert len(at)
            assert (at.xyxy_px >= 0).all()
            assert (at.xyxy_px <= [1280, 720, 1280, 720]).all()
            labels |= set(zip(at.label, at.kind, strict=True))
    assert ("couch", "object") in labels
    assert not {name for name, _ in labels} & {"Sheldon", "Stuart", "Ramona"}


def test_tvqa_plus_boxes_that_questions_share_count_once(tmp_path):
    box = {"img_id": 4, "left": 1, "top": 2, "width": 9, "height": 9, "label": "Raj"}
    question = {"vid_name": "v", "bbox": {"4": [box], "10": []}}
    boxes = box_files.read(write(tmp_path, "plus.json", [question, question]))
    assert len(boxes.boxes_at("v", 1.0, 3)) == 1
    assert boxes.counts == {"repeated": 1}


def without(name):
    return {key: value for key, value in LINE.items() if key != name}


BAD_LINES = [
    ("{", "line 2: is no JSON"),
    ("[1]", r"line 2: must be an object"),
    ("[" * 100_000, "line 2: is no JSON"),
    (without("video"), "line 2: video is missing"),
    (without("xyxy"), "line 2: xyxy is missing"),
    (without("label"), "line 2: label is missing"),
    (without("frame"), "line 2: give either frame or second"),
    ({**LINE, "second": 1}, "line 2: give either frame or second"),
    ({**LINE, "frame": 0}, "line 2: frame is 0; .* at least 1"),
    ({**LINE, "frame": 1.5}, "line 2: frame is 1.5; it must be a whole number"),
    ({**LINE, "frame": True}, "line 2: frame is True; it must be a number"),
    ({**LINE, "frame": 10**400}, "line 2: frame is 1000"),
    ({**LINE, "frame": math.nan}, "line 2: frame is nan"),
    ({**LINE, "frame": math.inf}, "line 2: frame is inf"),
    ({**without("frame"), "second": -1}, "line 2: second is -1; it must be 0 or more"),
    ({**without("frame"), "second": math.nan}, "line 2: second is nan"),
    ({**LINE, "xyxy": [1, 2, 3]}, r"line 2: xyxy is \[1, 2, 3\]; .* four numbers"),
    ({**LINE, "xyxy": [1, 2, 3, "4"]}, "line 2: xyxy is"),
    ({**LINE, "label": " "}, "line 2: label is ' '; it must be a text"),
    ({**LINE, "label": "\ud800"}, "line 2: label is .*, which is no valid Unicode"),
    ({**LINE, "score": 1.5}, "line 2: score is 1.5; it must be from 0 to 1"),
    ({**LINE, "score": math.nan}, "line 2: score is nan"),
    ({**LINE, "score": None}, "line 2: score is None"),
    ({**LINE, "track": -2}, "line 2: track is -2"),
    ({**LINE, "width": 0, "height": 4}, "line 2: width is 0"),
    ({**LINE, "width": 4}, "line 2: height is missing"),
    ({**LINE, "lable": "x"}, "line 2: 'lable' is no field; use video"),
]


@pytest.mark.parametrize(("line", "reason"), BAD_LINES)
def test_bad_lines_are_named(tmp_path, line, reason):
    text = line if isinstance(line, str) else json.dumps(line)
    path = write(tmp_path, "boxes.jsonl", json.dumps(LINE) + "\n" + text + "\n")
    with pytest.raises(ValueError, match=reason) as caught:
        box_files.read(path)
    assert str(path) in str(caught.value)


def coco(part, **changes):
    content = json.loads(json.dumps(COCO))
    content[part][0] |= changes
    return content


BAD_FILES = {
    "annotations": (coco("annotations", image_id=9), "annotations.0.: image_id 9 is"),
    "category": (coco("annotations", category_id=9), "category_id 9 is none"),
    "bbox": (coco("annotations", bbox="x"), "annotations.0.: bbox is 'x'"),
    "name": (coco("images", file_name="00001.jpg"), "images.0.: file_name '00001.jpg'"),
    "zero": (coco("images", file_name="v/000.jpg"), "frames count from 1"),
    "size": (coco("images", width="a"), "images.0.: width is 'a'"),
    "list": ({**COCO, "categories": 3}, "json: categories is 3; it must be a list"),
    "lack": ({"images": [], "annotations": []}, "json: categories is missing"),
    "other": ({"boxes": []}, "is neither COCO"),
    "results": ([{"image_id": 1, "bbox": [1, 2, 3, 4]}], "is neither COCO"),
    "broken": ('{"images": [', "is no JSON"),
    "frames": ([{"vid_name": "v", "bbox": {"x": []}}], r"\[0\].bbox: 'x' is no frame"),
    "plus": ([{"vid_name": "v", "bbox": []}], r"\[0\].bbox: must be an object"),
    "side": (
        [{"vid_name": "v", "bbox": {"1": [{"left": 1}]}}],
        r"\[0\].bbox.1\[0\]: top is missing",
    ),
    "video": ([{"vid_name": 3, "bbox": {}}], r"\[0\]: vid_name is 3"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_json_files_are_named(tmp_path, name):
    content, reason = BAD_FILES[name]
    path = write(tmp_path, "boxes.json", content)
    with pytest.raises(ValueError, match=reason) as caught:
        box_files.read(path)
    assert str(path) in str(caught.value)


def test_other_paths_are_refused_and_named(tmp_path):
    with pytest.raises(ValueError, match="is missing"):
        box_files.read(tmp_path / "none.json")
    with pytest.raises(ValueError, match="is none of .jsonl"):
        box_files.read(write(tmp_path, "boxes.csv", "1,2"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no <video>.txt"):
        box_files.read(tmp_path / "empty")
    with pytest.raises(ValueError, match=r"v\.txt, line 1"):
        box_files.read(write(tmp_path, "v.txt", "1,2,3\n"))
    with pytest.raises(ValueError, match=r"v\.txt, frame 1: score is 7"):
        box_files.read(write(tmp_path, "v.txt", "1,2,3,4,5,6,7\n"))
    latin = tmp_path / "latin.jsonl"
    latin.write_bytes(json.dumps(LINE).encode() + b'\n{"video": "\xfc"}')
    with pytest.raises(ValueError, match="is not UTF-8"):
        box_files.read(latin)


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_flipped_bytes_are_an_error_or_boxes(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("flip")
    content = bytearray(json.dumps(COCO).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(
            st.integers(0, 255)
        )
    path = folder / "coco.json"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        boxes = box_files.read(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert len(boxes) <= len(COCO["annotations"])
