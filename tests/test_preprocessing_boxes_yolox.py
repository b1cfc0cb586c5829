"""YOLOX from a user's file: decoding, suppression, classes, and files that are none."""

import pickle

import cv2
import numpy as np
import pytest
from helpers import onnx_models
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from preprocessing.boxes import onnx_file, onnx_writer, yolox

HW = (96, 128)
RED, BLUE = [255, 0, 0], [0, 0, 255]


@pytest.fixture
def golden(shared):
    with np.load(shared / "golden" / "unitrack" / "components.npz") as arrays:
        return {
            name.removeprefix("yolox/"): arrays[name]
            for name in arrays
            if name.startswith("yolox/")
        }


def write(folder, content, name="small.onnx"):
    path = folder / name
    path.write_bytes(content)
    return path


def two_cells(height=96, width=128, scale=1):
    """Red in the cell of row 0, column 1; blue in row 2, column 3."""
    frame = np.zeros((height, width, 3), np.uint8)
    cell = 32 // scale
    frame[:cell, cell : 2 * cell] = RED
    frame[2 * cell : 3 * cell, 3 * cell :] = BLUE
    return frame


def test_preparation_is_the_recorded_one(golden):
    hw = tuple(golden["input_hw"])
    picture, ratio = yolox.prepare(golden["preproc_image_bgr"], hw)
    np.testing.assert_allclose(picture, golden["preproc_out"], atol=1e-6)
    assert ratio == golden["preproc_ratio"]
    plain, _ = yolox.prepare(golden["preproc_image_bgr"], hw, "none")
    assert plain[:, -1, -1].tolist() == [114, 114, 114]


def test_decoding_and_suppression_are_the_recorded_ones(golden):
    hw = tuple(golden["input_hw"])
    decoded = yolox.decode(golden["raw"][0], hw)
    np.testing.assert_allclose(decoded, golden["decoded"][0], rtol=1e-6)
    found = yolox.detections(decoded, *golden["conf_nms"])
    np.testing.assert_allclose(found, golden["detections"], rtol=1e-6, atol=1e-5)


