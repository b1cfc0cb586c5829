"""MTCNN against recorded arrays of its reference, stage by stage."""

import io
import json
import math

import cv2
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from benchmarks.golden import mtcnn as golden_mtcnn
from mmdiffmask.models import torch_file
from preprocessing.boxes import face_boxes, mtcnn, resizing, weight_files

QUICK = ("05", "06", "09", "11", "12", "14")
SLOW = ("00", "01", "02", "03", "04", "07", "08", "10", "13")


@pytest.fixture(scope="module")
def golden(shared):
    with np.load(shared / "golden/mtcnn/mtcnn_golden.npz") as arrays:
        yield arrays


def check(rows) -> None:
    rows = list(rows)
    assert rows
    assert not [row for row in rows if row.is_over]


def test_stage_values_equal_the_reference(golden):
    check(golden_mtcnn.stages(golden))


def test_batch_equals_the_reference_in_both_orders(golden):
    check(golden_mtcnn.batch(golden))


@pytest.mark.parametrize("key", QUICK)
def test_faces_equal_the_reference(golden, shared, key):
    check(golden_mtcnn.picture(golden, shared / "golden/mtcnn", shared / "media", key))


@pytest.mark.slow
@pytest.mark.parametrize("key", SLOW)
def test_faces_equal_the_reference_on_the_rest(golden, shared, key):
    check(golden_mtcnn.picture(golden, shared / "golden/mtcnn", shared / "media", key))


def test_every_golden_picture_is_compared(shared):
    index = json.loads((shared / "golden/mtcnn/index.json").read_text())
    assert sorted(QUICK + SLOW) == [entry["key"] for entry in index["images"]]


@pytest.mark.parametrize("size", [None, [40, 30], [64, 20]])
def test_a_golden_picture_is_read_at_the_size_that_the_index_says(tmp_path, size):
    stored = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "x.png"), stored)
    entry = {"key": "00", "image": "x.png", "resized_to": size}
    found = golden_mtcnn.read_picture(tmp_path, entry)
    if size is None:
        expected = stored
    else:
        expected = cv2.resize(stored, tuple(size), interpolation=cv2.INTER_AREA)
        assert found.shape == (size[1], size[0], 3)
    np.testing.assert_array_equal(found, expected[..., ::-1])


@pytest.mark.parametrize("size", [320, [40], "40x30", [0, 30]])
def test_a_size_of_another_form_is_named(tmp_path, size):
    cv2.imwrite(str(tmp_path / "x.png"), np.zeros((6, 8, 3), np.uint8))
    entry = {"key": "00", "image": "x.png", "resized_to": size}
    with pytest.raises(ValueError, match=r"x.png: resized_to is .* must be \[width"):
        golden_mtcnn.read_picture(tmp_path, entry)


def test_parity_reports_what_differs(golden):
    (row,) = [
        row
        for row in golden_mtcnn._faces(golden, "05/default", (np.zeros((6, 4)),) * 3)
        if row.name == "05/default/boxes"
    ]
    assert row.is_over
    assert golden_mtcnn._row("x", np.zeros((1, 4)), np.zeros((2, 4)), 1.0).is_over


def test_faces_do_not_depend_on_the_other_frames(golden):
    frames = list(golden["batch320/pixels"])
    other = np.random.default_rng(0).integers(0, 256, (70, 50, 3), np.uint8)
    together = face_boxes.detect([*frames, other])
    backwards = face_boxes.detect([other, *frames[::-1]])[::-1]
    alone = face_boxes.detect([frames[3]])[0]
    assert len(alone[0]) == 2
    for one, two in zip(together, backwards, strict=True):
        assert all((a == b).all() for a, b in zip(one, two, strict=True))
    assert all((a == b).all() for a, b in zip(alone, together[3], strict=True))


def test_faces_have_the_stated_shapes_and_order(golden):
    xyxy, probability, points = face_boxes.detect([golden["batch320/pixels"][0]])[0]
    area = (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])
    assert {a.dtype for a in (xyxy, probability, points)} == {np.dtype(np.float32)}
    assert points.shape == (len(xyxy), 5, 2)
    assert len(area) == 2
    assert (np.diff(area) <= 0).all()
    # Eyes lie above the mouth, the left one left, all inside the box.
    assert (points[:, :2, 1].max(1) < points[:, 3:, 1].min(1)).all()
    assert (points[:, 0, 0] < points[:, 1, 0]).all()
    assert (points >= xyxy[:, None, :2]).all()
    assert (points <= xyxy[:, None, 2:]).all()


