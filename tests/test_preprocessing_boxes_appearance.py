"""Features of boxes: what changes them, what does not, and networks of users."""

import cv2
import numpy as np
import pytest
from helpers import onnx_models
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.boxes import appearance
from preprocessing.boxes.unitrack import association, roi_align, tracker


def noise(seed, height=240, width=320):
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3))
    return cv2.GaussianBlur(pixels.astype(np.uint8), (0, 0), 3)


def person(frame, left, top, colours, width=30, height=80):
    """A shirt and trousers, each of its colour."""
    middle = top + height // 2
    frame[top:middle, left : left + width] = colours[0]
    frame[middle : top + height, left : left + width] = colours[1]
    return [left, top, left + width, top + height]


LOOKS = [
    ((200, 40, 40), (30, 30, 60)),
    ((40, 120, 200), (30, 30, 60)),
    ((60, 60, 60), (220, 210, 190)),
    ((230, 230, 230), (40, 80, 40)),
]


def cost(one, other):
    cells = [association.unit_cells(features) for features in (one, other)]
    return association.appearance_cost(*cells)


def test_shapes_and_types():
    boxes = np.array([[10, 20, 40, 100], [-30, -10, 20, 50], [300, 200, 400, 300.0]])
    found = appearance.colour_gradient(noise(0), boxes)
    assert found.shape == (3, 12, 4, 10)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert appearance.colour_gradient(noise(0), boxes[:0]).shape == (0, 12, 4, 10)


def test_the_same_person_elsewhere_is_nearer_than_others():
    before, after = noise(1), noise(2)
    places = [(20, 30), (90, 100), (160, 20), (240, 120)]
    boxes = [
        np.float32(
            [
                person(frame, *places[(i + shift) % 4], look)
                for i, look in enumerate(LOOKS)
            ]
        )
        for frame, shift in ((before, 0), (after, 1))
    ]
    found = cost(
        appearance.colour_gradient(before, boxes[0]),
        appearance.colour_gradient(after, boxes[1]),
    )
    np.testing.assert_array_equal(found.argmin(1), range(4))
    np.testing.assert_array_equal(found.argmin(0), range(4))
    assert np.diag(found).max() < tracker.APPEARANCE_LIMIT


def test_plain_colours_are_their_lab_values():
    frame = np.zeros((240, 320, 3), np.uint8)
    frame[:, :160] = 119  # middle grey: L of about 50
    frame[:, 160:] = (255, 0, 0)
    found = appearance.colour_gradient(
        frame, np.float32([[20, 20, 100, 200], [200, 20, 300, 200]])
    )
    np.testing.assert_allclose(found[0], 0, atol=0.05)
    lightness, a, b = (found[1, :3].mean((1, 2)) * [25, 12, 12]) + [50, 0, 0]
    np.testing.assert_allclose([lightness, a, b], [53.2, 80.1, 67.2], atol=0.5)
    np.testing.assert_allclose(found[1, 3:], 0, atol=1e-2)


@pytest.mark.parametrize(("degrees", "channel"), [(0, 0), (90, 3), (60, 2), (120, 4)])
def test_edges_lie_in_their_direction(degrees, channel):
    rows, cols = np.indices((240, 320))
    along = cols * np.cos(np.radians(degrees)) + rows * np.sin(np.radians(degrees))
    frame = np.uint8(128 + 60 * np.sin(along / 6))[:, :, None].repeat(3, 2)
    found = appearance.colour_gradient(frame, np.float32([[40, 40, 280, 200]]))
    strength = found[0, 6:].mean((1, 2))
    assert strength.argmax() == channel
    assert strength[channel] > 5 * np.delete(strength, channel).max()


