"""The three networks of MTCNN in numpy.

Weights are facenet-pytorch's, constants PREPROCESSING.md's section 1. Numpy, since
its matrix products are as fast as a processor goes and its small arrays cost little:
windows are laid out block by block, so that a block stays in the processor's cache.
"""

import functools
import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from preprocessing import weights

Params = dict[str, np.ndarray]

# Sizes that were fastest on a core with 512 KiB of L2 cache; neighbours differ little.
_BLOCK = 1 << 17  # values of laid-out windows
_STRIP = 24  # rows of the first network's maps: two more are computed twice
_CROPS_24, _CROPS_48 = 32, 8  # crops that go through a network together


@functools.cache
def load(file: weights.WeightFile) -> Params:
    """A network's layers: kernels (inputs + 1, outputs), the bias as their last row.

    A convolution's inputs run over row, column, channel of its window; those of the
    first dense layer over row, column, channel of the map before it. "prelu*" are the
    activations' slopes. The first convolution of crops gives two columns at once.

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
            params[layer] = kernel
            continue
        if kernel.ndim == 4:
            kernel = kernel.transpose(0, 2, 3, 1)
        elif layer == flat:  # torch flattened (column, row, channel)
            kernel = kernel.reshape(len(kernel), side, side, -1).swapaxes(1, 2)
        kernel = kernel.reshape(len(kernel), -1).T
        params[layer] = np.vstack([kernel, given[f"{layer}.bias"]])
    if flat:
        params["conv1"] = _two_columns(params["conv1"])
    return params


def _two_columns(kernel: np.ndarray) -> np.ndarray:
    """A 3x3 kernel of pictures as a 3x4 one with the outputs of two columns.

    Products of matrices so narrow gain more by twice the width than the zeros cost.
    """
    wide = np.zeros((3, 4, 3, 2, kernel.shape[1]), np.float32)
    for i in range(2):
        wide[:, i : i + 3, :, i] = kernel[:-1].reshape(3, 3, 3, -1)
    return np.vstack([wide.reshape(36, -1), np.tile(kernel[-1], 2)])


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
        result |= {f"prelu{i}": params[f"prelu{i}"][:, None, None]}
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
    steep = np.flatnonzero(slope > 1)
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
        _prelu(y, slope, bend, bend, steep)
        four = bend.reshape(2, 2, 10, step, cols)
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
        shape = len(kernel), step, cols
        part = y.reshape(shape), slope, bend.reshape(shape), result[:, start:end]
        _prelu(*part, np.flatnonzero(slope > 1))
    return result


def _prelu(x: np.ndarray, slope: np.ndarray, work: np.ndarray, out: np.ndarray, steep):
    """Negative values times `slope` and the others as they are, written to `out`.

    Args:
      x: the values.
      slope: of each of them, or of each channel, as it broadcasts.
      work: like x, overwritten; may be `out`.
      out: like x.
      steep: where in x the slope is above 1: there the lesser of the two is right.
    """
    np.multiply(x, slope, out=work)
    lesser = [np.minimum(x[i], work[i]) for i in steep]
    np.maximum(x, work, out=out)
    for i, values in zip(steep, lesser, strict=True):
        out[i] = values


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
        x = _pool(_conv(params, 1, x, at_once=2), 3, 2)
        return _flat(_conv(params, 3, _pool(_conv(params, 2, x), 3, 2), 2))

    x = _dense_prelu(params, 4, _by_block(flat, crops, _CROPS_24, 576))
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
        x = _pool(_conv(params, 1, x, at_once=2), 3, 2)
        x = _pool(_conv(params, 2, x), 3, 2)
        return _flat(_conv(params, 4, _pool(_conv(params, 3, x), 2, 2), 2))

    x = _dense_prelu(params, 5, _by_block(flat, crops, _CROPS_48, 1152))
    face = _dense(params, "dense6_1", x).T
    return _dense(params, "dense6_2", x), _dense(params, "dense6_3", x), _face(*face)


def _by_block(function, crops: np.ndarray, step: int, count: int) -> np.ndarray:
    """(m, count) results of `function`, for `step` crops at a time."""
    result = np.empty((len(crops), count), np.float32)
    for start in range(0, len(crops), step):
        result[start : start + step] = function(crops[start : start + step])
    return result


def _conv(
    params: Params, number: int, x: np.ndarray, size: int = 3, at_once: int = 1
) -> np.ndarray:
    """Convolution of (m, h, w, channels) without padding, and its activation.

    `at_once` columns come from one window; their number must be a multiple of it.
    """
    kernel, slope = params[f"conv{number}"], params[f"prelu{number}"]
    count, rows, cols = len(x), x.shape[1] - size + 1, x.shape[2] - size + 1
    depth, channels = len(kernel), len(slope)
    x = np.ascontiguousarray(x)  # the windows below overlap in memory
    step = _rows_of_block(count, rows * cols * depth // at_once)
    low, mid, high = x.strides[1:]
    wide = (size + at_once - 1) * x.shape[3]
    shape = count, rows, cols // at_once, size, wide
    strides = x.strides[0], low, mid * at_once, low, high
    windows = np.lib.stride_tricks.as_strided(x, shape, strides)
    inputs = np.ones((step, *shape[1:3], depth), np.float32)
    result = np.empty((count, rows * cols * channels), np.float32)
    steep = [np.s_[:, i::channels] for i in np.flatnonzero(slope > 1)]
    # Per channel and column: long rows are faster than many short ones.
    slope = np.tile(slope, rows * cols)
    y = np.empty((inputs.size // depth, kernel.shape[1]), np.float32)
    bend = np.empty((step, len(slope)), np.float32)
    for start in _starts(count, step):
        part = slice(start, start + step)
        inputs[..., :-1].reshape(step, *shape[1:])[:] = windows[part]
        np.dot(inputs.reshape(-1, depth), kernel, out=y)
        _prelu(y.reshape(bend.shape), slope, bend, result[part], steep)
    return result.reshape(count, rows, cols, channels)


def _dense(params: Params, layer: str, x: np.ndarray) -> np.ndarray:
    return x @ params[layer][:-1] + params[layer][-1]


def _dense_prelu(params: Params, number: int, x: np.ndarray) -> np.ndarray:
    x = _dense(params, f"dense{number}", x)
    return np.where(x > 0, x, x * params[f"prelu{number}"])


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
