"""Initial values of a parameter tree by the names of its leaves (reserve.md 2.7).

All kernels are slices of one draw: a draw of its own per leaf takes XLA seconds to
compile for the smallest model and minutes for the largest.
"""

import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import traverse_util
from jaxtyping import Float, PRNGKeyArray

from mmdiffmask.types import Array

Initialiser = Literal["reserve", "lecun"]
Path = tuple[str, ...]
Params = dict[str, Any]

PIXEL_GAIN = 4.0  # of the patch kernel where a small model starts from [0, 1] pixels
HEADS_LAST = ("qkv", "query", "key", "value")  # kernels (inputs, heads, head size)
TRUNCATED_SD = 0.87962566103423978  # of a normal cut at -2 and 2


def draw(
    key: PRNGKeyArray,
    shapes: Params,
    scale_init: float,
    initialiser: Initialiser = "reserve",
) -> Params:
    """Initial parameters of the given shapes, float32.

    Args:
      key: decides every value.
      shapes: the tree, its leaves with `.shape`, under the checkpoints' names.
      scale_init: value of `contrastive_scales`.
      initialiser: of all kernels but those of attention pools, which are LeCun's.
    """
    shape = {p: tuple(s.shape) for p, s in traverse_util.flatten_dict(shapes).items()}
    kernels = [p for p in sorted(shape) if p[-1] == "kernel"]
    vectors = [p for p in sorted(shape) if p[-1] in ("cls", "embedding")]
    kernel_key, vector_key, table_key = jax.random.split(key, 3)
    total = sum(math.prod(shape[p]) for p in kernels)
    noise = jax.random.truncated_normal(kernel_key, -2.0, 2.0, (total,))
    values = _slices(noise, {p: shape[p] for p in kernels})
    values = {p: v * _spread(p, shape[p], initialiser) for p, v in values.items()}
    total = sum(math.prod(shape[p]) for p in vectors)
    noise = 0.02 * jax.random.normal(vector_key, (total,))
    values |= _slices(noise, {p: shape[p] for p in vectors})
    for path in shape:
        if path[-1] == "embedding" and shape[path][1] > 768:
            xavier = jax.nn.initializers.xavier_uniform()
            values[path] = xavier(table_key, shape[path])
        elif path[-1] == "bias":
            values[path] = jnp.zeros(shape[path])
        elif path[-1] == "scale":
            values[path] = jnp.ones(shape[path])
        elif path[-1] == "contrastive_scales":
            values[path] = jnp.full(shape[path], scale_init, jnp.float32)
    return traverse_util.unflatten_dict(values)


def centre_pixels(params: Params, mean_patch: Float[Array, " p"]) -> Params:
    """Patch embeddings of spread 4 times as large and without a mean.

    For small models from scratch: values in [0, 1] have a mean far above their spread
    (reserve.md section 9.2). `mean_patch` is the mean of each value of a patch.
    """
    vision = params["vision_encoder"]
    kernel = PIXEL_GAIN * vision["embedding"]["kernel"]
    embedding = {"kernel": kernel, "bias": -jnp.asarray(mean_patch) @ kernel}
    return {**params, "vision_encoder": {**vision, "embedding": embedding}}


def _slices(noise: Array, shape: dict[Path, tuple[int, ...]]) -> dict[Path, Array]:
    """Cuts one long draw into leaves."""
    pieces, start = {}, 0
    for path, sides in shape.items():
        end = start + math.prod(sides)
        pieces[path] = noise[start:end].reshape(sides)
        start = end
    return pieces


def _spread(path: Path, shape: tuple[int, ...], initialiser: Initialiser) -> float:
    """What a truncated normal is multiplied by; Reserve's is not variance-corrected."""
    fan_in = shape[0] if path[-2] in HEADS_LAST else math.prod(shape[:-1])
    if initialiser == "lecun" or "seq_attnpool" in path:
        return fan_in**-0.5 / TRUNCATED_SD
    return min(18.0 / fan_in, 0.02) / 2.0**0.5
