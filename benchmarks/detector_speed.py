"""Times our person detector against onnxruntime on the same graph.

    python -m benchmarks.detector_speed [MEDIA_DIR] [--rounds N]

writes the detector's own weights as an ONNX graph (batch norms folded, as ours),
asserts that both give the same encodings and scores, then lets the two take turns in
one process, one thread each. It prints CPU milliseconds a view of 300x300 (medians)
and `x`, the median of the rounds' ratios. Views are frames of MEDIA_DIR/videos, or
noise; with MEDIA_DIR it also prints what a whole frame costs at three sizes, cutting,
resizing and suppression included.

Exit status 1 if outputs differ or `x` is above 1.5, 2 if something is missing. Needs
the packages `onnx` and `onnxruntime` (pip install onnx onnxruntime).
"""

import argparse
import importlib
import itertools
import os
import pathlib
import statistics
import sys
import time
import types
from collections.abc import Callable
from typing import NamedTuple

from preprocessing.work import workers

if __name__ == "__main__":  # before the libraries are loaded that read it
    os.environ.update(workers.ONE_THREAD)  # as in a worker

import numpy as np  # noqa: E402

from benchmarks import commands, face_speed  # noqa: E402
from preprocessing.boxes import body_boxes, protobuf, ssdlite, weight_files  # noqa: E402

LIMIT = 1.5  # times onnxruntime's CPU seconds
FRAMES = 4  # of MEDIA_DIR
TOLERANCE = {"boxes": 1e-4, "scores": 1e-5}  # encodings, probabilities
_OUTPUTS = (("boxes", 4), ("logits", 2))


class Sides(NamedTuple):
    """What a step gives: cells along a side, channels."""

    cells: int
    channels: int


