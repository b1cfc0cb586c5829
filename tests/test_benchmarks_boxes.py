"""Scores of detections on drawn labels, and the command on real pictures."""

import json
import pathlib
import shutil

import cv2
import numpy as np
import pytest
from helpers import onnx_models

from benchmarks import boxes, labelled


def labels(body, ignored=(), covered=()):
    is_covered = np.zeros(240, bool)
    is_covered[list(covered)] = True
    shape = (-1, 4)
    return labelled.Labels(
        np.array(body, np.float32).reshape(shape),
        np.array(ignored, np.float32).reshape(shape),
        is_covered,
    )


def score(detected, confidence, truth, min_iou=0.5):
    detected = np.array(detected, np.float32).reshape(-1, 4)
    confidence = np.array(confidence, np.float32)
    return boxes.score_picture(detected, confidence, truth, min_iou, 320, 192)


def test_each_label_is_found_once_by_the_surest_detection():
    truth = labels([[0, 0, 32, 32], [160, 0, 192, 32]])
    found = score(
        [[0, 0, 32, 30], [0, 0, 32, 32], [160, 0, 200, 60]], [0.5, 0.9, 0.8], truth
    )
    assert (found.hits, found.labelled, found.false) == (1, 2, 2)


def test_detections_mostly_in_an_ignore_region_count_neither_way():
    truth = labels(
        [[0, 0, 32, 32]], ignored=[[160, 0, 200, 40]], covered=[0, 1, 20, 21]
    )
    found = score(
        [[0, 0, 32, 32], [165, 0, 205, 40], [190, 0, 230, 40]], [0.9, 0.8, 0.7], truth
    )
    assert (found.hits, found.false) == (1, 1)
    # The false box touches columns 11..14 of rows 0..2; the region leaves out 11, 12.
    assert (found.patches_both, found.patches_any) == (4, 4 + 6)


def test_patches_touched_at_all_count():
    touched = boxes.patches_touched(np.float64([[15.9, 16, 16, 16.1]]), 320, 192)
    assert np.flatnonzero(touched).tolist() == [20]
    touched = boxes.patches_touched(np.float64([[16, 0, 32, 16]]), 320, 192)
    assert np.flatnonzero(touched).tolist() == [1]
    assert not boxes.patches_touched(np.zeros((0, 4)), 320, 192).any()


def test_labelled_boxes_touch_the_patches_that_the_file_says(shared):
    for picture in labelled.read_media(shared / "media"):
        height, width = picture.pixels.shape[:2]
        for one in picture.labels.values():
            touched = boxes.patches_touched(one.boxes, width, height)
            np.testing.assert_array_equal(touched, one.is_covered)


def test_perfect_detections_score_one(shared):
    pictures = labelled.read_media(shared / "media")
    for picture in pictures:
        truth = picture.labels["body"]
        answer = {("true", "body"): (truth.boxes, np.ones(len(truth.boxes)))}
        total = boxes.score_all([picture], lambda _, answer=answer: answer)
        (one,) = total.values()
        assert one.hits == one.labelled == len(truth.boxes)
        assert one.false == 0
        assert one.patches_both == one.patches_any


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
    frame = {
        "image": "one.png",
        "body": [[0, 0, 32, 48]],
        "face": [],
        "body_ignore": [],
        "face_ignore": [],
        "faces_too_small_to_label": False,
    }
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((192, 320, 3), np.uint8))
    (tmp_path / "ground_truth.json").write_text(json.dumps({"frames": [frame]}))
    share = np.zeros((1, 12, 20))
    share[0, :3, :2] = 1
    np.savez(
        tmp_path / "patch_coverage.npz",
        fit_topleft_body=share,
        fit_topleft_face=share * 0,
    )
    return tmp_path


