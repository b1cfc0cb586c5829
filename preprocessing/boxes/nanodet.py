"""NanoDet-g as a function of one picture: scores of 80 labels and box bins, by cell.

34 dense convolutions and a pyramid without any, read from a file of float16 values;
every number below is from boxes.md section 7.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from preprocessing.boxes import nanodet_file

STRIDES = (8, 16, 32)
LABELS, SIDES, BINS = 80, 4, 11
_HEADS = (29, 31, 33)  # convolutions whose outputs are the network's
_MEAN = np.array([[[103.53, 116.28, 123.675]]], np.float32)  # BGR
_DEVIATION = np.array([[[57.375, 57.12, 58.395]]], np.float32)
_SLOPE = 0.1

Maps = dict[str, Float[jax.Array, "1 h w c"]]


class Layer(NamedTuple):
    """A convolution, padded by zeros on all sides; LeakyReLU behind it if it is 3x3."""

    side: int  # of the kernel
    stride: int
    inputs: int
    outputs: int
    offset: int  # of the kernel in the file, in bytes; the bias follows it


LAYERS = (
    Layer(3, 2, 3, 32, 5545944),
    Layer(3, 1, 32, 32, 5547866),
    Layer(3, 1, 32, 16, 5518068),
    Layer(3, 1, 16, 16, 5513364),
    Layer(3, 1, 32, 32, 5527384),
    Layer(3, 2, 64, 64, 5566430),
    Layer(3, 1, 64, 32, 5365452),
    Layer(3, 1, 32, 32, 5346892),
    Layer(3, 1, 64, 32, 5402448),
    Layer(3, 1, 32, 32, 5328332),
    Layer(3, 1, 64, 64, 5439444),
    Layer(3, 2, 128, 128, 5640354),
    Layer(3, 1, 128, 64, 4737796),
    Layer(3, 1, 64, 64, 4663876),
    Layer(3, 1, 128, 64, 4885448),
    Layer(3, 1, 64, 64, 4589956),
    Layer(3, 1, 128, 128, 5033100),
    Layer(3, 2, 256, 256, 5935590),
    Layer(3, 1, 256, 128, 1639288),
    Layer(3, 1, 128, 128, 1344056),
    Layer(3, 1, 256, 128, 2229436),
    Layer(3, 1, 128, 128, 1048824),
    Layer(3, 1, 256, 128, 2819584),
    Layer(3, 1, 128, 128, 753592),
    Layer(3, 1, 256, 256, 3409732),
    Layer(1, 1, 128, 128, 654680),
    Layer(1, 1, 256, 128, 687736),
    Layer(1, 1, 512, 128, 7115786),
    Layer(3, 1, 128, 128, 120),
    Layer(1, 1, 128, 124, 295320),
    Layer(3, 1, 128, 128, 327408),
    Layer(1, 1, 128, 124, 622608),
    Layer(3, 1, 128, 128, 7247306),
    Layer(1, 1, 128, 124, 7542506),
)

Params = tuple[tuple[np.ndarray, np.ndarray], ...]


def read_params(content: bytes) -> Params:
    """Kernel (side, side, inputs, outputs) and bias of each layer, float32."""
    params = []
    for layer in LAYERS:
        shape = (layer.side, layer.side, layer.inputs, layer.outputs)
        count = layer.side**2 * layer.inputs * layer.outputs
        values = np.frombuffer(
            content, "<f2", count + layer.outputs, layer.offset
        ).astype(np.float32)
        params.append((values[:count].reshape(shape), values[count:]))
    return tuple(params)


def maps(params: Params, picture: UInt8[jax.Array, "h w 3"]) -> Maps:
    """Every map of the network by its name, for a BGR picture.

    Args:
      params: of `read_params`.
      picture: sides are multiples of 32.

    Returns:
      "conv00" to "conv33", each after its activation, "pool", and the sums of the
      pyramid "p4", "p3", "n4", "n5".
    """
    results: Maps = {}

    def conv(i: int, *inputs: jax.Array) -> jax.Array:
        x = inputs[0] if len(inputs) == 1 else jnp.concatenate(inputs, axis=-1)
        results[f"conv{i:02d}"] = _convolve(LAYERS[i], *params[i], x)
        return results[f"conv{i:02d}"]

    pixels = (picture.astype(jnp.float32) - _MEAN) / _DEVIATION
    results["pool"] = _pool(conv(0, pixels[None]))
    fine = _stage(conv, 1, 1, results["pool"])
    c3 = _stage(conv, 5, 2, *fine)
    c4 = _stage(conv, 11, 2, *c3)
    c5 = _stage(conv, 17, 3, *c4)
    p3, p4, p5 = conv(25, *c3), conv(26, *c4), conv(27, *c5)
    results["p4"] = p4 = p4 + _doubled(p5)
    results["p3"] = p3 = p3 + _doubled(p4)
    results["n4"] = n4 = p4 + _halved(p3)
    results["n5"] = n5 = p5 + _halved(n4)
    for first, level in ((28, p3), (30, n4), (32, n5)):
        conv(first + 1, conv(first, level))
    return results


def _stage(
    conv: Callable[..., jax.Array], first: int, blocks: int, *inputs: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The two maps whose channels together are a stage's result."""
    entry = conv(first, *inputs)
    joined: tuple[jax.Array, ...] = (entry,)
    for i in range(first + 1, first + 1 + 2 * blocks, 2):
        one = conv(i, *joined)
        joined = conv(i + 1, one), one
    return conv(first + 1 + 2 * blocks, *joined), entry