@settings(deadline=None, max_examples=25)
@given(
    place=hnp.arrays(
        np.float32, (252, 4), elements=st.floats(1, 100, width=32), fill=st.just(9.0)
    )
)
def test_decoding_undoes_encoding(place):
    cells = []
    for stride in (8, 16, 32):  # by stride, then row, then column
        for row in range(96 // stride):
            cells += [(col, row, stride) for col in range(128 // stride)]
    cells = np.float32(cells)
    raw = np.zeros((252, 7), np.float32)
    raw[:, :2] = place[:, :2] / cells[:, 2:] - cells[:, :2]
    raw[:, 2:4] = np.log(place[:, 2:] / cells[:, 2:])
    raw[:, 6] = 0.25
    decoded = yolox.decode(raw, HW)
    np.testing.assert_allclose(decoded[:, :4], place, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(decoded[:, 4:], raw[:, 4:])


@st.composite
def outputs(draw):
    """Decoded rows of three classes; whole numbers, so that overlaps happen."""
    n = draw(st.integers(0, 12))
    centre = draw(hnp.arrays(np.float32, (n, 2), elements=st.integers(-3, 12)))
    size = draw(hnp.arrays(np.float32, (n, 2), elements=st.integers(1, 8)))
    score = draw(hnp.arrays(np.float32, (n, 4), elements=st.floats(0, 1, width=16)))
    return np.hstack([centre, size, score])


def iou(a, b):
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = np.clip(high - low, 0, None).prod()
    areas = (a[2:4] - a[:2]).prod() + (b[2:4] - b[:2]).prod()
    return shared / (areas - shared)


@settings(deadline=None, max_examples=60)
@given(outputs(), st.sampled_from([0.0, 0.2, 0.6]), st.sampled_from([0.0, 0.31, 0.71]))
def test_suppression_keeps_the_best_of_each_class_and_nothing_else(
    decoded, min_score, max_iou
):
    found = yolox.detections(decoded, min_score, max_iou)
    score = found[:, 4] * found[:, 5]
    assert (score >= min_score).all()
    assert (np.diff(score) <= 0).all()
    likely = yolox.detections(decoded, min_score, 1.0)  # nothing overlaps by more
    kept = {tuple(row) for row in found}
    assert kept <= {tuple(row) for row in likely}
    confidence = decoded[:, 5:].max(1, initial=0.0)
    assert len(likely) == (decoded[:, 4] * confidence >= min_score).sum()
    for i, a in enumerate(found):
        for b in found[:i]:
            assert a[6] != b[6] or iou(a[:4], b[:4]) <= max_iou
    for row in likely:
        if tuple(row) not in kept:
            better = found[(found[:, 6] == row[6]) & (score >= row[4] * row[5])]
            assert any(iou(row[:4], one[:4]) > max_iou for one in better)


NETWORKS = {
    "none": (0.0, 255.0),
    "imagenet": (-2.0, 2.4),  # about the range of (x / 255 - mean) / deviation
}


@pytest.mark.parametrize("normalise", NETWORKS)
def test_things_are_found_in_their_colours(tmp_path, normalise):
    black, white = NETWORKS[normalise]
    path = write(tmp_path, onnx_models.yolox(HW, black=black, white=white))
    detector = yolox.Yolox(path, ("first", "last"), 0.5, normalise=normalise)
    frame = two_cells()
    (xyxy, score, category), (empty, _, _) = detector.detect(
        [frame, np.zeros_like(frame)]
    )
    order = np.argsort(xyxy[:, 0])
    np.testing.assert_allclose(
        xyxy[order], [[32, 0, 64, 32], [96, 64, 128, 96]], atol=1e-3
    )
    # The first channel is red where the network is given RGB, else blue.
    assert category[order].tolist() == ([0, 1] if normalise == "imagenet" else [1, 0])
    assert empty.shape == (0, 4)
    assert (score >= 0.5).all()
    assert score.dtype == xyxy.dtype == np.float32


@pytest.mark.parametrize("hw", [(480, 640), (640, 640)])
def test_unitracks_picture_lies_in_the_middle_with_red_and_blue_exchanged(tmp_path, hw):
    path = write(tmp_path, onnx_models.yolox(hw, black=-2.0, white=2.4))
    # The grey around the picture is half of every colour: 0.9 or less.
    detector = yolox.Yolox(path, ("first", "last"), 0.95, normalise="unitrack")
    # Halved, and 60 pixels below the top.
    frame = np.zeros((720, 1280, 3), np.uint8)
    frame[8:72, 64:128] = RED
    frame[136:200, 192:256] = BLUE
    ((xyxy, _, category),) = detector.detect([frame])
    order = np.argsort(xyxy[:, 0])
    np.testing.assert_allclose(
        xyxy[order], [[64, 8, 128, 72], [192, 136, 256, 200]], atol=1e-3
    )
    assert category[order].tolist() == [1, 0]


def test_boxes_are_in_pixels_of_a_frame_of_another_size(tmp_path):
    path = write(tmp_path, onnx_models.yolox(HW))
    detector = yolox.Yolox(path, ("blue", "red"), 0.5)
    frame = cv2.resize(two_cells(), (256, 192), interpolation=cv2.INTER_NEAREST)
    ((xyxy, _, category),) = detector.detect([frame])
    assert detector.labels[category[np.argmin(xyxy[:, 0])]] == "red"
    np.testing.assert_allclose(
        xyxy[np.argsort(xyxy[:, 0])], [[64, 0, 128, 64], [192, 128, 256, 192]]
    )
    # A frame of another shape lies top left: its pixels are not squeezed.
    tall = np.zeros((192, 100, 3), np.uint8)
    tall[64:128, :64] = RED
    ((xyxy, _, _),) = detector.detect([tall])
    np.testing.assert_allclose(xyxy, [[0, 64, 64, 128]])


def test_boxes_may_reach_past_the_frame(tmp_path):
    path = write(tmp_path, onnx_models.yolox(HW, log_size=float(np.log(2.0))))
    ((xyxy, _, _),) = yolox.Yolox(path, ("a", "b"), 0.5).detect([two_cells()])
    found = xyxy[np.argsort(xyxy[:, 0])]
    np.testing.assert_allclose(found, [[16, -16, 80, 48], [80, 48, 144, 112]])


def test_the_coco_model_has_labels_and_others_need_names(tmp_path):
    path = write(tmp_path, onnx_models.yolox(HW, classes=80))
    detector = yolox.Yolox(path)
    assert detector.labels[0] == "person"
    assert detector.labels[79] == "toothbrush"
    assert len(set(detector.labels)) == 80
    path = write(tmp_path, onnx_models.yolox(HW, classes=3))
    with pytest.raises(ValueError, match="80 classes of COCO, found 3; give the names"):
        yolox.Yolox(path)
    with pytest.raises(ValueError, match="expected 2 classes, .* found 3"):
        yolox.Yolox(path, ("a", "b"))
    assert yolox.Yolox(path, ("a", "b", "c")).labels == ("a", "b", "c")


def test_a_detector_travels_to_another_process(tmp_path):
    path = write(tmp_path, onnx_models.yolox(HW))
    detector = yolox.Yolox(path, ("a", "b"), 0.5)
    twin = pickle.loads(pickle.dumps(detector))
    assert twin.settings() == detector.settings()
    for a, b in zip(
        twin.detect([two_cells()])[0], detector.detect([two_cells()])[0], strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_opencv_runs_what_onnxruntime_does_where_that_is_missing(tmp_path, monkeypatch):
    path = write(tmp_path, onnx_models.yolox(HW))
    picture, _ = yolox.prepare(two_cells(), HW, "none")
    ours = onnx_file.Network(path)
    monkeypatch.setattr(onnx_file.importlib.util, "find_spec", lambda name: None)
    fallback = onnx_file.Network(path)
    assert fallback.backend == "opencv"
    np.testing.assert_allclose(ours(picture[None]), fallback(picture[None]), atol=1e-5)


def test_one_thread_and_the_threads_of_before(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file.importlib.util, "find_spec", lambda name: None)
    network = onnx_file.Network(write(tmp_path, onnx_models.yolox(HW)))
    counts = []
    monkeypatch.setattr(onnx_file.cv2, "setNumThreads", counts.append)
    before = cv2.getNumThreads()
    network(np.zeros((1, 3, *HW), np.float32))
    assert counts == [1, before]


BAD = {
    "nothing": (b"", "expected an ONNX model"),
    "text": (b"no such thing", "expected an ONNX model"),
    "other": (onnx_writer.message(1, "x"), "field 7 of a message is missing"),
    "columns": (onnx_models.yolox(HW, output="columns"), r"found \(1, 7, 252\)"),
    "half": (onnx_models.yolox(HW, kind=10), "found number type 10"),
    "free": (onnx_models.yolox(HW, shape=(1, 3, "h", "w")), r"\(1, 3, any, any\)"),
    "grey": (onnx_models.yolox(HW, shape=(1, 1, *HW)), r"found float32 \(1, 1"),
    "sides": (onnx_models.stage((100, 128)), "multiples of 32, found 100 x 128"),
    "stage": (onnx_models.stage(HW), r"output \(1, 252, 5 \+ classes\)"),
    "decoded": (onnx_models.yolox(HW, log_size=32.0), "without --decode_in_inference"),
}


@pytest.mark.parametrize("name", BAD)
def test_other_files_are_named_in_one_sentence(tmp_path, name, capfd):
    content, reason = BAD[name]
    path = write(tmp_path, content, f"{name}.onnx")
    with pytest.raises(ValueError, match=reason) as caught:
        yolox.Yolox(path, ("a", "b"))
    assert str(path) in str(caught.value)
    assert "expected" in str(caught.value)
    assert "found" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not capfd.readouterr().err


def test_a_file_that_breaks_off_anywhere_is_refused(tmp_path):
    content = onnx_models.yolox((32, 32))
    for size in np.linspace(1, len(content) - 10, 40).astype(int):
        path = write(tmp_path, content[:size])
        with pytest.raises(ValueError, match="expected") as caught:
            yolox.Yolox(path, ("a", "b"))
        assert str(path) in str(caught.value)


def test_a_missing_file_and_bad_settings_are_named(tmp_path):
    with pytest.raises(ValueError, match="expected an ONNX file, found nothing"):
        yolox.Yolox(tmp_path / "none.onnx")
    path = write(tmp_path, onnx_models.yolox(HW))
    with pytest.raises(ValueError, match="min_score=2"):
        yolox.Yolox(path, ("a", "b"), min_score=2)
    with pytest.raises(ValueError, match="none, imagenet, unitrack"):
        yolox.Yolox(path, ("a", "b"), normalise="coco")


def test_an_operation_that_cannot_be_run_is_named(tmp_path):
    content = onnx_writer.model(
        onnx_writer.node("NoSuchThing", ["images"], "output"),
        onnx_writer.value(onnx_writer.INPUT, "images", (1, 3, *HW)),
        onnx_writer.value(onnx_writer.OUTPUT, "output", (1, 252, 7)),
    )
    path = write(tmp_path, content)
    with pytest.raises(ValueError, match="found one that it cannot"):
        yolox.Yolox(path, ("a", "b"))


def test_numbers_that_are_not_finite_are_an_error(tmp_path):
    network = onnx_file.Network(write(tmp_path, onnx_models.stage(HW)))
    with pytest.raises(ValueError, match="NaN or infinity"):
        network(np.full((1, 3, *HW), np.nan, np.float32))
