"""Checkpoints of BERT and RoBERTa as parameters: read, compared, written.

Names, shapes and values are Hugging Face's, with or without the prefix that a model
with a head has ("bert."). What is written has the names that were read.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax import traverse_util
from jaxtyping import PRNGKeyArray

from mmdiffmask import atomic
from mmdiffmask.models import safetensors, weight_folder
from mmdiffmask.models import shapes as model_shapes
from mmdiffmask.models.bert import model, names
from mmdiffmask.models.bert import settings as bert_settings
from mmdiffmask.models.bert.settings import BertSettings

Params = dict[str, Any]
Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Checkpoint:
    """A model with its weights.

    Attributes:
      settings: what it is like.
      params: a tree, float32, of the parts that the file has.
      config: the content of its config.json.
      style: how its file names what others name otherwise.
    """

    settings: BertSettings
    params: Params
    config: bert_settings.Config
    style: names.Style


def load(
    name_or_path: str | os.PathLike,
    needed: Sequence[str] = (),
    stem: str | None = None,
) -> Checkpoint:
    """A model of a folder or of the hub's cache.

    Args:
      name_or_path: as `weight_folder.resolve` takes it.
      needed: parts of `names.HEADS` that it must have; others are read if it has them.
      stem: of the weights' files, where they have other names than usual.

    Raises:
      ValueError: if there is no such model, it is of an unknown kind, or its arrays are
        not those that its config.json describes; names them.
    """
    folder = weight_folder.resolve(name_or_path)
    config = weight_folder.read_config(folder)
    settings = bert_settings.from_config(config, str(folder / weight_folder.CONFIG))
    path, arrays = weight_folder.read(folder, *([(stem,)] if stem else []))
    return fit(arrays, str(path), settings, config, needed)


def fit(
    arrays: Arrays,
    name: str,
    settings: BertSettings,
    config: bert_settings.Config,
    needed: Sequence[str] = (),
) -> Checkpoint:
    """Arrays by Hugging Face's names as a model; arguments and errors as of `load`."""
    arrays = {names.today(key): value for key, value in arrays.items()}
    prefix = names.prefix(settings)
    if not any(key.startswith(prefix) for key in arrays):
        prefix = ""
    for counter in names.COUNTERS:
        arrays.pop(prefix + counter, None)
    settings = _untie(arrays, name, settings, config, prefix)
    style = names.Style(prefix, _has_unread_bias(arrays, settings))
    labels = arrays.get(names.classifier(settings))
    if labels is not None and not {"num_labels", "id2label"} & config.keys():
        settings = dataclasses.replace(settings, labels=len(labels))
    wanted = names.entries(settings, style)
    parts = {*names.BODY, *needed}
    parts |= {p.split("/")[0] for p, entry in wanted.items() if entry.name in arrays}
    wanted = {p: entry for p, entry in wanted.items() if p.split("/")[0] in parts}
    problems = model_shapes.differences(
        {key: tuple(value.shape) for key, value in arrays.items()},
        {entry.name: entry.shape for entry in wanted.values()},
    )
    absent = [part for part in needed if not _has(wanted, part)]
    problems += [f"a {settings.family} here has no {part}" for part in absent]
    if problems:
        raise ValueError(f"{name}: not as config.json says: {'; '.join(problems)}")
    params = {p: _ours(arrays[entry.name], entry) for p, entry in wanted.items()}
    for path, value in params.items():
        if not np.isfinite(value).all():
            raise ValueError(
                f"{name}: {wanted[path].name} holds NaN or infinity; a damaged file?"
            )
    tree = traverse_util.unflatten_dict(params, sep="/")
    return Checkpoint(settings, tree, config, style)


def _has(wanted: names.Entries, part: str) -> bool:
    return any(path.split("/")[0] == part for path in wanted)


def _ours(value: np.ndarray, entry: names.Entry) -> np.ndarray:
    value = value.T if entry.is_transposed else value
    return np.array(value, np.float32, order="C")


