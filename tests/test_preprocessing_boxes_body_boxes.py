"""The person detector against its graph, its views, and its suppression."""

import json

import cv2
import jax
import numpy as np
import pytest

from preprocessing.boxes import body_boxes, protobuf, ssdlite, weight_files


@pytest.fixture(scope="module")
def graph():
    return protobuf.read_graph(weight_files.read(weight_files.SSDLITE))


def read(path) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def test_network_has_the_stated_size(graph):
    network = ssdlite.read_network(graph)
    kinds = [step.kind for step in network.steps]
    assert (len(kinds) - kinds.count("sum"), kinds.count("sum")) == (88, 10)
    assert kinds.count("full") == 1
    count = sum(array.size for param in network.params for array in param)
    assert count == pytest.approx(3.02e6, rel=0.005)
    assert not any(network.steps[i].is_relu6 for i in network.heads)


def test_network_equals_the_graph_run_node_by_node(graph):
    """The graph as TensorFlow defines it: nothing folded, windows cut and summed."""
    view = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    value = {"Preprocessor/sub": np.float32(view) * np.float32(2 / 255) - 1}

    def run(name):
        if name not in value:
            node = graph[name]
            given = [run(one) for one in node.inputs]
            value[name] = _OPERATIONS[node.op](node, *given)
        return value[name]

    encodings = [run(name) for name in ssdlite._HEADS[:6]]
    logits = [run(name) for name in ssdlite._HEADS[6:]]
    assert [len(x) for x in encodings] == list(ssdlite.MAPS)
    expected = np.concatenate([x.reshape(-1, 4) for x in encodings])
    expected_score = np.concatenate([x.reshape(-1, 2) for x in logits])[:, 1]
    expected_score = 1 / (1 + np.exp(-expected_score))
    found, score = ssdlite.load()(view)
    np.testing.assert_allclose(found, expected, atol=2e-4)
    np.testing.assert_allclose(score, expected_score, atol=1e-5)


