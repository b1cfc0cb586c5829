"""Checkpoints as parameters of `reserve.Reserve`: read, compared, written.

Module names are the official checkpoints', so a file's names are the model's
(reserve.md section 5). What differs is reported, never adapted.
"""

import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath

from mmdiffmask import config
from mmdiffmask.models import shapes as model_shapes
from mmdiffmask.models.reserve import official_file, orbax_folder, sizes
from mmdiffmask.models.shapes import Shapes

Params = dict[str, Any]

# Top names of a whole checkpoint; finetuned ones lack head and span_encoder and have
# proj (reserve.md section 5), the read-out of questions.
PARTS = ("audio_encoder", "contrastive_scales", "head", "joint_transformer")
PARTS += ("span_encoder", "token_encoder", "vision_encoder")
BODY = tuple(part for part in PARTS if part not in ("head", "span_encoder"))
FINETUNED = (*BODY, "proj")
SHIPPED = {"small": pathlib.Path(__file__).parents[1] / "small" / "small"}

# Rows of a token table that may be without a token: tables are padded to such numbers.
_PADDED_TO = 64


def resolve(name_or_path: str | os.PathLike) -> str:
    """Where a checkpoint lies: a shipped one by its name, else the path as it is.

    Raises:
      ValueError: for the name of a shipped checkpoint whose file is absent.
    """
    shipped = SHIPPED.get(str(name_or_path))
    if shipped is None:
        return str(name_or_path)
    if not shipped.is_file():
        raise ValueError(
            f"checkpoint {name_or_path}: the shipped file {shipped} is missing; install"
            " the package again, or name a checkpoint by its path"
        )
    return str(shipped)


def read(name_or_path: str | os.PathLike) -> official_file.Stored:
    """What a checkpoint holds, arrays as stored.

    Args:
      name_or_path: an official file, local or in a bucket; a folder of Orbax; or the
        name of a shipped checkpoint.

    Raises:
      ValueError: naming the file, what was expected and what was found.
    """
    path = resolve(name_or_path)
    try:
        if epath.Path(path).is_dir():
            return orbax_folder.read(path)
        return official_file.read(path)
    except ImportError as error:  # a bucket without its package
        raise ValueError(f"{path}: cannot be reached: {error}") from error
    except official_file.CutError as error:
        whole = _whole_size(error.shapes)
        raise ValueError(f"{error}{whole}; fetch the file again") from error


def load(
    name_or_path: str | os.PathLike,
    settings: config.Model,
    parts: Sequence[str] = PARTS,
    tokens: int | None = None,
) -> Params:
    """A checkpoint's parameters for the model of the settings, float32.

    Arguments but the first, and errors: see `fit`.
    """
    stored = read(name_or_path)
    return fit(stored.params, str(name_or_path), settings, parts, tokens)


def fit(
    params: Params,
    name: str,
    settings: config.Model,
    parts: Sequence[str] = PARTS,
    tokens: int | None = None,
) -> Params:
    """The wanted parts of a checkpoint as float32, if they are the model's.

    Args:
      params: as stored.
      name: of the checkpoint, for messages.
      settings: the model's sizes.
      parts: top names that must be there and come back: `PARTS`, `BODY` or
        `FINETUNED`. Parts that a checkpoint may have (`PARTS`, proj) and that are not
        among them are left out; any other name is an error.
      tokens: entries of the tokenizer that goes with the model, if known.

    Raises:
      ValueError: with all missing and extra names and both shapes of wrong ones.
    """
    every = sizes.shapes(settings) | {"proj/kernel": (settings.hidden, 1)}
    wanted = {path: s for path, s in every.items() if path.split("/")[0] in parts}
    dropped = {part for part in (*PARTS, "proj") if part not in parts}
    leaves = official_file.flatten(
        {part: tree for part, tree in params.items() if part not in dropped}
    )
    shapes = {path: tuple(leaf.shape) for path, leaf in leaves.items()}
    _check_vocabulary(shapes, name, settings, tokens)
    problems = model_shapes.differences(shapes, wanted)
    if problems:
        raise ValueError(
            f"{name}: does not fit the model{_hint(params, settings, parts)}:"
            f" {'; '.join(problems)}"
        )
    values = {path: np.array(leaf, np.float32) for path, leaf in leaves.items()}
    for path, value in values.items():
        if not np.isfinite(value).all():
            raise ValueError(f"{name}: {path} holds NaN or infinity; a damaged file?")
    return official_file.unflatten(values)


def _check_vocabulary(
    shapes: Shapes, name: str, settings: config.Model, tokens: int | None
) -> None:
    """Another vocabulary, everything else alike, is a mistake of its own."""
    table = shapes.get(sizes.TABLE, ())
    if len(table) != 2 or table[1] != settings.hidden:
        return
    rows = table[0]
    if rows != settings.vocabulary:
        raise ValueError(
            f"{name}: has a vocabulary of {rows} tokens, the model one of"
            f" {settings.vocabulary}; use --set model.vocabulary={rows} and the"
            " tokenizer that the checkpoint was trained with"
        )
    if tokens is not None and not rows - _PADDED_TO < tokens <= rows:
        raise ValueError(
            f"{name}: has a vocabulary of {rows} tokens, but the tokenizer has"
            f" {tokens}; set data.tokenizer to the one it was trained with"
        )


def _hint(params: Params, settings: config.Model, parts: Sequence[str]) -> str:
    """What the checkpoint is, and with which settings or parts it would fit."""
    known, hint = sizes.of_params(params), ""
    if known:
        hint = f": expected {sizes.describe(sizes.of_settings(settings))}, found what"
        hint += f" looks like {sizes.describe(known)}"
    other = [
        f"model.{key}={value}"
        for key, value in known.items()
        if value != getattr(settings, key)
    ]
    if other:
        hint += f", which needs {' '.join(other)}"
    absent = [part for part in parts if part in PARTS and part not in params]
    if "proj" in params and absent:
        hint += (
            f"; it was finetuned for questions and has lost {' and '.join(absent)}: ask"
            " for the body only, or use the checkpoint that it was finetuned from"
        )
    return hint


def _whole_size(shapes: Shapes) -> str:
    """For a cut file: the size of the official file that it begins like."""
    width = shapes.get("params/audio_encoder/embedding/bias", (0,))[0]
    for name in ("base", "large"):
        if config.MODELS[name].hidden == width:
            size = sizes.official_bytes(config.MODELS[name])
            return f" (an official {name} file without optimizer has {size:,})"
    return ""
