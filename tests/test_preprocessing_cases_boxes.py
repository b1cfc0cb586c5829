"""Boxes that are easily read wrongly: shares, boxes that do not count, words."""

import json

import numpy as np
import pytest
from helpers import raw_trees

from mmdiffmask.data.records import shards
from preprocessing import __main__, build, items
from preprocessing.boxes import box_files, box_words, detectors, finders
from preprocessing.work import out_folder

SETTINGS = items.Settings(raw_trees.GRID)
ROW = {"video": "a", "second": 1.0, "xyxy": [0.1, 0.2, 0.4, 0.9], "label": "person"}
COCO = {
    "images": [{"id": 1, "file_name": "a/4.jpg", "width": 640, "height": 480}],
    "annotations": [{"image_id": 1, "category_id": 1, "bbox": [0.1, 0.2, 0.3, 0.7]}],
    "categories": [{"id": 1, "name": "person"}],
}


def write(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def jsonl(folder, *rows):
    return write(folder, "boxes.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


SHARES = {
    "boxes.jsonl": json.dumps(ROW),
    "sized.jsonl": json.dumps(ROW | {"width": 640, "height": 480}),
    "coco.json": json.dumps(COCO),
    "mot/a.txt": "4,1,0.1,0.2,0.3,0.7,0.9,-1,-1,-1\n",
}


@pytest.mark.parametrize("name", SHARES)
def test_shares_are_refused_or_taken_as_such(tmp_path, name):
    path = write(tmp_path, name, SHARES[name])
    path = path.parent if path.parent.name == "mot" else path
    with pytest.raises(ValueError, match="add --boxes-unit share$") as caught:
        box_files.read(path)
    assert str(path) in str(caught.value)
    boxes = box_files.read(path, unit="share")
    found = boxes.boxes_at("a", 1.0, 3, (160, 96))
    np.testing.assert_allclose(found.xyxy_px, [[16, 19.2, 64, 86.4]], rtol=1e-6)
    assert not boxes.counts


def test_shares_that_reach_out_of_the_picture_are_cut(tmp_path):
    rows = [ROW | {"xyxy": [-0.02, 0.2, 1.04, 0.5]}, ROW, ROW | {"xyxy": [0, 0, 1, 1]}]
    boxes = box_files.read(jsonl(tmp_path, *rows), unit="share")
    found = boxes.boxes_at("a", 1.0, 3, (100, 100))
    assert found.xyxy_px.round(4).tolist()[0] == [0, 20, 100, 50]
    assert found.xyxy_px.tolist()[2] == [0, 0, 100, 100]
    assert boxes.counts == {"cut": 1}
    assert boxes.lost("a", 9.0, 3, (100, 100)) == {}


def test_shares_of_a_picture_of_one_pixel_are_said_to_be_such(tmp_path):
    boxes = box_files.read(jsonl(tmp_path, ROW | {"width": 1, "height": 1}))
    found = boxes.boxes_at("a", 1.0, 3, (160, 96))
    np.testing.assert_allclose(found.xyxy_px, [[16, 19.2, 64, 86.4]], rtol=1e-6)


def test_pixels_are_no_shares(tmp_path):
    rows = [ROW, ROW | {"xyxy": [10, 10, 30, 50]}]
    for xyxy in ([0, 0, 1, 1], [0.5, 0.5, 1.5, 1.5], [0, 0, 0, 0]):
        assert box_files.read(jsonl(tmp_path, ROW | {"xyxy": xyxy})) is not None
    path = jsonl(tmp_path, *rows)  # one small box among others
    assert len(box_files.read(path)) == 2
    with pytest.raises(ValueError, match="is 50.; leave --boxes-unit share away"):
        box_files.read(path, unit="share")
    assert len(box_files.read(jsonl(tmp_path), unit="share")) == 0


def test_the_unit_belongs_to_the_settings(tmp_path):
    file = str(jsonl(tmp_path, ROW))
    people = {
        unit: finders.People(bodies="file", boxes=file, boxes_unit=unit).settings()
        for unit in ("pixel", "share")
    }
    assert people["pixel"] != people["share"]
    with pytest.raises(ValueError, match="--boxes-unit cm: is none of pixel, share"):
        finders.People(bodies="file", boxes=file, boxes_unit="cm")
    with pytest.raises(ValueError, match="--boxes-unit: needs --boxes FILE"):
        finders.People(boxes_unit="share")
    with pytest.raises(ValueError, match="leave --boxes-pixels away"):
        finders.People(
            bodies="file", boxes=file, boxes_unit="share", boxes_pixels="img0"
        )


TRUTH = {  # ends of lines of which the second does not count
    "with classes": ("1,1,1", "0,1,0.5"),
    "with classes, as decimals": ("1.0,1,1.0", "0.0,9,0.5"),
    "eight columns": ("1,1", "0,9"),
    "of 2015": ("1,-1,-1,-1", "0,-1,-1,-1"),
    "of 2015, in the world": ("1,-5.2,3.5,0", "0,-5.2,3.5,0"),
    "seven columns": ("1", "0"),
}


@pytest.mark.parametrize("form", TRUTH)
def test_boxes_that_do_not_count_are_left_out_and_counted(tmp_path, form):
    counted, ignored = TRUTH[form]
    text = "".join(
        f"{frame},1,10,10,20,40,{counted}\n{frame},2,50,10,20,40,{ignored}\n"
        for frame in range(1, 13)
    )
    write(tmp_path, "mot/a.txt", text)
    labels = ("none", "pedestrian")  # of the classes of what counts
    boxes = box_files.read(tmp_path / "mot", mot_labels=labels)
    found = boxes.boxes_at("a", 2.0, 3)
    assert found.xyxy_px.tolist() == [[10, 10, 30, 50]]
    assert (found.kind, found.track.tolist()) == (("body",), [1])
    (told,) = box_files.tell(boxes.counts)
    assert told.startswith("12 boxes are left out: 0 in column 7 of MOT text")


def test_a_confidence_is_no_flag(tmp_path):
    text = "1,-1,10,10,20,40,0.01,-1,-1,-1\n1,-1,50,10,20,40,0.9,-1,-1,-1\n"
    boxes = box_files.read(write(tmp_path, "a.txt", text))
    assert boxes.boxes_at("a", 0, 3).score.tolist() == pytest.approx([0.01, 0.9])
    assert not boxes.counts
    text = "1,1,10,10,20,40\n1,2,50,10,20,40\n"  # no column 7
    assert len(box_files.read(write(tmp_path, "a.txt", text))) == 2


def test_what_coco_says_is_to_be_ignored_is_left_out(tmp_path):
    big = {"image_id": 1, "category_id": 1, "bbox": [10, 10, 50, 50]}
    content = COCO | {"annotations": [big | {"ignore": 1}, big | {"ignore": 0}, big]}
    boxes = box_files.read(write(tmp_path, "coco.json", content))
    assert len(boxes) == 2
    assert boxes.counts == {"marked to be ignored": 1}


WORDS = {
    "body": "person Person PEOPLE persons human Humans man men Woman women boy girls"
    " child children kid baby pedestrian Pedestrians rider cyclist adult human_body"
    " person_1 man2 human-being",
    "face": "face Faces Human_face human-faces FACE face_3",
    "object": "cup red_ball human_hand head mannequin personal_computer baby_carriage"
    " 7 ? _",
}


@pytest.mark.parametrize("kind", WORDS)
def test_words_for_people_and_faces(kind):
    for word in WORDS[kind].split():
        for label in (word, word.replace("_", " "), f" {word} "):
            assert box_words.kind_of(label) == kind, label


def test_more_labels_of_people_can_be_named(tmp_path):
    names = ("Sheldon", "sitting person", "cup")
    path = jsonl(tmp_path, *(ROW | {"xyxy": [0, 0, 9, 9], "label": n} for n in names))
    boxes = box_files.read(path, person_labels=("sheldon", "Sitting_Person"))
    found = boxes.boxes_at("a", 1.0, 3)
    assert found.kind == ("body", "body", "object")
    assert found.label == names
    assert boxes.objects == {"cup": 1}


def test_classes_of_a_network_are_of_the_same_words():
    seen = detectors.seen(
        np.zeros((3, 4)), np.ones(3), "yolox", ["Pedestrian", "dog", "staff"], ["staff"]
    )
    assert seen.kind == ("body", "object", "body")
    with pytest.raises(ValueError, match="--person-labels: needs --boxes FILE or --yo"):
        finders.People(person_labels=("staff",))


def test_labels_of_objects_are_told_with_their_counts():
    assert box_words.tell_objects({}) == []
    (told,) = box_words.tell_objects({"cup": 1})
    assert told.startswith("1 box is an object by its label: cup (1); --person-labels")
    counts = {f"w{i:02d}": i for i in range(1, 14)}
    (told,) = box_words.tell_objects(counts)
    assert told.startswith("91 boxes are objects by their labels: w13 (13), w12 (12)")
    assert "w04 (4) and 3 more (6);" in told


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.setattr(__main__, "WORKERS", 0)


def run(folder, *flags, out="out"):
    line = ["video", "--raw", folder / "raw", "--out", folder / out]
    return __main__.main([str(word) for word in (*line, "--faces", "none", *flags)])


def told(out):
    text = (out / out_folder.REPAIRED).read_text()
    return [json.loads(line)["reason"] for line in text.splitlines()]


def test_records_of_other_words_and_a_rerun_with_other_labels(tmp_path, capsys):
    raw_trees.write_video(tmp_path / "raw/a.mkv", 4.0)
    words = ("people", "human", "persons", "Human face", "child", "Girl", "staff")
    path = jsonl(
        tmp_path,
        *(
            ROW | {"second": 2.0, "label": word, "xyxy": [20 * i, 10, 20 * i + 18, 80]}
            for i, word in enumerate(words)
        ),
    )
    flags = ("--boxes", path, "--boxes-within", 2, "--tracks", "none")
    assert run(tmp_path, *flags) == 0
    record = shards.open_split(tmp_path / "out", "train")[0]
    kinds = dict(zip(record.boxes.label, record.boxes.kind, strict=True))
    assert kinds == {word: "body" for word in words} | {
        "Human face": "face",
        "staff": "object",
    }
    (reason,) = told(tmp_path / "out")
    assert reason.startswith("1 box is an object by its label: staff (1)")
    assert run(tmp_path, *flags, "--person-labels", "staff") == 2
    assert "made with boxes: person_labels" in capsys.readouterr().err
    assert run(tmp_path, *flags, "--person-labels", "staff", out="more") == 0
    record = shards.open_split(tmp_path / "more", "train")[0]
    assert record.boxes.kind.count("body") == 6
    assert told(tmp_path / "more") == []


def test_records_of_shares(tmp_path, capsys):
    raw_trees.write_video(tmp_path / "raw/a.mkv", 4.0, size=(160, 96))
    path = write(tmp_path, "boxes.json", COCO)
    flags = ("--boxes", path, "--boxes-within", 2, "--tracks", "none")
    assert run(tmp_path, *flags) == 2
    assert "add --boxes-unit share" in capsys.readouterr().err
    assert run(tmp_path, *flags, "--boxes-unit", "share") == 0
    (box,) = shards.open_split(tmp_path / "out", "train")[0].boxes.xyxy_px
    np.testing.assert_allclose(box, [16, 19.2, 64, 86.4], rtol=1e-5)


def test_objects_are_told_of_records_but_not_of_clips_without_boxes(tmp_path):
    raw_trees.write_video(tmp_path / "raw/a.mkv", 1.0)
    options = {"worker_count": 0, "bar": False, "finder": None}
    build.build_video(tmp_path / "raw", tmp_path / "out", SETTINGS, **options)
    assert told(tmp_path / "out") == []
