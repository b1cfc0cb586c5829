"""Bodies and faces joined to people, and the finder that records use."""

import dataclasses

import numpy as np

from preprocessing.boxes import detectors, finders, people
from preprocessing.items import Look

ALONE = finders.People(tracks="none")


def found(*boxes):
    """Bodies of one frame with falling scores."""
    xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    return detectors.seen(xyxy, np.linspace(0.9, 0.8, len(xyxy)), "ssdlite")


def with_points(detected):
    xyxy, score = detected.xyxy_px, detected.score
    return xyxy, score, np.zeros((len(xyxy), 5, 2), np.float32)


def test_body_of_a_face_is_clipped_to_the_frame():
    faces = np.float32([[100, 50, 120, 80], [0, 10, 20, 30], [300, 180, 310, 200]])
    expected = [[80, 38, 140, 192], [0, 2, 40, 130], [290, 172, 320, 192]]
    np.testing.assert_array_equal(people.body_of_face(faces, 320, 192), expected)


def test_faces_are_explained_by_the_upper_half_of_a_body():
    body = np.float32([[100, 100, 140, 200]])
    faces = np.float32(
        [
            [110, 105, 130, 125],  # at the head
            [90, 130, 130, 150],  # centre inside
            [80, 105, 110, 125],  # centre left of it
            [110, 160, 130, 180],  # at the knees: somebody in front
            [110, 85, 130, 110],  # mostly above
        ]
    )
    assert people.owner_of(faces, body).tolist() == [0, 0, -1, -1, -1]
    assert people.owner_of(faces, np.zeros((0, 4), np.float32)).tolist() == [-1] * 5
    assert people.owner_of(np.zeros((0, 4), np.float32), body).shape == (0,)
    beside = np.float32([[95, 100, 215, 300], [100, 100, 140, 200]])
    assert people.owner_of(faces, beside).tolist()[0] == 1  # its middle is nearer


def test_join_orders_frames_and_names_sources():
    bodies = [found([100, 100, 140, 190]), found(), found()]
    faces = [
        with_points(found([110, 105, 130, 125], [200, 50, 220, 70])),
        with_points(found()),
        with_points(found([50, 50, 60, 60])),
    ]
    boxes = people.join(bodies, faces, [(320, 192)] * 3)
    assert boxes.frame.tolist() == [0, 0, 0, 0, 2, 2]
    assert boxes.kind == ("body", "body", "face", "face", "body", "face")
    assert boxes.source == ("ssdlite", "face", "mtcnn", "mtcnn", "face", "mtcnn")
    assert boxes.label == ("person", "person", "face", "face", "person", "face")
    assert boxes.track.tolist() == [-1] * 6
    np.testing.assert_array_equal(boxes.xyxy_px[1], [180, 42, 240, 170])
    assert boxes.score[1] == boxes.score[3] == np.float32(0.8)


def test_faces_take_their_bodys_track_and_objects_stay():
    body = dataclasses.replace(
        found([100, 100, 140, 190], [10, 10, 50, 60]),
        track=np.array([7, 8], np.int32),
        kind=("body", "object"),
        label=("person", "cup"),
    )
    faces = [with_points(found([110, 105, 130, 125], [200, 50, 220, 70]))]
    boxes = people.join([body], faces, [(320, 192)], is_derived=False)
    assert boxes.kind == ("body", "object", "face", "face")
    assert boxes.track.tolist() == [7, 8, 7, -1]
    assert boxes.label[1] == "cup"


def test_join_of_nothing():
    assert len(people.join([], [], [])) == 0
    assert len(people.join([found()], [with_points(found())], [(320, 192)])) == 0


def test_find_boxes_people_of_frames(shared):
    pixels = np.load(shared / "golden/mtcnn/mtcnn_golden.npz")["batch320/pixels"]
    find = people.finder_of(ALONE)
    boxes = find("a", [Look(x, i, True) for i, x in enumerate(pixels[2:4])])
    kinds = list(zip(boxes.frame.tolist(), boxes.kind, strict=True))
    assert kinds.count((1, "face")) == 2
    assert kinds.count((0, "body")) >= 2
    assert kinds.count((1, "body")) >= 2
    alone = find("a", [Look(pixels[3], 0.0, True)])
    np.testing.assert_array_equal(alone.xyxy_px, boxes.xyxy_px[boxes.frame == 1])
