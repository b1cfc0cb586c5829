"""The three networks of MTCNN, and the resizing that feeds them, in numpy.

Weights are facenet-pytorch's, constants PREPROCESSING.md's section 1. Numpy, since
each level of a picture's pyramid has its own size, which would each be compiled.
"""

import functools
import math

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from preprocessing import weights

Params = dict[str, np.ndarray]


@functools.cache
def load(file: weights.WeightFile) -> Params:
    """A network's weights with kernels as (inputs, outputs) matrices.

    A convolution's inputs run over row, column, channel of its window; those of the
    first dense layer over row, column, channel of the map before it.

    Raises:
      ValueError: if the weight file is missing; says how to install it.
    """
    params = weights.read_torch(weights.read(file))
    last_map = {weights.RNET: ("dense4", 3), weights.ONET: ("dense5", 3)}
    flat, side = last_map.get(file, ("", 0))
    for name, value in params.items():
        layer = name.split(".")[0]
        if value.ndim == 4:
            value = value.transpose(2, 3, 1, 0).reshape(-1, len(value))
        elif value.ndim == 2:
            if layer == flat:  # torch flattened (column, row, channel)
                value = value.reshape(len(value), side, side, -1).swapaxes(1, 2)
            value = value.reshape(len(value), -1).T
        params[name] = np.ascontiguousarray(value)
    return params


def pnet(
    picture: Float[np.ndarray, "1 h w 3"],
) -> tuple[Float[np.ndarray, "r c 4"], Float[np.ndarray, "r c"]]:
    """Corner offsets and face probability of each 12x12 cell, 2 pixels apart."""
    params = load(weights.PNET)
    x = _pool(_conv(params, 1, picture), 2, 2)
    x = _conv(params, 3, _conv(params, 2, x))[0]
    return _dense(params, "conv4_2", x), _face(_dense(params, "conv4_1", x))


def rnet(
    crops: Float[np.ndarray, "m 24 24 3"],
) -> tuple[Float[np.ndarray, "m 4"], Float[np.ndarray, " m"]]:
    """Corner offsets and face probability of each crop."""
    params = load(weights.RNET)
    x = _pool(_conv(params, 1, crops), 3, 2)
    x = _conv(params, 3, _pool(_conv(params, 2, x), 3, 2), 2)
    x = _prelu(_dense(params, "dense4", _flat(x)), params["prelu4.weight"])
    return _dense(params, "dense5_2", x), _face(_dense(params, "dense5_1", x))


def onet(
    crops: Float[np.ndarray, "m 48 48 3"],
) -> tuple[
    Float[np.ndarray, "m 4"], Float[np.ndarray, "m 10"], Float[np.ndarray, " m"]
]:
    """Corner offsets, landmarks (5 x, then 5 y) and face probability of each crop."""
    params = load(weights.ONET)
    x = _pool(_conv(params, 1, crops), 3, 2)
    x = _pool(_conv(params, 2, x), 3, 2)
    x = _conv(params, 4, _pool(_conv(params, 3, x), 2, 2), 2)
    x = _prelu(_dense(params, "dense5", _flat(x)), params["prelu5.weight"])
    probability = _face(_dense(params, "dense6_1", x))
    return _dense(params, "dense6_2", x), _dense(params, "dense6_3", x), probability


def _conv(params: Params, number: int, x: np.ndarray, size: int = 3) -> np.ndarray:
    """Convolution `number` without padding, and its activation."""
    rows, cols = x.shape[1] - size + 1, x.shape[2] - size + 1
    windows = [
        x[:, i : i + rows, j : j + cols] for i in range(size) for j in range(size)
    ]
    x = _dense(params, f"conv{number}", np.concatenate(windows, axis=-1))
    return _prelu(x, params[f"prelu{number}.weight"])


def _dense(params: Params, layer: str, x: np.ndarray) -> np.ndarray:
    kernel = params[f"{layer}.weight"]
    result = x.reshape(-1, len(kernel)) @ kernel
    result += params[f"{layer}.bias"]
    return result.reshape(*x.shape[:-1], kernel.shape[1])


def _prelu(x: np.ndarray, slope: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0.0) + slope * np.minimum(x, 0.0)


def _pool(x: np.ndarray, size: int, stride: int) -> np.ndarray:
    """Maximum over windows; windows that reach past the end count ("ceil mode")."""
    rows, cols = (-(-(n - size) // stride) + 1 for n in x.shape[1:3])
    more = ((n - 1) * stride + size for n in (rows, cols))
    pads = [(0, max(0, m - n)) for m, n in zip(more, x.shape[1:3], strict=True)]
    x = np.pad(x, [(0, 0), *pads, (0, 0)], constant_values=-np.inf)
    ends = (rows - 1) * stride + 1, (cols - 1) * stride + 1
    windows = [
        x[:, i : i + ends[0] : stride, j : j + ends[1] : stride]
        for i in range(size)
        for j in range(size)
    ]
    return functools.reduce(np.maximum, windows)


def _flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), math.prod(x.shape[1:]))


def _face(logits: np.ndarray) -> np.ndarray:
    """Softmax over (no face, face): the probability of a face."""
    return 1.0 / (1.0 + np.exp(logits[..., 0] - logits[..., 1]))


def integral(picture: UInt8[np.ndarray, "h w 3"]) -> Int[np.ndarray, "h+1 w+1 3"]:
    """Sums over all rows and columns before each corner, exact."""
    return cv2.integral(picture, sdepth=cv2.CV_32S)


def resize(
    sums: Int[np.ndarray, "h+1 w+1 3"],
    corners: Int[np.ndarray, "m 4"],
    height: int,
    width: int,
) -> Float[np.ndarray, "m height width 3"]:
    """Cut-outs (left, top, right, bottom) of a picture, resized and normalised.

    Output i of n is the mean over inputs floor(i k / n) .. ceil((i + 1) k / n) - 1 of
    k: torch's "area". Means are differences of an integral picture, hence exact
    (differences of wrapped 32-bit sums are still right).
    """
    top, bottom = _windows(corners[:, 1], corners[:, 3], height)
    left, right = _windows(corners[:, 0], corners[:, 2], width)
    top, bottom = top[:, :, None], bottom[:, :, None]
    left, right = left[:, None], right[:, None]
    total = sums[bottom, right] - sums[bottom, left]
    total -= sums[top, right] - sums[top, left]
    count = ((bottom - top) * (right - left)).astype(np.float32)
    mean = total.astype(np.float32) / count[..., None]
    return (mean - np.float32(127.5)) * np.float32(0.0078125)


def _windows(start: np.ndarray, end: np.ndarray, count: int):
    """(m, count) first and last + 1 input of each output along one side."""
    size = (end - start)[:, None]
    place = np.arange(count)
    low = place * size // count
    high = -(-(place + 1) * size // count)
    return start[:, None] + low, start[:, None] + high