def test_poor_numbers_are_no_failure(folder, capsys):
    assert boxes.main([str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[2].split() == (
        "ssdlite body others recall 0.000 [0.000, 0.793] (0/1) precision - (0 false)"
        " patch IoU 0.000".split()
    )


@pytest.mark.parametrize("name", ["ground_truth.json", "patch_coverage.npz", "one.png"])
@pytest.mark.parametrize("damage", ["missing", "garbage"])
def test_missing_and_broken_files_are_one_sentence(folder, capsys, name, damage):
    (folder / name).unlink()
    if damage == "garbage":
        (folder / name).write_bytes(b"no such thing")
    assert boxes.main([str(folder)]) == 2
    error = capsys.readouterr().err
    assert name in error
    assert len(error.splitlines()) == 1
    shutil.rmtree(folder)
    assert boxes.main([str(folder)]) == 2


def test_incomplete_labels_are_named(folder, capsys):
    path = folder / "ground_truth.json"
    truth = json.loads(path.read_text())
    del truth["frames"][0]["body"]
    path.write_text(json.dumps(truth))
    assert boxes.main([str(folder)]) == 2
    assert "frame 0 is incomplete" in capsys.readouterr().err


def tvqa_plus(folder, names=("v1", "v2")):
    """Labels of two videos; frames of the first, twice as large as 640 x 360."""
    box = {"img_id": 7, "left": 10, "top": 20, "width": 100, "height": 200}
    entries = [
        {"vid_name": name, "bbox": {"7": [{**box, "label": label}], "13": []}}
        for name in names
        for label in ("Penny", "couch")
    ]
    path = folder / "plus.json"
    path.write_text(json.dumps(entries))
    frames = folder / "frames" / "bbt_frames" / "v1"
    frames.mkdir(parents=True)
    cv2.imwrite(str(frames / "00007.jpg"), np.zeros((720, 1280, 3), np.uint8))
    return path, folder / "frames"


def test_persons_of_tvqa_plus_are_the_labels_at_the_size_of_the_frame(tmp_path):
    source = boxes.tvqa_plus.Source(*tvqa_plus(tmp_path))
    (picture,) = boxes.read_tvqa_plus(source)
    assert picture.labels["body"].boxes.tolist() == [[20, 40, 220, 440]]
    assert picture.pixels.shape == (720, 1280, 3)
    assert source.summary() == "1 of 2 labelled frames are there, with 1 persons"
    answer = {
        ("true", "body"): (np.float32([[20, 40, 220, 440]]), np.ones(1)),
        ("true", "face"): (np.zeros((0, 4)), np.zeros(0)),
    }
    total = boxes.score_all([picture], lambda _: answer)
    assert list(total) == [("true", "body", "tvqa+")]
    assert total["true", "body", "tvqa+"].hits == 1


def test_tvqa_plus_on_the_command_line_tells_recall_alone(tmp_path, capsys):
    path, frames = tvqa_plus(tmp_path)
    assert boxes.main(["--tvqa-plus", str(path), "--frames", str(frames)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("1 of 2 labelled frames")
    assert (
        lines[2].split()
        == "ssdlite body tvqa+ recall 0.000 [0.000, 0.793] (0/1)".split()
    )
    for part in ("precision", "mtcnn"):
        assert part not in "".join(lines)


def test_tvqa_plus_without_frames_is_one_sentence(tmp_path, capsys):
    path, frames = tvqa_plus(tmp_path, names=("v3",))
    assert boxes.main(["--tvqa-plus", str(path), "--frames", str(frames)]) == 2
    assert "holds none of the 1 labelled frames" in capsys.readouterr().err
    assert boxes.main(["--tvqa-plus", str(path), "--frames", str(path)]) == 2
    assert "is no folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        boxes.main(["--tvqa-plus", str(path)])
    with pytest.raises(SystemExit):
        boxes.main([])


def test_yolox_is_scored_beside_the_others(folder, tmp_path, capsys):
    model = tmp_path / "small.onnx"
    model.write_bytes(onnx_models.yolox((192, 320), classes=80))
    cv2.imwrite(str(folder / "one.png"), np.zeros((192, 320, 3), np.uint8))
    pixels = np.zeros((192, 320, 3), np.uint8)
    pixels[:32, :32] = (0, 0, 255)  # class 0 answers to blue, the first of BGR
    pixels[32:64, 64:96] = (255, 0, 0)  # class 1: no person
    found = boxes.detections(pixels, boxes.yolox.Yolox(model))
    np.testing.assert_allclose(found["yolox", "body"][0], [[0, 0, 32, 32]], atol=1e-3)
    assert boxes.main([str(folder), "--yolox", str(model)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("yolox    body")
    assert boxes.main([str(folder), "--yolox", str(folder / "one.png")]) == 2
    assert "expected an ONNX model" in capsys.readouterr().err


@pytest.mark.slow
def test_detectors_find_people_in_real_pictures(shared):
    total = boxes.score_all(labelled.read_media(shared / "media"))
    for name in ("ssdlite", "joined"):
        assert total[name, "body", "pedestrians"].hits >= 19
        assert total[name, "body", "others"].hits >= 26
        both = total[name, "body", "pedestrians"].plus(total[name, "body", "others"])
        assert both.hits / (both.hits + both.false) >= 0.85
    faces = total["mtcnn", "face", "others"].plus(total["mtcnn", "face", "pedestrians"])
    assert faces.hits >= 17
    assert faces.false <= 2
