"""A folder of reference values: its model, parameters, arrays and tokenizer."""

import dataclasses
import functools
import json
import pathlib
import zipfile
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mmdiffmask import config
from mmdiffmask.data import tokenizers
from mmdiffmask.grid import PatchGrid
from mmdiffmask.models.reserve import checkpoints, joining, positions, towers
from mmdiffmask.models.reserve import model as reserve
from mmdiffmask.tokens import SPAN_LENGTH, TOKENS_PER_SOUND

ROOT = pathlib.Path(__file__).resolve().parents[2]
VOCABULARY = ROOT / "../shared/data/merlot_reserve/lowercase_encoder.json"
NEEDED = ("config.json", "tolerances.json", "tiny")
# What this project does not vary: (section, key) of config.json -> the value.
FIXED = {
    ("model", "audio_patch_size"): towers.AUDIO_PATCH,
    ("model", "audio_seq_length"): towers.AUDIO_FRAMES,
    ("model", "audio_token_length"): TOKENS_PER_SOUND,
    ("model", "vit_patch_size"): 16,
    ("model", "vit_pooling_ratio"): towers.POOL,
    ("model", "text_span_length"): SPAN_LENGTH,
    ("rotary_hsize",): positions.SCALED_DIMENSIONS,
}


def fast_jit(function: Callable, **kwargs):
    """`jax.jit` that compiles in half the time: these programs run once or twice.

    bfloat16 is rounded wherever the program says so, as the reference's values are;
    compilers may otherwise leave out roundings between operations.
    """
    options = {
        "xla_backend_optimization_level": 0,
        "xla_allow_excess_precision": False,
    }
    return jax.jit(function, compiler_options=options, **kwargs)


class Golden:
    """A folder, and calls into the model that its config.json describes.

    Attributes:
      folder: where it lies.
      config: the content of config.json.
      tolerances: the content of tolerances.json.
      rows: patch rows of the grid.
      cols: patch columns.
      params: of the file `tiny`, float32.
      model: in `dtype`, which computes in float32 unless `in_dtype` made it.
    """

    def __init__(self, folder: pathlib.Path, vocabulary: pathlib.Path = VOCABULARY):
        """Reads configuration and parameters.

        Raises:
          ValueError: if the folder is missing or not of this form.
        """
        if not folder.is_dir():
            raise ValueError(f"{folder}: no such folder")
        for name in NEEDED:
            if not (folder / name).is_file():
                raise ValueError(
                    f"{folder}: no folder of reference values, {name} is missing"
                )
        self.folder, self.vocabulary = folder, vocabulary
        self.config = _read_json(folder / "config.json")
        self.tolerances = _read_json(folder / "tolerances.json")
        if "arrays" not in self.tolerances:
            raise ValueError(f"{folder / 'tolerances.json'}: has no key arrays")
        settings, self.grid = _settings(self.config, folder)
        self.model = reserve.Reserve(settings)
        self.params = checkpoints.load(folder / "tiny", settings)
        self._compiled = {}

    def in_dtype(self, dtype: str, params_dtype: str | None = None) -> "Golden":
        """The same folder with a model that computes, and weights, in other dtypes."""
        other = Golden.__new__(Golden)
        other.__dict__.update(self.__dict__, _compiled={})
        settings = dataclasses.replace(self.model.settings, dtype=dtype)
        other.model = reserve.Reserve(settings)
        if params_dtype is not None:
            kind = jnp.dtype(params_dtype)
            other.params = jax.tree.map(lambda x: x.astype(kind), self.params)
        return other

    def names(self) -> list[str]:
        """The .npz files, without the suffix."""
        return sorted(path.stem for path in self.folder.glob("*.npz"))

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """What a .npz file holds.

        Raises:
          ValueError: if it is missing or broken.
        """
        return read_arrays(self.folder / f"{name}.npz")

    @functools.cached_property
    def tokenizer(self) -> tokenizers.Tokenizer:
        """Of the vocabulary file."""
        return tokenizers.load(self.vocabulary)

    def call(self, method: str | Callable, *args, static: tuple = (), **kwargs):
        """One of the model's methods; `static` are arguments after the first."""
        if (method, static) not in self._compiled:

            def run(params: dict, first: Any, *others, **kwargs):
                args = (first, *static, *others)
                return self.model.apply(
                    {"params": params}, *args, method=method, **kwargs
                )

            self._compiled[method, static] = fast_jit(run)
        return self._compiled[method, static](self.params, *args, **kwargs)

    def vision(self, patches: Float[Array, "b n p"]) -> towers.Tower:
        """Frames of the folder's grid, encoded."""
        return self.call("vision", patches, static=(self.grid,))

    def joint(
        self,
        text: joining.TextPart,
        cells: Float[Array, "b n d"] | None = None,
        segment: Int[Array, "b t"] | None = None,
        length: int | None = None,
        videos: Int[Array, "b z"] | None = None,
    ):
        """(joined, seq); cells (b, t * k, d) as the reference has them."""
        vision = None
        if cells is not None:
            count = self.grid.n_cells
            shape = (len(cells), -1, count, cells.shape[-1])
            vision = joining.VisionPart(jnp.reshape(cells, shape), segment)
        sizes = (self.grid, length)
        joined = self.call(_join, text, vision, videos, static=sizes)
        return joined, self.call("encode_joint", joined)


def _join(
    model: reserve.Reserve,
    text: joining.TextPart,
    grid: PatchGrid,
    length: int | None,
    vision: joining.VisionPart | None,
    videos: Int[Array, "b z"] | None,
) -> joining.Joined:
    return model.join(text, vision, grid, length, videos)


def read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    """What a .npz file holds.

    Raises:
      ValueError: if it is missing, cut short or holds Python objects.
    """
    try:
        with np.load(path) as file:
            return dict(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: no file of arrays: {error}") from error


def _read_json(path: pathlib.Path) -> dict:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from error


def _settings(settings: dict, folder: pathlib.Path) -> tuple[config.Model, PatchGrid]:
    """The model and grid of config.json, and whether this project has such a model."""
    for keys, ours in FIXED.items():
        value = settings
        for key in keys:
            value = value.get(key, {})
        if value not in ({}, ours):
            raise ValueError(
                f"{folder / 'config.json'}: {'.'.join(keys)} is {value}, but every"
                f" MERLOT-Reserve model here has {ours}"
            )
    try:
        sizes = settings["model"]
        grid = PatchGrid(*sizes["output_grid"])
        model = config.Model(
            hidden=sizes["hidden_size"],
            head_size=settings.get("size_per_head", 64),
            vision_layers=sizes["vit_num_layers"],
            audio_layers=sizes["audio_num_layers"],
            span_layers=sizes["span_num_layers"],
            joint_layers=sizes["joint_num_layers"],
            vocabulary=settings.get("vocab_size", 32768),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{folder / 'config.json'}: not of the reference's form: {error!r}"
        ) from error
    return model, grid
