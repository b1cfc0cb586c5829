"""The tracker's parts: costs, assignment, motion filter, features, coordinates."""

import itertools

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies
from hypothesis.extra import numpy as arrays

from preprocessing.boxes.unitrack import association, coordinates, kalman, roi_align

COSTS = arrays.arrays(
    np.float64,
    strategies.tuples(strategies.integers(0, 4), strategies.integers(0, 4)),
    elements=strategies.one_of(strategies.floats(0, 2), strategies.just(np.inf)),
)


def least_total(cost, limit):
    """By trying every way to give rows columns or none, which costs `limit`."""
    rows, cols = cost.shape
    best = np.inf
    for choice in itertools.product(range(-1, cols), repeat=rows):
        taken = [col for col in choice if col >= 0]
        if len(set(taken)) == len(taken):
            parts = [cost[i, j] if j >= 0 else limit for i, j in enumerate(choice)]
            best = min(best, sum(parts))
    return best


@hypothesis.given(COSTS, strategies.sampled_from([0.5, 0.7]))
def test_assignment_is_the_best_one_to_one_within_the_limit(cost, limit):
    row, col = association.assign(cost, limit).T
    assert len(set(row)) == len(row)
    assert len(set(col)) == len(col)
    assert row.tolist() == sorted(row)
    assert (cost[row, col] < limit).all()
    total = cost[row, col].sum() + limit * (len(cost) - len(row))
    assert total == pytest.approx(least_total(cost, limit))


def test_overlap_counts_inclusive_pixels():
    one = np.array([[0.0, 0.0, 9.0, 9.0]])
    others = np.array([[0, 0, 9, 9], [5, 0, 14, 9], [9, 9, 20, 20], [10, 0, 12, 9.0]])
    expected = [0.0, 1 - 50 / 150, 1 - 1 / (100 + 144 - 1), 1.0]
    np.testing.assert_allclose(association.iou_cost(one, others), [expected])
    assert association.iou_cost(one[:0], others).shape == (0, 4)


def naive_appearance(tracks_, dets):
    """The stated formula with loops, in float64."""
    t, d = (x / np.linalg.norm(x, axis=2, keepdims=True) for x in (tracks_, dets))

    def similarity(target, sources):
        logits = 100 * np.einsum("ic,djc->idj", target, sources)
        weight = np.exp(logits - logits.max((1, 2), keepdims=True))
        weight /= weight.sum((1, 2), keepdims=True)
        rebuilt = np.einsum("idj,djc->dic", weight, sources).reshape(len(sources), -1)
        norm = np.maximum(np.linalg.norm(rebuilt, axis=1), 1e-12)
        return rebuilt @ target.reshape(-1) / norm / np.linalg.norm(target)

    forward = np.array([similarity(one, d) for one in t])
    backward = np.array([similarity(one, t) for one in d]).T
    return 1 - (forward + backward) / 2


@pytest.mark.parametrize(("n", "m", "depth"), [(1, 1, 3), (5, 3, 4), (9, 6, 20)])
def test_appearance_cost_is_the_stated_formula(n, m, depth):
    rng = np.random.default_rng(n)
    look = rng.normal(size=(n, depth, 4, 10))
    other = np.concatenate([look[:1], rng.normal(size=(m - 1, depth, 4, 10))])
    other += 0.1 * rng.normal(size=other.shape)
    cells = [association.unit_cells(x) for x in (look, other)]
    found = association.appearance_cost(*cells)
    assert found.dtype == np.float32
    plain = [x.reshape(len(x), depth, 40).swapaxes(1, 2) for x in (look, other)]
    np.testing.assert_allclose(found, naive_appearance(*plain), atol=1e-5)
    assert found[0].argmin() == 0


