"""Times our person detector against onnxruntime on the same graph.

    python -m benchmarks.detector_speed [--rounds N]

writes the detector's own weights as an ONNX graph, asserts that both find the same in a
noise picture, then lets the two take turns in one process, one thread each. It prints
CPU milliseconds a view of 300x300 (medians) and `x`, the median of the rounds' ratios.

Exit status 1 if ours takes more than 1.5 times as long, 2 if something is missing.
Needs `pip install onnx onnxruntime`.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # before they are read
    os.environ[_name] = "1"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
    "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)

import numpy as np  # noqa: E402

from preprocessing import protobuf, ssdlite, weights  # noqa: E402

MOST = 1.5  # times onnxruntime's processor seconds
CLOSE = 1e-3  # encodings and scores of the two
Nodes = list[Any]


class Graph:
    """Nodes and constants of an ONNX graph under construction."""

    def __init__(self):
        self.nodes: Nodes = []
        self.constants: Nodes = []

    def constant(self, name: str, value: Any) -> str:
        """Adds an array; its name."""
        from onnx import numpy_helper

        array = np.ascontiguousarray(value)
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def add(self, kind: str, inputs: Sequence[str], output: str, **more: Any) -> str:
        """Adds a node; its output's name."""
        from onnx import helper

        self.nodes.append(helper.make_node(kind, list(inputs), [output], **more))
        return output


def to_onnx(network: ssdlite.Network) -> bytes:
    """The network as a function of "view" (1, 300, 300, 3), values 0 to 255."""
    from onnx import TensorProto, helper

    graph = Graph()
    scaled = graph.add(
        "Mul", ["view", graph.constant("factor", np.float32(2 / 255))], "scaled"
    )
    moved = graph.add("Sub", [scaled, graph.constant("one", np.float32(1))], "moved")
    graph.add("Transpose", [moved], "step-1", perm=[0, 3, 1, 2])
    low = graph.constant("low", np.float32(0))
    high = graph.constant("high", np.float32(6))
    sides = {-1: ssdlite.VIEW_PX}
    for i, (step, param) in enumerate(zip(network.steps, network.params, strict=True)):
        target = f"raw{i}" if step.is_relu6 else f"step{i}"
        inputs = [f"step{j}" for j in step.inputs]
        side = sides[step.inputs[0]]
        if step.kind == "sum":
            graph.add("Add", inputs, target)
        else:
            _add_convolution(graph, step, param, side, inputs, target)
        if step.is_relu6:
            graph.add("Clip", [target, low, high], f"step{i}")
        sides[i] = -(-side // step.stride)
    outputs = list(_add_heads(graph, network.heads))
    view = helper.make_tensor_value_info("view", TensorProto.FLOAT, [1, 300, 300, 3])
    made = helper.make_graph(graph.nodes, "ssdlite", [view], outputs, graph.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    return model.SerializeToString()


def _add_convolution(graph: Graph, step, param, side: int, inputs, target: str) -> None:
    kernel, bias = param
    size = 1 if step.kind == "dense" else 3
    total = max((-(-side // step.stride) - 1) * step.stride + size - side, 0)
    pads = [total // 2] * 2 + [total - total // 2] * 2
    if step.kind == "depthwise":
        weight, group = kernel.transpose(2, 0, 1)[:, None], kernel.shape[2]
    else:
        channels = kernel.shape[0] // size**2
        weight = kernel.reshape(size, size, channels, -1).transpose(3, 2, 0, 1)
        group = 1
    names = [graph.constant(f"{target}_w", weight), graph.constant(f"{target}_b", bias)]
    shape = {"kernel_shape": [size] * 2, "strides": [step.stride] * 2, "pads": pads}
    graph.add("Conv", [*inputs, *names], target, group=group, **shape)


def _add_heads(graph: Graph, heads: Sequence[int]) -> Iterator[Any]:
    from onnx import TensorProto, helper

    half = len(ssdlite.MAPS)
    for name, part, width in (("boxes", heads[:half], 4), ("logits", heads[half:], 2)):
        shape = graph.constant(f"{name}_shape", np.array([1, -1, width], np.int64))
        flat = []
        for i in part:
            last = graph.add("Transpose", [f"step{i}"], f"last{i}", perm=[0, 2, 3, 1])
            flat.append(graph.add("Reshape", [last, shape], f"flat{i}"))
        graph.add("Concat", flat, name, axis=1)
        yield helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1917, width])


def timed(function: Any, *args: Any) -> tuple[Any, float]:
    """What a call gives, and its CPU milliseconds."""
    before = time.process_time()
    found = function(*args)
    return found, 1000 * (time.process_time() - before)


def main(arguments: list[str] | None = None) -> int:
    """Compares the two; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detector_speed")
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args(arguments).rounds
    try:
        import onnxruntime

        network = ssdlite.read_network(
            protobuf.read_graph(weights.read(weights.SSDLITE))
        )
        graph = to_onnx(network)
    except (ImportError, ValueError) as error:
        print(f"{parser.prog}: {error}; pip install onnx onnxruntime", file=sys.stderr)
        return 2
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        graph, options, providers=["CPUExecutionProvider"]
    )
    view = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    given = {"view": view[None].astype(np.float32)}
    ours, detect = [], ssdlite.load()
    theirs = []
    encodings, score = detect(view)
    boxes, logits = session.run(None, given)
    np.testing.assert_allclose(encodings, boxes[0], atol=CLOSE)
    np.testing.assert_allclose(score, 1 / (1 + np.exp(-logits[0, :, 1])), atol=CLOSE)
    for _ in range(rounds):
        theirs.append(timed(session.run, None, given)[1])
        ours.append(timed(detect, view)[1])
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    print(
        f"ours {statistics.median(ours):.1f} ms, onnxruntime"
        f" {statistics.median(theirs):.1f} ms a view, x {ratio:.2f}"
    )
    return 1 if ratio > MOST else 0


if __name__ == "__main__":
    sys.exit(main())
