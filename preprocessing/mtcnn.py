"""The three networks of MTCNN, and the resizing that feeds them, in numpy.

Weights are facenet-pytorch's, constants PREPROCESSING.md's section 1. Numpy, since
its matrix products are as fast as a processor goes and its small arrays cost little:
windows are laid out block by block, so that a block stays in the processor's cache.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from preprocessing import weights

Params = dict[str, np.ndarray]

_BLOCK = 1 << 16  # values of laid-out windows: 256 KiB, half of a usual L2 cache
_STRIP = 8  # rows of the first network's maps: two more are computed twice
_CROPS = 16  # crops that go through a network together
_SCALE, _MIDDLE = np.float32(0.0078125), np.float32(127.5)


@functools.cache
def load(file: weights.WeightFile) -> Params:
    """A network's layers: kernels (inputs + 1, outputs), the bias as their last row.

    A convolution's inputs run over row, column, channel of its window; those of the
    first dense layer over row, column, channel of the map before it. "prelu*" are the
    activations' slopes minus 1.

    Raises:
      ValueError: if the weight file is missing; says how to install it.
    """
    given = weights.read_torch(weights.read(file))
    last_map = {weights.RNET: ("dense4", 3), weights.ONET: ("dense5", 3)}
    flat, side = last_map.get(file, ("", 0))
    params = {}
    for layer in sorted({name.split(".")[0] for name in given}):
        kernel = given[f"{layer}.weight"]
        if kernel.ndim == 1:
            params[layer] = kernel - 1
            continue
        if kernel.ndim == 4:
            kernel = kernel.transpose(0, 2, 3, 1)
        elif layer == flat:  # torch flattened (column, row, channel)
            kernel = kernel.reshape(len(kernel), side, side, -1).swapaxes(1, 2)
        kernel = kernel.reshape(len(kernel), -1).T
        params[layer] = np.vstack([kernel, given[f"{layer}.bias"]])
    return params


@functools.cache
def _load_pnet() -> Params:
    """The first network with maps as (channel, row, column); kernels (outputs, inputs).

    Its first convolution gives the four outputs that are pooled together at once.
    """
    params = load(weights.PNET)
    window = params["conv1"][:-1].reshape(3, 3, 3, -1)
    first = np.zeros((2, 2, window.shape[-1], 4, 4, 3), np.float32)
    for i, j in np.ndindex(2, 2):
        first[i, j, :, i : i + 3, j : j + 3] = np.moveaxis(window, -1, 0)
    bias = np.tile(params["conv1"][-1], 4)[:, None]
    first = np.hstack([first.reshape(len(bias), -1), bias])
    result = {"conv1": first, "prelu1": np.tile(params["prelu1"], 4)[:, None]}
    for i in (2, 3):
        kernel, bias = params[f"conv{i}"][:-1], params[f"conv{i}"][-1:]
        kernel = kernel.reshape(9, -1, kernel.shape[1]).swapaxes(0, 1)
        kernel = np.vstack([kernel.reshape(-1, kernel.shape[2]), bias]).T
        result |= {f"conv{i}": np.ascontiguousarray(kernel)}
        result |= {f"prelu{i}": params[f"prelu{i}"][:, None]}
    heads = np.hstack([params["conv4_1"], params["conv4_2"]])
    result |= {"heads": np.ascontiguousarray(heads[:-1].T)}
    return result | {"heads_bias": heads[-1][:, None, None]}


def pnet(
    picture: Float[np.ndarray, "h w 3"],
) -> tuple[Float[np.ndarray, "4 r c"], Float[np.ndarray, "r c"]]:
    """Corner offsets and face probability of each 12x12 cell, 2 pixels apart."""
    params = _load_pnet()
    x = _first_pooled(params, picture)
    rows, cols = x.shape[1] - 4, x.shape[2] - 4
    y = np.empty((len(params["heads"]), rows, cols), np.float32)
    # Strips, so that the 16 and 32 channels between never leave the cache.
    step = min(rows, max(_STRIP, _rows_of_block(rows, 4 * cols)))
    for start in _starts(rows, step):
        part = _conv_maps(params, 2, x[:, start : start + step + 4])
        part = _conv_maps(params, 3, part).reshape(-1, step * cols)
        part = np.dot(params["heads"], part).reshape(len(y), step, cols)
        np.add(part, params["heads_bias"], out=y[:, start : start + step])
    return y[2:], _face(y[0], y[1])


def _first_pooled(params: Params, picture: np.ndarray) -> np.ndarray:
    """The picture after the first convolution and 2x2 pooling: (10, rows, columns)."""
    kernel, slope = params["conv1"], params["prelu1"]
    height, width = (n - 2 for n in picture.shape[:2])
    rows, cols = (height + 1) // 2, (width + 1) // 2
    step, depth = _rows_of_block(rows, cols * kernel.shape[1]), kernel.shape[1]
    # The last windows of the pooling may reach past the end.
    strip = np.zeros((2 * step + 2, 2 * cols + 2, 3), np.float32)
    low, mid, high = strip.strides
    shape, strides = (step, cols, 4, 12), (2 * low, 2 * mid, low, high)
    windows = np.lib.stride_tricks.as_strided(strip, shape, strides)
    inputs = np.ones((step, cols, depth), np.float32)
    y = np.empty((len(kernel), step * cols), np.float32)
    bend, result = np.empty_like(y), np.empty((10, rows, cols), np.float32)
    for start in _starts(rows, step):
        end = start + step
        part = picture[2 * start : 2 * end + 2]
        strip[: len(part), : width + 2] = part
        inputs[..., :-1].reshape(shape)[:] = windows
        np.dot(kernel, inputs.reshape(-1, depth).T, out=y)
        _prelu(y, slope, bend, y)
        four = y.reshape(2, 2, 10, step, cols)
        if width % 2:
            four[:, 1, ..., -1] = -np.inf
        if height % 2 and end == rows:
            four[1, ..., -1, :] = -np.inf
        two = np.maximum(four[0], four[1])
        np.maximum(two[0], two[1], out=result[:, start:end])
    return result


def _conv_maps(params: Params, number: int, x: np.ndarray) -> np.ndarray:
    """3x3 convolution of (channels, h, w) without padding, and its activation."""
    kernel, slope = params[f"conv{number}"], params[f"prelu{number}"]
    channels, rows, cols = len(x), x.shape[1] - 2, x.shape[2] - 2
    depth = kernel.shape[1]
    step = _rows_of_block(rows, cols * depth)
    shape, strides = (channels, 3, 3, rows, cols), (*x.strides, *x.strides[1:])
    windows = np.lib.stride_tricks.as_strided(x, shape, strides)
    inputs = np.ones((depth, step, cols), np.float32)
    y = np.empty((len(kernel), step * cols), np.float32)
    bend, result = np.empty_like(y), np.empty((len(kernel), rows, cols), np.float32)
    for start in _starts(rows, step):
        end = start + step
        inputs[:-1].reshape(channels, 3, 3, step, cols)[:] = windows[..., start:end, :]
        np.dot(kernel, inputs.reshape(depth, -1), out=y)
        _prelu(y, slope, bend, y)
        result[:, start:end] = y.reshape(-1, step, cols)
    return result


def _prelu(x: np.ndarray, slope: np.ndarray, work: np.ndarray, out: np.ndarray) -> None:
    """Negative values times `slope` + 1, written to `out`; `work` is like x."""
    np.minimum(x, 0, out=work)
    work *= slope
    np.add(x, work, out=out)


def _rows_of_block(rows: int, values: int) -> int:
    """Rows that make a block; `values` are those of one row."""
    return min(rows, max(1, _BLOCK // values))


def _starts(total: int, step: int) -> Iterator[int]:
    """Where blocks of `step` begin; the last ends at `total`, as large as the rest."""
    return (min(start, total - step) for start in range(0, total, step))


def rnet(
    crops: Float[np.ndarray, "m 24 24 3"],
) -> tuple[Float[np.ndarray, "m 4"], Float[np.ndarray, " m"]]:
    """Corner offsets and face probability of each crop."""
    params = load(weights.RNET)

    def flat(x: np.ndarray) -> np.ndarray:
        x = _pool(_conv(params, 1, x), 3, 2)
        return _flat(_conv(params, 3, _pool(_conv(params, 2, x), 3, 2), 2))

    x = _dense_prelu(params, 4, _by_block(flat, crops, 576))
    face = _dense(params, "dense5_1", x).T
    return _dense(params, "dense5_2", x), _face(*face)


def onet(
    crops: Float[np.ndarray, "m 48 48 3"],
) -> tuple[
    Float[np.ndarray, "m 4"], Float[np.ndarray, "m 10"], Float[np.ndarray, " m"]
]:
    """Corner offsets, landmarks (5 x, then 5 y) and face probability of each crop."""
    params = load(weights.ONET)

    def flat(x: np.ndarray) -> np.ndarray:
        x = _pool(_conv(params, 1, x), 3, 2)
        x = _pool(_conv(params, 2, x), 3, 2)
        return _flat(_conv(params, 4, _pool(_conv(params, 3, x), 2, 2), 2))

    x = _dense_prelu(params, 5, _by_block(flat, crops, 1152))
    face = _dense(params, "dense6_1", x).T
    return _dense(params, "dense6_2", x), _dense(params, "dense6_3", x), _face(*face)


def _by_block(function, crops: np.ndarray, count: int) -> np.ndarray:
    """(m, count) results of `function`, for a few crops at a time."""
    result = np.empty((len(crops), count), np.float32)
    for start in range(0, len(crops), _CROPS):
        result[start : start + _CROPS] = function(crops[start : start + _CROPS])
    return result


def _conv(params: Params, number: int, x: np.ndarray, size: int = 3) -> np.ndarray:
    """Convolution of (m, h, w, channels) without padding, and its activation."""
    kernel, slope = params[f"conv{number}"], params[f"prelu{number}"]
    count, rows, cols = len(x), x.shape[1] - size + 1, x.shape[2] - size + 1
    depth, channels = kernel.shape
    x = np.ascontiguousarray(x)  # the windows below overlap in memory
    step = _rows_of_block(count, rows * cols * depth)
    low, mid, high = x.strides[1:]
    shape = count, rows, cols, size, size * x.shape[3]
    strides = x.strides[0], low, mid, low, high
    windows = np.lib.stride_tricks.as_strided(x, shape, strides)
    inputs = np.ones((step, rows, cols, depth), np.float32)
    result = np.empty((count, rows * cols * channels), np.float32)
    # Per channel and column: long rows are faster than many short ones.
    slope = np.tile(slope, rows * cols)
    y = np.empty((step * rows * cols, channels), np.float32)
    bend = np.empty((step, len(slope)), np.float32)
    for start in _starts(count, step):
        part = slice(start, start + step)
        inputs[..., :-1].reshape(step, *shape[1:])[:] = windows[part]
        np.dot(inputs.reshape(-1, depth), kernel, out=y)
        _prelu(y.reshape(bend.shape), slope, bend, result[part])
    return result.reshape(count, rows, cols, channels)


def _dense(params: Params, layer: str, x: np.ndarray) -> np.ndarray:
    return x @ params[layer][:-1] + params[layer][-1]


def _dense_prelu(params: Params, number: int, x: np.ndarray) -> np.ndarray:
    x = _dense(params, f"dense{number}", x)
    return x + np.minimum(x, 0) * params[f"prelu{number}"]


def _pool(x: np.ndarray, size: int, stride: int) -> np.ndarray:
    """Maximum over windows; windows that reach past the end count ("ceil mode")."""
    for before in ((slice(None),), (slice(None), slice(None))):
        length = x.shape[len(before)]
        count = -(-(length - size) // stride) + 1
        result = x[*before, ::stride][*before, :count].copy()
        for i in range(1, size):
            part = x[*before, i::stride][*before, :count]
            most = result[*before, : part.shape[len(before)]]
            np.maximum(most, part, out=most)
        x = result
    return x


def _flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), math.prod(x.shape[1:]))


def _face(no: np.ndarray, yes: np.ndarray) -> np.ndarray:
    """Softmax over (no face, face): the probability of a face."""
    return 1.0 / (1.0 + np.exp(no - yes))


def integral(picture: UInt8[np.ndarray, "h w 3"]) -> Int[np.ndarray, "h+1 w+1 3"]:
    """Sums over all rows and columns before each corner, exact."""
    return cv2.integral(picture, sdepth=cv2.CV_32S)


@dataclasses.dataclass(frozen=True)
class Shrinking:
    """How pictures of one size are resized to another: windows and 1 / their sizes."""

    top: Int[np.ndarray, " r"]
    bottom: Int[np.ndarray, " r"]
    left: Int[np.ndarray, " c"]
    right: Int[np.ndarray, " c"]
    row_factor: Float[np.ndarray, "r 1"]
    col_factor: Float[np.ndarray, " c*3"]


@functools.lru_cache(maxsize=256)  # some 12 levels for each size of a data set's videos
def shrinking(size: tuple[int, int], to: tuple[int, int]) -> Shrinking:
    """From (height, width) to (height, width)."""
    sides = [
        [window[0] for window in _windows(np.zeros(1, int), np.array([n]), m)]
        for n, m in zip(size, to, strict=True)
    ]
    (top, bottom), (left, right) = sides
    rows = (1 / (bottom - top)).astype(np.float32)[:, None]
    cols = (_SCALE / (right - left)).astype(np.float32)
    return Shrinking(top, bottom, left, right, rows, np.repeat(cols, 3))


def shrink(
    sums: Int[np.ndarray, "h+1 w+1 3"], plan: Shrinking
) -> Float[np.ndarray, "r c 3"]:
    """A whole picture resized and normalised, as `resize` does cut-outs."""
    rows, cols = len(plan.top), len(plan.left)
    result = np.empty((rows, cols, 3), np.float32)
    step = _rows_of_block(rows, sums.shape[1] * 3)
    for start in range(0, rows, step):
        part = slice(start, start + step)
        total = np.take(sums, plan.bottom[part], axis=0)
        total -= np.take(sums, plan.top[part], axis=0)
        difference = np.take(total, plan.right, axis=1)
        difference -= np.take(total, plan.left, axis=1)
        mean = difference.astype(np.float32).reshape(-1, cols * 3)
        mean *= plan.col_factor
        mean *= plan.row_factor[part]
        np.subtract(mean, _MIDDLE * _SCALE, out=result[part].reshape(mean.shape))
    return result


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
    flat, line = sums.reshape(-1, 3), sums.shape[1]
    total = np.take(flat, bottom * line + right, axis=0)
    total -= np.take(flat, bottom * line + left, axis=0)
    total -= np.take(flat, top * line + right, axis=0)
    total += np.take(flat, top * line + left, axis=0)
    factor = _SCALE / ((bottom - top) * (right - left)).astype(np.float32)
    mean = total.astype(np.float32)
    mean *= factor[..., None]
    mean -= _MIDDLE * _SCALE
    return mean


def _windows(start: np.ndarray, end: np.ndarray, count: int):
    """(m, count) first and last + 1 input of each output along one side."""
    size = (end - start)[:, None]
    place = np.arange(count)
    low = place * size // count
    high = -(-(place + 1) * size // count)
    return start[:, None] + low, start[:, None] + high