def test_appearance_cost_of_nothing_and_of_black_boxes():
    assert association.unit_cells(np.zeros((0, 3, 4, 10))).shape == (0, 40, 3)
    cells = association.unit_cells(np.zeros((2, 3, 4, 10)))
    assert association.appearance_cost(cells[:0], cells).shape == (0, 2)
    assert association.appearance_cost(cells, cells[:0]).shape == (2, 0)
    np.testing.assert_array_equal(association.appearance_cost(cells, cells), 1.0)


def test_filter_follows_a_constant_velocity():
    truth = np.array([[50.0, 80.0, 0.5, 60.0]])
    velocity = np.array([[3.0, -2.0, 0.0, 0.5]])
    state = kalman.initiate(truth)
    for step in range(1, 30):
        state = kalman.predict(state)
        ahead = truth + step * velocity
        distance = kalman.squared_mahalanobis(state, np.concatenate([ahead, truth]))
        state = kalman.update(state, ahead)
    np.testing.assert_allclose(state.mean[0, :4], ahead[0], atol=0.2)
    np.testing.assert_allclose(state.mean[0, 4:], velocity[0], atol=0.05)
    assert distance[0, 0] < 1e-2
    assert distance[0, 1] > kalman.GATE


def test_roi_align_of_a_plane_is_the_plane():
    rows, cols = np.indices((30, 50)).astype(np.float32)
    features = np.stack([2 * cols + 3 * rows + 1, np.ones_like(rows)])
    box = np.array([[4.0, 6.0, 34.0, 20.0]])
    out = roi_align.roi_align(features, box)
    x = 4 + 30 * (np.arange(10) + 0.5) / 10
    y = 6 + 14 * (np.arange(4) + 0.5) / 4
    np.testing.assert_allclose(out[0, 0], 2 * x + 3 * y[:, None] + 1, rtol=1e-5)
    far = roi_align.roi_align(features, np.array([[500.0, 5, 520, 9], [-9, 0, -5, 9]]))
    np.testing.assert_array_equal(far, 0.0)
    assert roi_align.roi_align(features, np.zeros((0, 4))).shape == (0, 2, 4, 10)


@pytest.mark.parametrize("video", [(1280, 720), (320, 576), (641, 479), (500, 3)])
def test_whole_frames_keep_their_place(video):
    width, height = coordinates.resized_wh(video)
    assert width <= 640
    assert height <= 480
    scale = min(640 / width, 480 / height)
    part = np.array([width, height]) * scale / coordinates.TEST_WH
    box = np.array([[0.5, 0.5, *part, 0.9, 0.0]])
    boxes = coordinates.in_letterbox(box)
    boxes = coordinates.in_resized(boxes, (width, height))
    np.testing.assert_allclose(boxes, [[0, 0, width, height]], atol=1e-9)
    boxes = coordinates.in_video(boxes, video)
    np.testing.assert_allclose(boxes, [[0, 0, *video]], atol=1e-9)


@pytest.mark.parametrize("video", [(160, 90), (64, 97), (641, 479)])
def test_letterbox_shows_the_frame_where_its_boxes_are(video):
    frame = np.full((video[1], video[0], 3), (10, 20, 30), np.uint8)
    picture = coordinates.letterbox(frame)
    assert picture.shape == (480, 640, 3)
    corners = np.array([[0.0, 0.0, 640.0, 480.0]])  # of the letterbox, in the frame
    corners = coordinates.in_resized(corners, coordinates.resized_wh(video))
    left, top, right, bottom = coordinates.in_video(corners, video)[0]
    x = left + (np.arange(640) + 0.5) * (right - left) / 640
    y = top + (np.arange(480) + 0.5) * (bottom - top) / 480
    is_in = ((y > 0) & (y < video[1]))[:, None] & ((x > 0) & (x < video[0]))
    # Boxes know halves of pixels, the picture does not: its edge may be one off.
    wrong = (picture == (10, 20, 30)).all(2) != is_in
    assert wrong.sum() <= 2 * 640
    assert set(picture[~(picture == (10, 20, 30)).all(2)].ravel()) <= {127.5}