@pytest.mark.parametrize("size", [(1, 1), (19, 300), (20, 20), (25, 400), (192, 320)])
def test_frames_without_faces(size):
    xyxy, probability, points = face_boxes.detect([np.full((*size, 3), 90, np.uint8)])[
        0
    ]
    assert (xyxy.shape, probability.shape) == ((0, 4), (0,))
    assert points.shape == (0, 5, 2)


def test_pyramid_ends_where_the_picture_is_smaller_than_a_cell():
    scales = face_boxes.pyramid(320, 192, face_boxes.Settings())
    assert scales[0] == 12 / 20
    assert 192 * scales[-1] >= 12 > 192 * scales[-1] * 0.709
    assert face_boxes.pyramid(320, 19, face_boxes.Settings()) == []


@pytest.mark.parametrize("size", [(7, 24), (24, 24), (50, 24), (31, 48)])
def test_resizing_is_the_mean_of_each_window(size):
    picture = np.random.default_rng(1).integers(0, 256, (60, 70, 3), np.uint8)
    (n, m), left, top = size, 9, 4
    found = resizing.resize(
        resizing.integral(picture), np.array([[left, top, left + n, top + n]]), m, m
    )
    cut = picture[top : top + n, left : left + n].astype(np.float64)
    bounds = [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]
    expected = [[cut[a:b, c:d].mean((0, 1)) for c, d in bounds] for a, b in bounds]
    np.testing.assert_allclose(found[0], expected, rtol=1e-6)


def test_suppression_by_iou_and_by_the_smaller_box():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 6], [2, 2, 5, 5], [20, 0, 30, 9]])
    boxes = boxes.astype(np.float32)
    score = np.array([0.8, 0.9, 0.7, 0.95], np.float32)
    assert face_boxes.suppress(boxes, score, 0.5).tolist() == [3, 1, 2]
    assert face_boxes.suppress(boxes, score, 0.6).tolist() == [3, 1, 0, 2]
    kept = face_boxes.suppress(boxes, score, 0.7, is_of_smaller=True)
    assert kept.tolist() == [3, 1]


@pytest.mark.parametrize("is_of_smaller", [False, True])
def test_of_equal_scores_the_first_is_best(is_of_smaller):
    low = np.repeat(np.arange(0, 600, 20), 2)[:, None]  # more than sorts keep by chance
    boxes = np.float32(np.hstack([low, low, low + 10, low + 9]))
    score = np.full(60, 0.8, np.float32)
    kept = face_boxes.suppress(boxes, score, 0.5, is_of_smaller)
    assert kept.tolist() == list(range(0, 60, 2))


@pytest.mark.parametrize("to", [(30, 41), (12, 13), (60, 70)])
def test_whole_pictures_are_resized_as_cut_outs_are(to):
    picture = np.random.default_rng(2).integers(0, 256, (60, 70, 3), np.uint8)
    sums = resizing.integral(picture)
    expected = resizing.resize(sums, np.array([[0, 0, 70, 60]]), *to)[0]
    found = resizing.shrink(sums, resizing.shrinking((60, 70), to))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert resizing.shrinking((60, 70), to) is resizing.shrinking((60, 70), to)


def layers(plan, x, pools):
    """The plan's convolutions on (3, h, w), as formulas; and the weights by name."""
    given = torch_file.read(io.BytesIO(weight_files.read(plan.file)))
    for i, (side, stride) in enumerate(pools, 1):
        kernel = given[f"conv{i}.weight"]
        windows = sliding_window_view(x, kernel.shape[2:], (1, 2))
        x = np.einsum("crsij,ocij->ors", windows, kernel)
        x += given[f"conv{i}.bias"][:, None, None]
        x = np.where(x > 0, x, x * given[f"prelu{i}.weight"][:, None, None])
        # A window that reaches past the end counts, if it begins before.
        rows, cols = (math.ceil((n - side) / stride) + 1 for n in x.shape[1:])
        low = np.arange(rows) * stride, np.arange(cols) * stride
        x = np.array(
            [
                [x[:, i : i + side, j : j + side].max((1, 2)) for j in low[1]]
                for i in low[0]
            ]
        ).transpose(2, 0, 1)
    return x, given