def sides(network: ssdlite.Network) -> list[Sides]:
    """The size of each step's result."""
    results: list[Sides] = []
    for step, param in zip(network.steps, network.params, strict=True):
        at = step.inputs[0]
        source = Sides(ssdlite.VIEW_PX, 3) if at < 0 else results[at]
        channels = len(param[1]) if param else source.channels
        results.append(Sides(-(-source.cells // step.stride), channels))
    return results


def to_onnx(network: ssdlite.Network) -> bytes:
    """The network as an ONNX model: view (1, 300, 300, 3) float32 -> boxes, logits.

    Raises:
      ValueError: if the package `onnx` is missing.
    """
    onnx = _needed("onnx")
    make, nodes, constants = onnx.helper.make_node, [], []

    def constant(name: str, value: np.ndarray) -> str:
        value = np.ascontiguousarray(value)
        constants.append(onnx.numpy_helper.from_array(value, name))
        return name

    factor = constant("factor", np.float32(2 / 255))
    nodes.append(make("Mul", ["view", factor], ["scaled"]))
    nodes.append(make("Sub", ["scaled", constant("one", np.float32(1))], ["centred"]))
    nodes.append(make("Transpose", ["centred"], ["step-1"], perm=[0, 3, 1, 2]))
    limits = [constant("low", np.float32(0)), constant("high", np.float32(6))]
    for i, step in enumerate(network.steps):
        name = f"step{i}_linear" if step.is_relu6 else f"step{i}"
        inputs = [f"step{j}" for j in step.inputs]
        if step.kind == "sum":
            nodes.append(make("Add", inputs, [name]))
        else:
            kernel, settings = _convolution(network, i)
            inputs.append(constant(f"kernel{i}", kernel))
            inputs.append(constant(f"bias{i}", network.params[i][1]))
            nodes.append(make("Conv", inputs, [name], **settings))
        if step.is_relu6:
            nodes.append(make("Clip", [name, *limits], [f"step{i}"]))
    count = len(ssdlite.MAPS)
    for (name, width), heads in zip(
        _OUTPUTS, (network.heads[:count], network.heads[count:]), strict=True
    ):
        shape = constant(f"{name}_shape", np.array([1, -1, width], np.int64))
        for i in heads:
            nodes.append(make("Transpose", [f"step{i}"], [f"t{i}"], perm=[0, 2, 3, 1]))
            nodes.append(make("Reshape", [f"t{i}", shape], [f"head{i}"]))
        nodes.append(make("Concat", [f"head{i}" for i in heads], [name], axis=1))
    return _model(onnx, nodes, constants)


def _convolution(network: ssdlite.Network, i: int) -> tuple[np.ndarray, dict]:
    """Kernel (outputs, inputs, rows, columns) and settings of step i, "SAME" padded."""
    step, kernel = network.steps[i], network.params[i][0]
    before = step.inputs[0]
    source = Sides(ssdlite.VIEW_PX, 3) if before < 0 else sides(network)[before]
    size, group = (1 if step.kind == "dense" else 3), 1
    total = max((-(-source.cells // step.stride) - 1) * step.stride + size, 0)
    total = max(total - source.cells, 0)
    pads = [total // 2] * 2 + [total - total // 2] * 2
    if step.kind == "depthwise":
        kernel, group = kernel.transpose(2, 0, 1)[:, None], source.channels
    else:
        kernel = kernel.reshape(size, size, source.channels, -1).transpose(3, 2, 0, 1)
    strides, shape = [step.stride] * 2, [size] * 2
    settings = {"strides": strides, "kernel_shape": shape, "pads": pads, "group": group}
    return kernel, settings


def _model(onnx: types.ModuleType, nodes: list, constants: list) -> bytes:
    single = onnx.TensorProto.FLOAT
    value, cells = onnx.helper.make_tensor_value_info, len(ssdlite.anchors())
    view = value("view", single, [1, ssdlite.VIEW_PX, ssdlite.VIEW_PX, 3])
    outputs = [value(name, single, [1, cells, width]) for name, width in _OUTPUTS]
    graph = onnx.helper.make_graph(nodes, "ssdlite", [view], outputs, constants)
    opset = onnx.helper.make_opsetid("", 17)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9)
    return model.SerializeToString()


def load_onnxruntime(network: ssdlite.Network):
    """view -> (box encodings, person scores) on one thread, as `ssdlite.load` gives.

    Raises:
      ValueError: if a package is missing.
    """
    runtime = _needed("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = runtime.InferenceSession(
        to_onnx(network), options, providers=["CPUExecutionProvider"]
    )

    def detect(view: np.ndarray):
        view = view[None].astype(np.float32)
        boxes, logits = session.run(None, {"view": view})
        return boxes[0], 1.0 / (1.0 + np.exp(-logits[0, :, 1]))

    return detect


def _needed(name: str):
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"the package {error.name} is missing; pip install onnx onnxruntime"
        ) from error


def difference(ours: tuple, theirs: tuple) -> str | None:
    """What is not the same of two results for a view."""
    for one, two, (name, limit) in zip(ours, theirs, TOLERANCE.items(), strict=True):
        most = np.abs(one - two).max()
        if not most <= limit:
            return f"{name} differ by {most:.1e}, more than {limit:.0e}"
    return None


def _seconds(function: Callable[..., object], *arguments) -> float:
    start = time.process_time()
    function(*arguments)
    return time.process_time() - start


class Result(NamedTuple):
    """Median CPU seconds a view, the median of the ratios, what differs."""

    ours: float
    theirs: float
    ratio: float
    said: list[str]


def compare(views: list[np.ndarray], rounds: int) -> Result:
    """Ours and onnxruntime on each view in turn.

    Raises:
      ValueError: if a package is missing.
    """
    graph = protobuf.read_graph(weight_files.read(weight_files.SSDLITE))
    ours, theirs = ssdlite.load(), load_onnxruntime(ssdlite.read_network(graph))
    # These calls are not timed: the first of ours compiles.
    differences = [difference(ours(view), theirs(view)) for view in views]
    said = [f"view {i}: {one}" for i, one in enumerate(differences) if one]
    turns = itertools.islice(itertools.cycle(views), rounds)
    pairs = [(_seconds(ours, view), _seconds(theirs, view)) for view in turns]
    ratio = statistics.median(one / two for one, two in pairs)
    ours_s, theirs_s = (statistics.median(side) for side in zip(*pairs, strict=True))
    return Result(ours_s, theirs_s, ratio, said)


def run(options: argparse.Namespace) -> int:
    """Prints the comparison and the cost of frames; the exit status."""
    size = (ssdlite.VIEW_PX, ssdlite.VIEW_PX)
    if options.media:
        views = face_speed.read_frames(options.media, size, FRAMES)
    else:
        views = [np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)]
    ours, theirs, ratio, said = compare(views, options.rounds)
    print(
        f"a view of 300x300: ours {1e3 * ours:.1f} ms, onnxruntime {1e3 * theirs:.1f}"
    )
    print(f"x {ratio:.2f}, limit {LIMIT}")
    for line in said:
        print(f"  DIFFERS {line}")
    for size in face_speed.SIZES if options.media else ():
        print(frame_cost(options.media, size), flush=True)
    return 0 if ratio <= LIMIT and not said else 1


def frame_cost(media: pathlib.Path, size: tuple[int, int]) -> str:
    """What a whole frame of (width, height) costs, in words."""
    width, height = size
    width, height = size
    frames = face_speed.read_frames(media, size, FRAMES)
    bodies = sum(len(score) for _, score in body_boxes.detect(frames))
    spent = [_seconds(body_boxes.detect, frames) for _ in range(3)]
    cost_ms = 1e3 * statistics.median(spent) / len(frames)
    return (
        f"{width:>4}x{height:<4} {len(frames)} frames,"
        f" {len(body_boxes.views(width, height))} views each, {bodies} bodies:"
        f" {cost_ms:.0f} ms a frame"
    )


def main(arguments: list[str] | None = None) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detector_speed")
    parser.add_argument("media", type=pathlib.Path, nargs="?", metavar="MEDIA_DIR")
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return commands.status(parser.prog, lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
