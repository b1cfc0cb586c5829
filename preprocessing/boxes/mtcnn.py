"""The three networks of MTCNN, run by OpenCV.

Weights are facenet-pytorch's, constants in boxes.md section 1. OpenCV reads the
networks from ONNX models that are made of the weights here, in memory. Pictures hold
RGB pixels from 0 to 255; networks are kept, and are not for several threads at once.
"""

import functools
import io
import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float

from mmdiffmask.models import torch_file
from preprocessing.boxes import onnx_writer, weight_files

_SCALE, _MIDDLE = 1 / 128, (127.5, 127.5, 127.5)
_FRAME_PX = 10  # a row of cells needs two rows of pixels, and all of them ten more

# What goes through a network together: what lies between layers should fit the cache.
_STRIP_PX, _CROPS = 90_000, 8


class Plan(NamedTuple):
    """A network: convolutions, a dense layer if its heads are dense, heads.

    Attributes:
      file: of its weights.
      pools: the side of the maximum pooling behind each convolution; 0 = none.
      pads: rows and columns that are added below and to the right of each map before
        its convolution, where that makes it 12x12: from there on OpenCV convolves
        small maps in half the time. The pooling leaves out what is made of them.
      heads: layers that share their input; their outputs follow each other.
    """

    file: weight_files.WeightFile
    pools: tuple[int, ...]
    pads: tuple[int, ...]
    heads: tuple[str, ...]


PNET = Plan(weight_files.PNET, (2, 0, 0), (0, 0, 0), ("conv4_1", "conv4_2"))
RNET = Plan(weight_files.RNET, (3, 3, 0), (0, 1, 0), ("dense5_1", "dense5_2"))
ONET = Plan(
    weight_files.ONET, (3, 3, 2, 0), (0, 0, 0, 0), ("dense6_1", "dense6_2", "dense6_3")
)


def pnet(
    picture: Float[np.ndarray, "h w 3"],
) -> tuple[Float[np.ndarray, "4 r c"], Float[np.ndarray, "r c"]]:
    """Corner offsets and face probability of each 12x12 cell, 2 pixels apart."""
    height, width = picture.shape[:2]
    rows, cols = ((n - _FRAME_PX + 1) // 2 for n in (height, width))
    outputs = np.empty((6, rows, cols), np.float32)
    step = math.ceil(rows / math.ceil(height * width / _STRIP_PX))
    for start in range(0, rows, step):
        start = min(start, rows - step)  # strips of one size, the last two overlap
        part = picture[None, 2 * start : 2 * (start + step) + _FRAME_PX]
        outputs[:, start : start + step] = _run(PNET, part)[0]
    return outputs[2:], _face(outputs)


def rnet(
    crops: Float[np.ndarray, "m 24 24 3"],
) -> tuple[Float[np.ndarray, "m 4"], Float[np.ndarray, " m"]]:
    """Corner offsets and face probability of each crop."""
    outputs = _by_block(RNET, crops, 6)
    return outputs[:, 2:], _face(outputs.T)


def onet(
    crops: Float[np.ndarray, "m 48 48 3"],
) -> tuple[
    Float[np.ndarray, "m 4"], Float[np.ndarray, "m 10"], Float[np.ndarray, " m"]
]:
    """Corner offsets, landmarks (5 x, then 5 y) and face probability of each crop."""
    outputs = _by_block(ONET, crops, 16)
    return outputs[:, 2:6], outputs[:, 6:], _face(outputs.T)


def _by_block(plan: Plan, crops: np.ndarray, count: int) -> np.ndarray:
    """(m, count) outputs of the heads."""
    result = np.empty((len(crops), count), np.float32)
    for start in range(0, len(crops), _CROPS):
        part = slice(start, start + _CROPS)
        result[part] = _run(plan, crops[part])
    return result


def _run(plan: Plan, pictures: np.ndarray) -> np.ndarray:
    """Outputs of the heads for (m, h, w, 3) pictures."""
    net = _load(plan, pictures.shape[1:])
    net.setInput(cv2.dnn.blobFromImages(pictures, _SCALE, mean=_MIDDLE))
    return net.forward()


@functools.lru_cache(maxsize=32)  # all that one size of frames needs
def _load(plan: Plan, shape: tuple[int, ...]) -> cv2.dnn.Net:
    """The network with memory of its own for pictures of this size.

    Raises:
      ValueError: if the weight file is missing; says how to install it.
    """
    height, width, _ = shape
    model = _model(plan, height, width)
    return cv2.dnn.readNetFromONNX(np.frombuffer(model, np.uint8))


def _model(plan: Plan, height: int, width: int) -> bytes:
    """The network as an ONNX model: (pictures, channel, row, column) -> the heads."""
    weights = torch_file.read(io.BytesIO(weight_files.read(plan.file)))
    parts, last = [], "pixels"

    def add(op: str, *constants: np.ndarray, **attributes: int | Sequence[int]) -> None:
        nonlocal last
        name = f"{op}{len(parts)}"
        names = [f"{name}_{i}" for i in range(len(constants))]
        parts.extend(map(onnx_writer.constant, names, constants))
        parts.append(onnx_writer.node(op, [last, *names], name, **attributes))
        last = name

    for layer, (pool, pad) in enumerate(zip(plan.pools, plan.pads, strict=True), 1):
        kernel, bias = _weights(weights, f"conv{layer}")
        if pad:
            add("Pad", np.array([0] * 6 + [pad] * 2))
        add("Conv", kernel, bias, kernel_shape=kernel.shape[2:])
        add("PRelu", weights[f"prelu{layer}.weight"][:, None, None])
        if pool:  # windows that reach past the end count, but for what a pad added
            sides = {"kernel_shape": [pool] * 2, "strides": [2, 2]}
            add("MaxPool", **sides, ceil_mode=int(not pad))
    heads = _weights(weights, *plan.heads)
    if heads[0].ndim == 4:
        add("Conv", *heads, kernel_shape=[1, 1])
    else:
        kernel, bias = _weights(weights, f"dense{layer + 1}")
        # Of a 3x3 map that torch flattened as (column, row, channel).
        kernel = kernel.reshape(len(kernel), 3, 3, -1).transpose(0, 3, 2, 1)
        add("Flatten")
        add("Gemm", kernel.reshape(len(kernel), -1), bias, transB=1)
        add("PRelu", weights[f"prelu{layer + 1}.weight"])
        add("Gemm", *heads, transB=1)
    input_shape, shape = ["m", 3, height, width], ["m", "n", "r", "c"][: heads[0].ndim]
    parts.append(onnx_writer.value(onnx_writer.INPUT, "pixels", input_shape))
    return onnx_writer.model(*parts, onnx_writer.value(onnx_writer.OUTPUT, last, shape))


def _weights(weights: dict[str, np.ndarray], *layers: str) -> list[np.ndarray]:
    """Kernel and bias of layers that have one input, as of a single one."""
    return [
        np.concatenate([weights[f"{layer}.{part}"] for layer in layers])
        for part in ("weight", "bias")
    ]


def _face(outputs: np.ndarray) -> np.ndarray:
    """Softmax over the first two, no face and face: the probability of a face."""
    return 1.0 / (1.0 + np.exp(outputs[0] - outputs[1]))
