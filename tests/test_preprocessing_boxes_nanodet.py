"""NanoDet: its network against plain numpy and the reference; recipe and labels."""

import cv2
import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mmdiffmask import grid
from mmdiffmask.data.corpus import Corpus
from preprocessing import build, items
from preprocessing.boxes import detectors, finders, nanodet, nanodet_boxes
from preprocessing.items import Look


@pytest.fixture
def golden(shared):
    with np.load(shared / "golden" / "nanodet" / "nanodet_golden.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def weights():
    """A file's bytes of the right length with small random values in its place."""
    end = max(
        x.offset + 2 * (x.side**2 * x.inputs + 1) * x.outputs for x in nanodet.LAYERS
    )
    values = np.random.default_rng(0).normal(0, 0.06, end // 2)
    return values.astype("<f2").tobytes()


def test_layers_lie_in_the_file_one_behind_another(weights):
    """Each kernel is followed by its bias, and no two overlap."""
    spans = sorted(
        (x.offset, x.offset + 2 * (x.side**2 * x.inputs + 1) * x.outputs)
        for x in nanodet.LAYERS
    )
    assert all(
        end <= start for (_, end), (start, _) in zip(spans[:-1], spans[1:], strict=True)
    )
    params = nanodet.read_params(weights)
    assert sum(kernel.size + bias.size for kernel, bias in params) == 3_786_068
    assert len(params) == 34


def convolve(layer, kernel, bias, x):
    pad = layer.side // 2
    x = np.pad(x, ((pad, pad), (pad, pad), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(
        x, (layer.side, layer.side), (0, 1)
    )[:: layer.stride, :: layer.stride]
    result = np.tensordot(windows, kernel, ([3, 4, 2], [0, 1, 2])) + bias
    return np.where(result > 0, result, 0.1 * result) if layer.side == 3 else result


def enlarge(x):
    """Bilinear with half-pixel centres, as the formula has it."""
    for axis in (0, 1):
        n = x.shape[axis]
        at = np.clip((np.arange(2 * n) + 0.5) / 2 - 0.5, 0, n - 1)
        low = np.floor(at).astype(int)
        share = (at - low).reshape([-1, 1, 1] if axis == 0 else [1, -1, 1])
        high = np.minimum(low + 1, n - 1)
        x = np.take(x, low, axis) * (1 - share) + np.take(x, high, axis) * share
    return x


def by_hand(params, picture):
    """The network in numpy, layer after layer as the table of boxes.md has them."""
    mean, deviation = [103.53, 116.28, 123.675], [57.375, 57.12, 58.395]
    value = {}

    def conv(i, *names):
        inputs = [value.get(name) if isinstance(name, str) else name for name in names]
        x = np.concatenate(inputs, -1)
        value[f"{i}"] = convolve(nanodet.LAYERS[i], *params[i], x)

    conv(0, (picture - np.array(mean)) / deviation)
    padded = np.pad(value["0"], ((1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (0, 1))
    value["pool"] = windows[::2, ::2].max((3, 4))
    table = """1 pool|2 1|3 2|4 3 2|5 4 1|6 5|7 6|8 7 6|9 8|10 9 8|11 10 5|12 11|13 12
        14 13 12|15 14|16 15 14|17 16 11|18 17|19 18|20 19 18|21 20|22 21 20|23 22
        24 23 22|25 10 5|26 16 11|27 24 17"""
    for line in table.replace("\n", "|").split("|"):
        i, *names = line.split()
        conv(int(i), *names)

    def halve(x):
        return (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4

    p4 = value["26"] + enlarge(value["27"])
    p3 = value["25"] + enlarge(p4)
    n4 = p4 + halve(p3)
    n5 = value["27"] + halve(n4)
    for i, level in ((28, p3), (30, n4), (32, n5)):
        conv(i, level)
        conv(i + 1, str(i))
    return [value[i].reshape(-1, 124) for i in ("29", "31", "33")]


@pytest.mark.parametrize("size", [(32, 64), (96, 32)])
def test_network_equals_plain_numpy(weights, size):
    params = nanodet.read_params(weights)
    picture = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    expected = np.concatenate(by_hand(params, picture))
    scores, bins = jax.jit(nanodet.forward)(params, picture)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(bins, expected[:, 80:], atol=1e-4)
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-expected[:, :80])), atol=1e-5)


def test_decoding_takes_means_of_bins():
    """Certain of bin 2 to the left, 0 above, 10 to the right, between 4 and 5 below."""
    bins = np.full((4, 11), -100.0, np.float32)
    bins[0, 2] = bins[1, 0] = bins[2, 10] = bins[3, 4] = bins[3, 5] = 100.0
    cell = nanodet.cells(64, 32)[[0, 1, 32, -1]]
    assert cell.tolist() == [[4, 4, 8], [12, 4, 8], [8, 8, 16], [16, 48, 32]]
    found = nanodet.decode(np.tile(bins.reshape(1, 44), (4, 1)), cell)
    for box, (x, y, stride) in zip(found, cell, strict=True):
        expected = [x - 2 * stride, y, x + 10 * stride, y + 4.5 * stride]
        np.testing.assert_allclose(box, expected)


SIDES = st.integers(1, 3000)


@settings(deadline=None, max_examples=200)
@given(SIDES, SIDES)
def test_a_frame_of_any_size_lies_in_the_middle(width, height):
    place = nanodet_boxes.fit(width, height)
    outer = place.picture_wh
    assert all(side % 32 == 0 and 32 <= side <= 512 for side in outer)
    inner = (place.width, place.height)
    assert max(inner) == 512 and min(inner) >= 1
    for whole, part, before in zip(outer, inner, place[:2], strict=True):
        assert 0 <= whole - part < 32
        after = whole - part - before
        assert after - before in (0, 1)  # the odd pixel is below or to the right
    exact = np.array([width, height]) * 512 / max(width, height)
    assert np.abs(np.maximum(exact, 1) - inner).max() <= 0.5
    corners = np.array([[place.left, place.top, place.left + inner[0], 0]], float)
    corners[0, 3] = place.top + inner[1]
    whole = nanodet_boxes.in_frame(corners, place, (width, height))
    np.testing.assert_allclose(whole, [[0, 0, width, height]], atol=1e-6)


@pytest.mark.parametrize(
    ("size", "inner", "outer"),
    [
        ((1280, 720), (512, 288), (512, 288)),
        ((320, 192), (512, 307), (512, 320)),
        ((1024, 577), (512, 288), (512, 288)),  # 288.5: half to even
        ((1024, 579), (512, 290), (512, 320)),  # 289.5
        ((333, 500), (341, 512), (352, 512)),
        ((2000, 1), (512, 1), (512, 32)),
    ],
)
def test_sizes_of_odd_frames(size, inner, outer):
    place = nanodet_boxes.fit(*size)
    assert ((place.width, place.height), place.picture_wh) == (inner, outer)


def test_pictures_are_bgr_on_black():
    frame = np.zeros((301, 500, 3), np.uint8)
    frame[:] = (250, 100, 20)
    picture, place = nanodet_boxes.prepare(frame)
    assert picture.shape == (320, 512, 3) and (place.top, place.height) == (6, 308)
    assert (picture[6:314] == (20, 100, 250)).all()
    assert not picture[:6].any() and not picture[314:].any()


@st.composite
def boxes(draw):
    """Boxes of three labels on whole numbers, so that overlaps happen."""
    n = draw(st.integers(0, 14))
    low = draw(hnp.arrays(np.float64, (n, 2), elements=st.integers(0, 12)))
    size = draw(hnp.arrays(np.float64, (n, 2), elements=st.integers(0, 8)))
    score = draw(hnp.arrays(np.float32, n, elements=st.floats(0, 1, width=16)))
    label = draw(hnp.arrays(np.int64, n, elements=st.integers(0, 2)))
    return np.hstack([low, low + size]), score, label


def overlap(a, b):
    """IoU, and the share of a inside b."""
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = np.clip(high - low, 0, None).prod()
    areas = (a[2:] - a[:2]).prod(), (b[2:] - b[:2]).prod()
    return shared / (sum(areas) - shared), shared / areas[0]


@settings(deadline=None, max_examples=150)
@given(boxes())
def test_no_doubles_in_a_label_and_no_twins_over_all(drawn):
    xyxy, score, label = drawn
    kept = nanodet_boxes.choose(xyxy, score, label)
    assert (np.diff(score[kept]) <= 0).all()
    assert (xyxy[kept][:, 2:] > xyxy[kept][:, :2]).all()
    for place, i in enumerate(kept):
        for j in kept[:place]:
            iou, inside = overlap(xyxy[i], xyxy[j])
            assert iou <= 0.7 + 1e-9
            assert label[i] != label[j] or (iou <= 0.5 + 1e-9 and inside <= 0.9 + 1e-9)
    is_box = (xyxy[:, 2:] > xyxy[:, :2]).all(1)
    for i in np.setdiff1d(np.flatnonzero(is_box), kept):
        better = np.flatnonzero(
            (score >= score[i]) & is_box & (np.arange(len(score)) != i)
        )
        pairs = [(j, *overlap(xyxy[i], xyxy[j])) for j in better]
        assert any(
            iou > 0.7 or (label[i] == label[j] and (iou > 0.5 or inside > 0.9))
            for j, iou, inside in pairs
        )


def test_persons_need_less_than_others():
    scores = np.zeros((5, 80), np.float32)
    scores[0, 0], scores[1, 0], scores[2, 56], scores[3, 56] = 0.41, 0.39, 0.46, 0.44
    scores[4, [0, 41]] = 0.42, 0.44  # the best label of a cell alone counts
    found = nanodet_boxes.likely(
        scores,
        np.zeros((5, 44), np.float32),
        nanodet.cells(32, 32)[:5],
        nanodet_boxes.LEAST_SCORES,
    )
    assert found[2].tolist() == [0, 56]
    assert nanodet_boxes.LABELS[56] == "chair" and len(nanodet_boxes.LABELS) == 80


CASES = "abcd"


@pytest.mark.parametrize("case", CASES)
def test_boxes_are_the_reference_s(golden, nanodet_file, case):
    picture = golden[f"{case}/picture"]
    scores, bins = nanodet.load(nanodet_file)(picture)
    cell, wh = nanodet.cells(*picture.shape[:2]), picture.shape[1::-1]
    xyxy, score, label = nanodet_boxes.likely(
        scores, bins, cell, nanodet_boxes.LEAST_SCORES
    )
    width, height, *inner = golden[f"{case}/frame"].tolist()
    place = nanodet_boxes.Fit(*inner, picture_wh=wh)
    xyxy = nanodet_boxes.in_frame(xyxy, place, (width, height))
    kept = nanodet_boxes.choose(xyxy, score, label)
    np.testing.assert_array_equal(label[kept], golden[f"{case}/default/label"])
    np.testing.assert_allclose(xyxy[kept], golden[f"{case}/default/boxes"], atol=0.01)
    np.testing.assert_allclose(score[kept], golden[f"{case}/default/score"], atol=1e-4)


def test_a_frame_s_boxes_are_the_reference_s(golden, shared, nanodet_file):
    """Case d is the recipe from the file on: the frame is read and fitted here too."""
    path = shared / "media" / "frames" / "store_aisle_0040.png"
    frame = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    picture, place = nanodet_boxes.prepare(frame)
    np.testing.assert_array_equal(picture, golden["d/picture"])
    assert list(place[:4]) == golden["d/frame"].tolist()[2:]
    ((xyxy, score, label),) = nanodet_boxes.detect([frame], nanodet_file)
    np.testing.assert_allclose(xyxy, golden["d/default/boxes"], atol=0.01)
    np.testing.assert_allclose(score, golden["d/default/score"], atol=1e-4)
    np.testing.assert_array_equal(label, golden["d/default/label"])
    assert xyxy.dtype == score.dtype == np.float32


@pytest.mark.parametrize("size", [(1, 1), (7, 900), (33, 31), (577, 1024)])
def test_frames_of_odd_sizes_have_boxes_inside_them(nanodet_file, size):
    frame = np.random.default_rng(2).integers(0, 256, (*size, 3), np.uint8)
    ((xyxy, score, label),) = nanodet_boxes.detect([frame], nanodet_file)
    assert len(xyxy) == len(score) == len(label)
    assert (xyxy >= 0).all() and (xyxy <= [*size[::-1], *size[::-1]]).all()


def test_persons_are_bodies_and_others_objects(shared, nanodet_file):
    path = shared / "media" / "frames" / "classroom_0000.png"
    frame = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    search = finders.People(bodies="nanodet", nanodet=nanodet_file, faces="none")
    detectors.forget()
    looks = [Look(frame, 0.0, True), Look(frame[:, ::-1], 1 / 3, False)]
    first, second = detectors.load(search)("clip", looks)
    kinds = dict(zip(first.label, first.kind, strict=True))
    assert kinds["person"] == "body" and first.source == "nanodet"
    assert {kind for label, kind in kinds.items() if label != "person"} == {"object"}
    assert ((first.score >= 0.4) & (first.score <= 1)).all()
    (alone,) = detectors.load(search)("clip", looks[1:])
    np.testing.assert_array_equal(alone.xyxy_px, second.xyxy_px)


def test_where_the_file_lies_is_no_setting_of_records(nanodet_file):
    named = finders.People(bodies="nanodet", nanodet=nanodet_file).settings()
    assert named == finders.People(bodies="nanodet").settings()
    assert named["bodies"] == "nanodet" and "nanodet" not in named
    assert "nanodet" not in finders.People().settings()


def test_records_of_a_video_hold_its_labels_and_tracks(shared, tmp_path, nanodet_file):
    raw = tmp_path / "raw"
    raw.mkdir()
    name = "classroom.mp4"
    (raw / name).write_bytes((shared / "media" / "videos" / name).read_bytes())
    search = finders.People(bodies="nanodet", nanodet=nanodet_file, faces="none")
    settings = items.Settings(grid.PatchGrid(6, 10), segments=2)
    manifest = build.build_video(
        raw, tmp_path / "out", settings, finder=search, worker_count=0, bar=False
    )
    assert manifest.settings["boxes"]["bodies"] == "nanodet"
    corpus = Corpus.of(str(tmp_path / "out"))
    boxes = corpus.source("train")[0].boxes
    assert set(boxes.source) == {"nanodet"}
    assert {"person", "chair"} <= set(boxes.label) <= set(nanodet_boxes.LABELS)
    for kind in ("body", "object"):
        is_of = np.array([one == kind for one in boxes.kind])
        assert is_of.any() and (boxes.track[is_of] >= 0).any()
        assert (boxes.score[is_of] < 1).all()