def _convolve(
    layer: Layer, kernel: jax.Array, bias: jax.Array, x: jax.Array
) -> jax.Array:
    pad = (layer.side - 1) // 2
    result = jax.lax.conv_general_dilated(
        x,
        kernel,
        (layer.stride, layer.stride),
        [(pad, pad), (pad, pad)],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        # Accelerators would round to half the digits by default.
        precision="highest",
    )
    result = result + bias.reshape(1, 1, 1, -1)
    return jnp.where(result >= 0, result, _SLOPE * result) if pad else result


def _pool(x: jax.Array) -> jax.Array:
    """The greatest of 3x3, every second; nothing counts beyond the border."""
    window, step, pad = (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (1, 1), (0, 0))
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, step, pad)


def _doubled(x: jax.Array) -> jax.Array:
    """Twice as many rows and columns: bilinear, half-pixel centres, edges repeated."""
    for axis in (1, 2):
        size = x.shape[axis]
        near = np.arange(size)
        before = jnp.take(x, np.maximum(near - 1, 0), axis=axis)
        after = jnp.take(x, np.minimum(near + 1, size - 1), axis=axis)
        pair = jnp.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis + 1)
        x = pair.reshape(*x.shape[:axis], 2 * size, *x.shape[axis + 1 :])
    return x


def _halved(x: jax.Array) -> jax.Array:
    """The means of 2x2."""
    batch, height, width, channels = x.shape
    blocks = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    return blocks.mean((2, 4))


def forward(
    params: Params, picture: UInt8[jax.Array, "h w 3"]
) -> tuple[Float[jax.Array, "n 80"], Float[jax.Array, "n 44"]]:
    """Scores in [0, 1] and raw bins of all cells: by stride, then row by row."""
    results = maps(params, picture)
    outputs = [results[f"conv{i}"].reshape(-1, LABELS + SIDES * BINS) for i in _HEADS]
    joined = jnp.concatenate(outputs)
    return jax.nn.sigmoid(joined[:, :LABELS]), joined[:, LABELS:]


Network = Callable[
    [UInt8[np.ndarray, "h w 3"]],
    tuple[Float[np.ndarray, "n 80"], Float[np.ndarray, "n 44"]],
]


@functools.lru_cache(maxsize=2)
def load(place: str | None = None) -> Network:
    """picture -> (scores, bins), compiled once for each size of pictures.

    Args:
      place: of the weight file, as `nanodet_file.read` takes it.

    Raises:
      ValueError: if the file is missing or another one; says from where it comes.
    """
    params = jax.device_put(read_params(nanodet_file.read(place)))
    run = jax.jit(forward)
    return lambda picture: jax.device_get(run(params, picture))


@functools.lru_cache(maxsize=16)
def cells(height: int, width: int) -> Float[np.ndarray, "n 3"]:
    """Centre x, centre y and stride of each cell, in pixels of the picture."""
    parts = []
    for stride in STRIDES:
        rows, cols = np.indices((height // stride, width // stride)).reshape(2, -1)
        centre = [(cols + 0.5) * stride, (rows + 0.5) * stride]
        parts.append(np.stack([*centre, np.full(len(rows), stride)], axis=1))
    return np.concatenate(parts).astype(np.float64)


def decode(
    bins: Float[np.ndarray, "m 44"], cell: Float[np.ndarray, "m 3"]
) -> Float[np.ndarray, "m 4"]:
    """Boxes x1, y1, x2, y2 in pixels of the picture, not clipped to it.

    The distance from a cell's centre to each side is the mean bin under the softmax
    of that side's eleven, in strides.
    """
    logits = bins.astype(np.float64).reshape(-1, SIDES, BINS)
    share = np.exp(logits - logits.max(-1, keepdims=True))
    share /= share.sum(-1, keepdims=True)
    distance = share @ np.arange(BINS) * cell[:, 2:]
    return np.hstack([cell[:, :2] - distance[:, :2], cell[:, :2] + distance[:, 2:]])
