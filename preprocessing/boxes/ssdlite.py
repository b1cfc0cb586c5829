"""The SSDLite person detector as a function of one 300x300 view.

MobileNet v2 with six pairs of heads, read from the frozen graph of a small wheel;
every number below is from boxes.md section 2.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from preprocessing.boxes import protobuf, weight_files

VIEW_PX = 300
MAPS = (19, 10, 5, 3, 2, 1)  # cells along a side of each head's map
_WIDE = 1 << 20  # values of a map that is worked on in strips: 4 MiB
_STRIP_ROWS = 15
_AT_ONCE = 384  # channels of a depthwise step whose kernel and rows fit the L1 cache
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


def _folded(
    node: protobuf.Node, kernel: np.ndarray, bias: np.ndarray, *vectors: np.ndarray
):
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
    for i, step in enumerate(steps):
        chain = _wide_chain(steps, results, i)
        if chain:
            # What lies between is not used then, and dropped by the compiler.
            x = results[steps[chain[0]].inputs[0]]
            results.append(_in_strips([(steps[j], params[j]) for j in chain], x))
        else:
            inputs = [picture if j < 0 else results[j] for j in step.inputs]
            results.append(_apply(step, params[i], inputs))
    outputs = [results[i] for i in heads]
    boxes = jnp.concatenate([x.reshape(-1, 4) for x in outputs[: len(MAPS)]])
    logits = jnp.concatenate([x.reshape(-1, 2) for x in outputs[len(MAPS) :]])
    return boxes, logits[:, 1]


def _wide_chain(steps: tuple[Step, ...], results: list[jax.Array], i: int):
    """The dense, depthwise and dense step that end with i, if maps between are wide."""
    depthwise = steps[i].inputs[0]
    first = steps[depthwise].inputs[0]
    kinds = [steps[j].kind for j in (first, depthwise, i)]
    is_chain = min(first, depthwise) >= 0 and kinds == ["dense", "depthwise", "dense"]
    is_wide = is_chain and results[first].size >= _WIDE
    return (first, depthwise, i) if is_wide else ()


def _apply(step: Step, param: tuple[jax.Array, ...], inputs: list[jax.Array]):
    if step.kind == "sum":
        result = inputs[0] + inputs[1]
        return jnp.clip(result, 0.0, 6.0) if step.is_relu6 else result
    (x,) = inputs
    if step.kind != "dense":
        rows, sides = (_padding(size, step.stride) for size in x.shape[:2])
        x = _padded(x, rows, sides)
    return _convolve(step, param, x)


def _padded(x: jax.Array, rows: tuple[int, int], sides: tuple[int, int]) -> jax.Array:
    """The map with zeros around it."""
    # The barrier: XLA takes the taps from two maps else, and needs twice as long.
    return jax.lax.optimization_barrier(jnp.pad(x, (rows, sides, (0, 0))))


def _convolve(step: Step, param: tuple[jax.Array, ...], x: jax.Array) -> jax.Array:
    """A convolution of a map that has its padding already."""
    kernel, bias = param
    if step.kind == "dense":
        # Accelerators would round to half the digits by default.
        result = jnp.dot(x.reshape(-1, x.shape[-1]), kernel, precision="highest")
        result = result.reshape(*x.shape[:2], -1)
    elif step.kind == "full":
        result = _full(kernel, step.stride, x)
    else:
        starts = range(0, x.shape[-1], _AT_ONCE)
        parts = [slice(start, start + _AT_ONCE) for start in starts]
        sums = [_depthwise(kernel[..., at], step.stride, x[..., at]) for at in parts]
        result = jnp.concatenate(sums, axis=-1)
    result = result + bias.reshape(1, 1, -1)
    return jnp.clip(result, 0.0, 6.0) if step.is_relu6 else result


def _depthwise(kernel: jax.Array, stride: int, x: jax.Array) -> jax.Array:
    # Nine shifted products: XLA runs a grouped convolution many times slower.
    factors = kernel.reshape(9, 1, 1, -1)
    return functools.reduce(jnp.add, map(jnp.multiply, _taps(x, stride), factors))


def _full(kernel: jax.Array, stride: int, x: jax.Array) -> jax.Array:
    # The same for few channels in: a product of one value and all channels out each.
    values = [tap[:, :, i, None] for tap in _taps(x, stride) for i in range(x.shape[2])]
    factors = kernel.reshape(len(values), 1, 1, -1)
    products = list(map(jnp.multiply, values, factors))
    # A sum for each row of the kernel: additions of one sum wait for each other.
    width = len(products) // 3
    rows = [products[i : i + width] for i in range(0, len(products), width)]
    return functools.reduce(jnp.add, [functools.reduce(jnp.add, row) for row in rows])


def _in_strips(chain: list[tuple], x: jax.Array) -> jax.Array:
    """A dense, a depthwise and a dense step, some rows at a time.

    The same numbers; but the many channels between stay in the processor's cache.
    """
    (expand, wide), (depthwise, kernels), (project, narrow) = chain
    height, stride = x.shape[0], depthwise.stride
    sides = _padding(x.shape[1], stride)
    before, _ = _padding(height, stride)
    rows = -(-height // stride)
    count = -(-rows // _STRIP_ROWS)
    taken = (_STRIP_ROWS - 1) * stride + 3
    move = _STRIP_ROWS * stride
    after = (count - 1) * move + taken - before - height
    x = jnp.pad(x, ((before, after), (0, 0), (0, 0)))

    def strip(i: jax.Array) -> jax.Array:
        part = jax.lax.dynamic_slice_in_dim(x, i * move, taken)
        part = _convolve(expand, wide, part)
        row = i * move - before + jnp.arange(taken)
        is_inside = ((row >= 0) & (row < height)).reshape(-1, 1, 1)
        part = _padded(jnp.where(is_inside, part, 0.0), (0, 0), sides)
        return _convolve(project, narrow, _convolve(depthwise, kernels, part))

    # A loop, since XLA would do one step of all strips before the next step.
    strips = jax.lax.map(strip, jnp.arange(count))
    return strips.reshape(-1, *strips.shape[2:])[:rows]


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
    network = read_network(protobuf.read_graph(weight_files.read(weight_files.SSDLITE)))
    run = jax.jit(functools.partial(forward, network.steps, network.heads))
    params = jax.device_put(network.params)

    def detect(view: UInt8[np.ndarray, "300 300 3"]):
        encodings, logits = jax.device_get(run(params, view))
        return encodings, 1.0 / (1.0 + np.exp(-logits))

    return detect
