import numpy as np

from preprocessing import people


def found(*boxes):
    """Boxes of one frame with falling scores, as a detector gives them."""
    xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    return xyxy, np.linspace(0.9, 0.8, len(xyxy)).astype(np.float32)


def with_points(xyxy, score):
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
    explained = people.is_explained(faces, body).tolist()
    assert explained == [True, True, False, False, False]
    assert people.is_explained(faces, np.zeros((0, 4), np.float32)).sum() == 0
    assert people.is_explained(np.zeros((0, 4), np.float32), body).shape == (0,)


def test_join_orders_frames_and_names_sources():
    bodies = [found([100, 100, 140, 190]), found(), found()]
    faces = [
        with_points(*found([110, 105, 130, 125], [200, 50, 220, 70])),
        with_points(*found()),
        with_points(*found([50, 50, 60, 60])),
    ]
    boxes = people.join(bodies, faces, [(320, 192)] * 3)
    assert boxes.frame.tolist() == [0, 0, 0, 0, 2, 2]
    assert boxes.kind == ("body", "body", "face", "face", "body", "face")
    assert boxes.source == ("ssdlite", "face", "mtcnn", "mtcnn", "face", "mtcnn")
    assert boxes.label == ("person", "person", "face", "face", "person", "face")
    assert boxes.track.tolist() == [-1] * 6
    np.testing.assert_array_equal(boxes.xyxy_px[1], [180, 42, 240, 170])
    assert boxes.score[1] == boxes.score[3] == np.float32(0.8)


def test_join_of_nothing():
    assert len(people.join([], [], [])) == 0
    assert len(people.join([found()], [with_points(*found())], [(320, 192)])) == 0


def test_find_boxes_people_of_frames(shared):
    pixels = np.load(shared / "golden/mtcnn/mtcnn_golden.npz")["batch320/pixels"]
    boxes = people.find(list(pixels[2:4]))
    kinds = list(zip(boxes.frame.tolist(), boxes.kind, strict=True))
    assert kinds.count((1, "face")) == 2
    assert kinds.count((0, "body")) >= 2
    assert kinds.count((1, "body")) >= 2
    alone = people.find([pixels[3]])
    np.testing.assert_array_equal(alone.xyxy_px, boxes.xyxy_px[boxes.frame == 1])