def normalised(picture):
    return np.moveaxis((picture - 127.5) / 128, -1, 0)


def softmax(no, yes):
    return np.exp(yes) / (np.exp(no) + np.exp(yes))


@pytest.mark.parametrize("strip_px", [1, 900, 10**6])
@pytest.mark.parametrize("size", [(12, 12), (13, 14), (40, 33), (55, 70)])
def test_first_network_is_its_formula_in_strips_of_any_size(
    monkeypatch, size, strip_px
):
    monkeypatch.setattr(mtcnn, "_STRIP_PX", strip_px)
    picture = np.random.default_rng(size[0]).uniform(0, 255, (*size, 3))
    picture = picture.astype(np.float32)
    pools = [(2, 2), (1, 1), (1, 1)]
    x, given = layers(mtcnn.PNET, normalised(picture), pools)
    no, yes, *moves = (
        np.einsum("crs,c->rs", x, kernel[:, 0, 0]) + bias
        for head in mtcnn.PNET.heads
        for kernel, bias in zip(
            given[f"{head}.weight"], given[f"{head}.bias"], strict=True
        )
    )
    offsets, probability = mtcnn.pnet(picture)
    np.testing.assert_allclose(offsets, moves, atol=2e-5)
    np.testing.assert_allclose(probability, softmax(no, yes), atol=2e-5)


@pytest.mark.parametrize("count", [0, 1, 9])
@pytest.mark.parametrize(
    ("plan", "side", "pools"),
    [
        (mtcnn.RNET, 24, [(3, 2), (3, 2), (1, 1)]),
        (mtcnn.ONET, 48, [(3, 2), (3, 2), (2, 2), (1, 1)]),
    ],
)
def test_networks_of_crops_are_their_formulas(plan, side, pools, count):
    crops = np.random.default_rng(side).uniform(0, 255, (count, side, side, 3))
    crops = crops.astype(np.float32)
    run = mtcnn.rnet if plan == mtcnn.RNET else mtcnn.onet
    *moves, probability = run(crops)
    assert {len(part) for part in (*moves, probability)} == {count}
    for i, crop in enumerate(crops):
        x, given = layers(plan, normalised(crop), pools)
        layer = len(pools) + 1

        def dense(name, x, given=given):
            return given[f"{name}.weight"] @ x + given[f"{name}.bias"]

        x = dense(f"dense{layer}", x.transpose(2, 1, 0).ravel())
        x = np.where(x > 0, x, x * given[f"prelu{layer}.weight"])
        face, *expected = (dense(head, x) for head in plan.heads)
        assert probability[i] == pytest.approx(softmax(*face), abs=1e-5)
        for found, one in zip(moves, expected, strict=True):
            np.testing.assert_allclose(found[i], one, atol=1e-5)


def test_faces_do_not_depend_on_the_number_of_threads(golden):
    frames, before = list(golden["batch320/pixels"]), cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        one = face_boxes.detect(frames)
        cv2.setNumThreads(4)
        four = face_boxes.detect(frames)
    finally:
        cv2.setNumThreads(before)
    assert sum(len(found[0]) for found in one) > 6
    for a, b in zip(one, four, strict=True):
        assert all((x == y).all() for x, y in zip(a, b, strict=True))


def test_suppression_is_the_plain_greedy_one():
    rng = np.random.default_rng(3)
    low = rng.uniform(0, 80, (200, 2))
    boxes = np.hstack([low, low + rng.uniform(8, 40, (200, 2))]).astype(np.float32)
    score = rng.permutation(200).astype(np.float32)
    kept = []
    for i in np.argsort(-score):
        shared = [
            np.prod(
                np.clip(
                    np.minimum(boxes[i, 2:], boxes[k, 2:])
                    - np.maximum(boxes[i, :2], boxes[k, :2]),
                    0,
                    None,
                )
            )
            for k in kept
        ]
        area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        over = [
            s / (area[i] + area[k] - s) > 0.3 for s, k in zip(shared, kept, strict=True)
        ]
        if not any(over):
            kept.append(int(i))
    assert 32 < len(kept) < 200
    assert face_boxes.suppress(boxes, score, 0.3).tolist() == kept
