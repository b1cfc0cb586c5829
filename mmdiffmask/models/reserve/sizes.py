"""Names and shapes of the model's parameters, and which named size a tree has."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from mmdiffmask import config, configure
from mmdiffmask.grid import PatchGrid
from mmdiffmask.models.reserve import model as reserve
from mmdiffmask.models.reserve import official_file, official_writer, towers
from mmdiffmask.models.shapes import Shapes
from mmdiffmask.types import Array

Sizes = dict[str, int]  # setting of config.Model -> value

TABLE = "token_encoder/Embed_0/embedding"
# The settings of config.Model that shapes depend on.
SETTINGS = ("hidden", "head_size", "vision_layers", "audio_layers", "span_layers")
SETTINGS += ("joint_layers", "vocabulary")
ENCODERS = ("vision", "audio", "span", "joint")
OFFICIAL = ("base", "large")
OFFICIAL_STEP = 750_000  # pretraining's length: the 5 bytes of reserve.md section 5


def shapes(settings: config.Model) -> Shapes:
    """Name -> shape of every parameter of the model."""
    return _shapes(tuple(of_settings(settings).values()))


@functools.cache
def _shapes(values: tuple[int, ...]) -> Shapes:
    wanted = dict(zip(SETTINGS, values, strict=True))
    # The layers of an encoder are alike: tracing 689 leaves takes seconds.
    single = dict.fromkeys((f"{name}_layers" for name in ENCODERS), 1)
    model = reserve.Reserve(config.Model(**(wanted | single)))
    spec = jax.ShapeDtypeStruct

    def init(patches: Array, spectrogram: Array, tokens: Array) -> dict[str, Any]:
        key, grid = jax.random.key(0), PatchGrid(2, 2)
        return model.init(key, patches, grid, spectrogram, tokens, method="run_all")

    tree = jax.eval_shape(
        init,
        spec((1, 1, 4, towers.PATCH_VALUES), jnp.float32),
        spec((1, 1, 1, 60, 65), jnp.float32),
        spec((1, 8), jnp.int32),
    )
    shape_of = {}
    for path, leaf in official_file.flatten(tree["params"]).items():
        count = wanted[f"{path.split('_')[0]}_layers"] if "layer_00" in path else 1
        for index in range(count):
            shape_of[path.replace("layer_00", f"layer_{index:02d}")] = leaf.shape
    return shape_of


def of_params(params: dict[str, Any]) -> Sizes:
    """What the shapes of a checkpoint say; empty if they are not this model's."""
    shape = {
        path: tuple(leaf.shape) for path, leaf in official_file.flatten(params).items()
    }
    table, heads = shape.get(TABLE, ()), shape.get(_layer("joint"), ())
    norm = shape.get("joint_transformer/final_ln/scale", ())
    if len(table) != 2 and len(norm) != 1:
        return {}
    sizes = {"hidden": norm[0] if len(norm) == 1 else table[1]}
    if len(table) == 2:
        sizes["vocabulary"] = table[0]
    if len(heads) == 2:
        sizes["head_size"] = heads[1]
    for name in ENCODERS:
        prefix = _layer(name).split("layer_00")[0]
        names = {path[len(prefix) :].split("/")[0] for path in shape if prefix in path}
        layers = [name for name in names if name.startswith("layer_")]
        if layers:
            sizes[f"{name}_layers"] = len(layers)
    return sizes


def _layer(name: str) -> str:
    """The bias of the first layer's queries, keys and values in an encoder."""
    encoder = f"{name}_encoder/transformer"
    encoder = "joint_transformer" if name == "joint" else encoder
    return f"{encoder}/layer_00/attention_layer/qkv/bias"


def of_settings(settings: config.Model) -> Sizes:
    """The sizes of a model."""
    return {name: getattr(settings, name) for name in SETTINGS}


def to_settings(sizes: Sizes) -> config.Model:
    """The model of such sizes; what shapes do not tell is as in `config.Model`.

    Raises:
      ValueError: if there can be no such model.
    """
    settings = config.Model(**sizes)
    configure.check(config.Experiment("sizes of a checkpoint", model=settings))
    return settings


def nearest(sizes: Sizes) -> tuple[str, Sizes]:
    """The named size most like these, and what it has where these differ."""
    differ = {
        name: {
            key: value for key in sizes if (value := getattr(model, key)) != sizes[key]
        }
        for name, model in config.MODELS.items()
    }
    name = min(differ, key=lambda n: ("hidden" in differ[n], len(differ[n])))
    return name, differ[name]


def describe(sizes: Sizes) -> str:
    """The sizes in words, beginning with the named size that they are, or are like."""
    name, differ = nearest(sizes)
    if differ:
        parts = (f"{key} {sizes[key]} instead of {differ[key]}" for key in differ)
        return f"{name}, but with {', '.join(parts)}"
    return f"{name} (hidden {sizes['hidden']})"


def official_bytes(settings: config.Model, has_optimizer: bool = False) -> int:
    """The size of an official file of such a model by the format (reserve.md 5)."""
    leaves = {
        path: jax.ShapeDtypeStruct(shape, jnp.float32)
        for path, shape in shapes(settings).items()
    }
    tree = official_file.unflatten(leaves)
    return official_writer.size(tree, OFFICIAL_STEP, has_optimizer)
