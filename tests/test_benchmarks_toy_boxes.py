"""How detections are matched with true boxes."""

import numpy as np
import pytest

pytest.importorskip("preprocessing.boxes.body_boxes", reason="person detector not here")
pytest.importorskip("preprocessing.boxes.face_boxes", reason="face detector not here")

from benchmarks import toy_boxes


def person(x, visible=1.0):
    return {"xyxy": [x, 0, x + 10, 20], "visible": visible, "label": "person"}


def test_each_true_box_is_found_once_and_hidden_ones_do_not_count():
    true = [person(0), person(50), person(100, visible=0.3)]
    found = np.array([[0, 0, 10, 20], [1, 0, 11, 20], [100, 0, 110, 20]], float)
    assert toy_boxes.match(found, true, "person") == (1, 2, 1, 1)
    assert toy_boxes.match(found[:0], true, "person") == (0, 2, 0, 0)


def test_faces_below_24_px_need_not_be_found():
    face = {"xyxy": [0, 0, 20, 23], "visible": 1.0, "label": "face"}
    found = np.array([[0.0, 0.0, 20.0, 23.0]])
    assert toy_boxes.match(found, [face], "face") == (0, 0, 0, 0)
    assert toy_boxes.match(found, [face | {"xyxy": [0, 0, 20, 24]}], "face")[0] == 1


def test_the_line_of_a_detector():
    line = toy_boxes.summary("person", np.array([[3, 4, 3, 1], [4, 4, 4, 0]]))
    assert "found 7 of 8, recall 0.875 [0.750, 1.000], precision 0.875" in line