def test_features_are_those_of_the_plain_formula():
    frame = cv2.normalize(noise(4), None, 0, 255, cv2.NORM_MINMAX)
    lab = cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    across = cv2.Sobel(lab[:, :, 0], -1, 1, 0) / 8
    down = cv2.Sobel(lab[:, :, 0], -1, 0, 1) / 8
    lab = (lab - [50, 0, 0]) / [25, 12, 12]
    turn = np.degrees(np.arctan2(down, across))[:, :, None] - 30 * np.arange(6)
    apart = np.abs((turn + 90) % 180 - 90)
    edges = np.hypot(across, down)[:, :, None] / 6 * np.clip(1 - apart / 30, 0, None)
    maps = np.concatenate([lab, lab**2, edges], axis=2)
    cells = maps.reshape(60, 4, 80, 4, 12).mean((1, 3)).transpose(2, 0, 1)
    boxes = np.float32([[30, 20, 130, 220], [200, 100, 300, 160]])
    expected = roi_align.roi_align(cells, boxes / 4)
    expected[:, 3:6] = np.sqrt(expected[:, 3:6] - expected[:, :3] ** 2)
    found = appearance.colour_gradient(frame, boxes)
    assert expected[:, 6:].mean((0, 2, 3)).min() > 0.05  # edges of each direction
    # What 8-bit colours and directions in steps of 2 degrees cost.
    np.testing.assert_allclose(found[:, :6], expected[:, :6], atol=0.02)
    np.testing.assert_allclose(found[:, 6:], expected[:, 6:], atol=0.01)


@settings(deadline=None, max_examples=12)
@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.lists(
        st.tuples(*[st.floats(-50, 300)] * 2, *[st.floats(1, 200)] * 2), max_size=4
    ),
)
def test_any_box_of_any_frame_has_finite_features(height, width, tlwh):
    frame = np.arange(height * width * 3, dtype=np.uint32).astype(np.uint8)
    boxes = np.array(tlwh, float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    found = appearance.colour_gradient(frame.reshape(height, width, 3), boxes)
    assert found.shape == (len(boxes), 12, 4, 10)
    assert np.isfinite(found).all()


def test_doubling_a_frame_changes_little():
    frame = cv2.GaussianBlur(noise(3), (0, 0), 3)  # no detail that resizing loses
    box = np.float32([[100, 60, 160, 200]])
    one = appearance.colour_gradient(frame, box)
    doubled = cv2.resize(frame, (640, 480), interpolation=cv2.INTER_LINEAR)
    other = appearance.colour_gradient(doubled, box * 2)
    np.testing.assert_allclose(one[:, :3], other[:, :3], atol=0.2)


def network(tmp_path, *args):
    path = tmp_path / "stage.onnx"
    path.write_bytes(onnx_models.stage(*args))
    return path


def test_features_of_a_network_are_cut_where_the_boxes_lie(tmp_path):
    describe = appearance.load(network(tmp_path))
    # 1280 x 720 becomes 640 x 360, 60 pixels below the top of the letterbox.
    frame = np.zeros((720, 1280, 3), np.uint8)
    frame[160:480, 320:960] = (255, 0, 0)
    boxes = np.float32([[400, 200, 880, 440], [1000, 520, 1240, 700]])
    found = describe(frame, boxes)
    assert found.shape == (2, 3, 4, 10)
    expected = (np.array([1.0, 0, 0]) - appearance.IMAGENET_MEAN) / (
        appearance.IMAGENET_STD
    )
    np.testing.assert_allclose(found[0].mean((1, 2)), expected, atol=1e-4)
    black = -appearance.IMAGENET_MEAN / appearance.IMAGENET_STD
    np.testing.assert_allclose(found[1].mean((1, 2)), black, atol=1e-4)
    # A box that is half in red and half in black, left and right.
    (half,) = describe(frame, np.float32([[640, 200, 1280, 440]]))
    assert half[0, :, :4].min() > expected[0] - 0.1
    assert half[0, :, 6:].max() < black[0] + 0.1


def test_networks_of_other_sizes_are_refused(tmp_path):
    path = network(tmp_path, (240, 320))
    with pytest.raises(ValueError, match="expected a network of 480 x 640") as caught:
        appearance.OnnxFeatures(path)
    assert str(path) in str(caught.value)
    path = network(tmp_path, (480, 640), 16)
    with pytest.raises(ValueError, match=r"\(1, channels, 60, 80\).*\(1, 3, 30, 40\)"):
        appearance.OnnxFeatures(path)


def test_no_file_means_colours():
    assert appearance.load(None) is appearance.colour_gradient