def _untie(
    arrays: Arrays,
    name: str,
    settings: BertSettings,
    config: bert_settings.Config,
    prefix: str,
) -> BertSettings:
    """Takes out a decoder that repeats the table; whether the decoder is tied.

    Files may hold a tied decoder once more. Where config.json is silent, another one
    than the table is a decoder of its own.

    Raises:
      ValueError: if it says that they are tied, and they differ.
    """
    kernel = names.mlm(settings).kernel
    stored, table = (
        arrays.get(kernel),
        arrays.get(f"{prefix}embeddings.word_embeddings.weight"),
    )
    if stored is None or not settings.is_tied:
        return settings
    if np.array_equal(stored, table):
        del arrays[kernel]
        return settings
    if "tie_word_embeddings" in config:
        raise ValueError(
            f"{name}: {kernel} is not the table of word pieces, though config.json says"
            " tie_word_embeddings; set that to false if both are meant"
        )
    return dataclasses.replace(settings, is_tied=False)


def _has_unread_bias(arrays: Arrays, settings: BertSettings) -> bool:
    """Takes out a bias that repeats the other; whether two are left, one unread.

    Biases of a tied decoder are one and the same.
    """
    name = names.mlm(settings)
    if name.decoder_bias not in arrays:
        return False
    if name.bias not in arrays:
        arrays[name.bias] = arrays.pop(name.decoder_bias)
        return False
    if np.array_equal(arrays[name.bias], arrays[name.decoder_bias]):
        del arrays[name.decoder_bias]
        return False
    return not settings.is_tied


def arrays_of(checkpoint: Checkpoint) -> Arrays:
    """The arrays by the names, and in the shapes, that they have in a file."""
    params = traverse_util.flatten_dict(jax.device_get(checkpoint.params), sep="/")
    wanted = names.entries(checkpoint.settings, checkpoint.style)
    return {
        entry.name: np.asarray(
            params[path].T if entry.is_transposed else params[path], np.float32
        )
        for path, entry in wanted.items()
        if path in params
    }


def save(folder: str | os.PathLike, checkpoint: Checkpoint) -> None:
    """Writes config.json and model.safetensors, under the names that were read."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    safetensors.write(folder / "model.safetensors", arrays_of(checkpoint))
    text = json.dumps(checkpoint.config, indent=1, sort_keys=True) + "\n"
    atomic.write(folder / weight_folder.CONFIG, text)


def start(
    key: PRNGKeyArray,
    settings: BertSettings,
    parts: Sequence[str] = ("pooler", "mlm"),
) -> Checkpoint:
    """A model of the given sizes from nothing: the body and some heads."""
    shapes = names.shapes(settings, (*names.BODY, *parts))
    params = model.init(key, settings, shapes)
    return Checkpoint(
        settings=settings,
        params=traverse_util.unflatten_dict(params, sep="/"),
        config=bert_settings.to_config(settings),
        style=names.Style(names.prefix(settings)),
    )


def with_mlm(checkpoint: Checkpoint) -> Checkpoint:
    """The model with a tied MLM head that changes nothing yet, if it has none.

    Its dense layer is the identity, its norm plain, its bias 0: a sentence encoder
    such as MiniLM has no such head, and this one is to be warmed up with the encoder
    frozen.
    """
    if "mlm" in checkpoint.params:
        return checkpoint
    settings = dataclasses.replace(checkpoint.settings, is_tied=True)
    hidden = settings.hidden
    head = {
        "dense": {
            "kernel": np.eye(hidden, dtype=np.float32),
            "bias": np.zeros(hidden, np.float32),
        },
        "norm": {
            "scale": np.ones(hidden, np.float32),
            "bias": np.zeros(hidden, np.float32),
        },
        "bias": np.zeros(settings.vocabulary, np.float32),
    }
    params = {**checkpoint.params, "mlm": head}
    style = names.Style(names.prefix(settings))
    return Checkpoint(settings, params, checkpoint.config, style)