def _convolve(node, x, kernel):
    stride, size = node.numbers("strides")[1], len(kernel)
    assert node.text("padding") == "SAME"
    total = [max((-(-n // stride) - 1) * stride + size - n, 0) for n in x.shape[:2]]
    x = np.pad(x, [*((n // 2, n - n // 2) for n in total), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (0, 1))
    windows = windows[::stride, ::stride]  # row, column, channel, tap, tap
    if node.op == "DepthwiseConv2dNative":
        return np.einsum("rcxij,ijxo->rcx", windows, kernel)
    return np.tensordot(windows, kernel, ([3, 4, 2], [0, 1, 2]))


def _normalise(node, x, gamma, beta, mean, variance):
    return gamma * (x - mean) / np.sqrt(variance + node.number("epsilon")) + beta


_OPERATIONS = {
    "Const": lambda node: node.tensor(),
    "Identity": lambda node, x: x,
    "Conv2D": _convolve,
    "DepthwiseConv2dNative": _convolve,
    "FusedBatchNorm": _normalise,
    "BiasAdd": lambda node, x, bias: x + bias,
    "Relu6": lambda node, x: np.clip(x, 0, 6),
    "Add": lambda node, x, y: x + y,
}


def test_unknown_operations_are_refused(graph):
    node = protobuf.Node("Elu", ("a", "b"), graph[ssdlite._HEADS[0]].attributes)
    attributes = graph["BoxPredictor_0/ClassPredictor/Conv2D"].attributes
    node = protobuf.Node("Elu", node.inputs, attributes)
    with pytest.raises(ValueError, match="operation Elu"):
        ssdlite._convolution(node, 0, np.zeros((1, 1, 2, 2), np.float32))


def test_anchors():
    anchors = ssdlite.anchors()
    assert anchors.shape == (1917, 4)
    assert [3 * 19**2, *(6 * n * n for n in (10, 5, 3, 2, 1))] == [
        1083, 600, 150, 54, 24, 6
    ]  # fmt: skip
    root = np.sqrt(2)
    table = {
        0: (0.5 / 19, 0.5 / 19, 0.1, 0.1),
        1: (0.5 / 19, 0.5 / 19, 0.2 / root, 0.2 * root),
        2: (0.5 / 19, 0.5 / 19, 0.2 * root, 0.2 / root),
        3: (0.5 / 19, 1.5 / 19, 0.1, 0.1),  # columns run before rows
        57: (1.5 / 19, 0.5 / 19, 0.1, 0.1),
        1083: (0.05, 0.05, 0.35, 0.35),
        1086: (0.05, 0.05, 0.35 / np.sqrt(3), 0.35 * np.sqrt(3)),
        1088: (0.05, 0.05, np.sqrt(0.35 * 0.5), np.sqrt(0.35 * 0.5)),
        1911: (0.5, 0.5, 0.95, 0.95),
        1916: (0.5, 0.5, np.sqrt(0.95), np.sqrt(0.95)),
    }
    for i, expected in table.items():
        np.testing.assert_allclose(anchors[i], expected, rtol=1e-6)


def test_decode():
    anchor = np.float32([[0.5, 0.4, 0.2, 0.1]] * 3)  # centre y, x, height, width
    encodings = np.float32(
        [[0, 0, 0, 0], [10, -5, 0, 0], [0, 0, 5 * np.log(2), 5 * np.log(3)]]
    )
    expected = [
        [0.35, 0.4, 0.45, 0.6],
        [0.30, 0.6, 0.40, 0.8],  # down by its height, left by half its width
        [0.25, 0.3, 0.55, 0.7],
    ]
    np.testing.assert_allclose(ssdlite.decode(encodings, anchor), expected, atol=1e-6)


def test_views():
    assert body_boxes.views(300, 300) == [(0, 300)]
    assert body_boxes.views(109, 100) == [(0, 109)]
    assert body_boxes.views(110, 100) == [(0, 110), (0, 63), (47, 110)]
    assert body_boxes.views(700, 400) == [(0, 700), (0, 400), (300, 700)]


def test_boxes_cut_by_an_inner_edge_are_dropped():
    boxes = np.float32([[0, 0, 397.5, 9], [0, 0, 396, 9], [303, 0, 350, 9]])
    assert body_boxes.is_cut(boxes, 0, 400, 700).tolist() == [True, False, False]
    boxes = np.float32([[302, 0, 500, 9], [303, 0, 500, 9], [400, 0, 700, 9]])
    assert body_boxes.is_cut(boxes, 300, 700, 700).tolist() == [True, False, False]
    assert not body_boxes.is_cut(np.float32([[0, 0, 700, 9]]), 0, 700, 700).any()


def test_suppression():
    boxes = np.float32(
        [
            [0, 0, 10, 10],
            [0, 0, 10, 8],  # IoU .8 with the first
            [0, 0, 4, 4],  # wholly inside it
            [6, 6, 14, 10],  # half inside it
            [30, 30, 40, 40],
        ]
    )
    score = np.float32([0.9, 0.95, 0.5, 0.4, 0.99])
    assert body_boxes.suppress(boxes, score, 0.5, 0.8).tolist() == [4, 1, 3]
    assert body_boxes.suppress(boxes, score, 0.9, 1.0).tolist() == [4, 1, 0, 2, 3]
    none = body_boxes.suppress(np.zeros((0, 4)), np.zeros(0), 0.5, 0.8)
    assert none.shape == (0,)


def test_people_of_a_real_frame(shared):
    name = "frames/hallway_two_0030.png"
    truth = json.loads((shared / "media/ground_truth.json").read_text())["frames"]
    (truth,) = [frame["body"] for frame in truth if frame["image"] == name]
    frame = read(shared / "media" / name)
    ((xyxy, score),) = body_boxes.detect([frame])
    assert len(xyxy) == len(truth) == 2
    assert xyxy.dtype == score.dtype == np.float32
    assert (np.diff(score) <= 0).all()
    assert score.min() > 0.9
    assert (xyxy >= 0).all()
    assert (xyxy <= [480, 270, 480, 270]).all()
    # Hand-drawn boxes are right to a few pixels, detected ones to a tenth of the width.
    order, expected = np.argsort(xyxy[:, 0]), np.array(sorted(truth))
    np.testing.assert_allclose(xyxy[order], expected, atol=12)


def test_bodies_do_not_depend_on_the_other_frames(shared):
    one = read(shared / "media/frames/hallway_two_0005.png")
    two = read(shared / "media/images/astronaut.png")
    empty = np.zeros((192, 320, 3), np.uint8)
    together = body_boxes.detect([one, two, empty])
    backwards = body_boxes.detect([empty, two, one])[::-1]
    alone = body_boxes.detect([one])
    assert [len(score) for _, score in together] == [2, 1, 0]
    for first, second in zip(together + together[:1], backwards + alone, strict=True):
        assert (first[0] == second[0]).all()
        assert (first[1] == second[1]).all()


@pytest.mark.parametrize(("height", "stride"), [(37, 1), (150, 2), (31, 2), (7, 2)])
def test_strips_give_the_same_numbers(height, stride):
    rng = np.random.default_rng(height)
    x = rng.normal(size=(height, 9, 4)).astype(np.float32)
    expand = ssdlite.Step("dense", (-1,), is_relu6=True)
    depthwise = ssdlite.Step("depthwise", (0,), stride, is_relu6=True)
    steps = [expand, depthwise, ssdlite.Step("dense", (1,))]
    shapes = [((4, 6), (6,)), ((3, 3, 6), (6,)), ((6, 5), (5,))]
    params = [
        tuple(rng.normal(size=shape).astype(np.float32) for shape in pair)
        for pair in shapes
    ]
    chain = list(zip(steps, params, strict=True))

    def in_turn(x):
        for step, param in chain:
            x = ssdlite._apply(step, param, [x])
        return x

    # Compiled whole, as in the network: operation by operation takes much longer.
    expected = jax.jit(in_turn)(x)
    found = jax.jit(lambda x: ssdlite._in_strips(chain, x))(x)
    assert found.shape == (-(-height // stride), -(-9 // stride), 5)
    np.testing.assert_allclose(found, expected, atol=1e-5)
