"""The encoder of texts that a name stands for: MiniLM, a folder, or a run of texts."""

import dataclasses
import functools
import pathlib

import jax
import numpy as np

from mmdiffmask import inputs, label_vectors, run_files, start_run, weights
from mmdiffmask.data import cache, tokenizer_files
from mmdiffmask.models import weight_folder
from mmdiffmask.models.bert import checkpoints
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import checkpoint

MINILM = "minilm"


def folder(name: str) -> pathlib.Path:
    """Where config.json and tokenizer lie; of a run, those of what it started from.

    Args:
      name: `MINILM`, a folder, a name in Hugging Face's cache, or the folder of a
        finished run of continued pretraining on texts.

    Raises:
      ValueError: if it is not there; says how to get MiniLM.
    """
    if name == MINILM:
        label_vectors.load()  # says what is missing, and checks the weights
        return label_vectors.folder()
    if weights.is_run(name):
        return folder(_before(RunFolder(name)))
    return weight_folder.resolve(name)


def read(name: str) -> checkpoints.Checkpoint:
    """The encoder, read once; of a run the weights of its lowest dev loss.

    Raises:
      ValueError: as `folder`, or as `checkpoints.load` and `checkpoint.load_params`.
    """
    if weights.is_run(name):
        return _of_run(str(pathlib.Path(name).resolve()))
    return _of_folder(str(folder(name)))


@functools.lru_cache(maxsize=2)
def _of_folder(path: str) -> checkpoints.Checkpoint:
    return checkpoints.load(path)


@functools.lru_cache(maxsize=2)
def _of_run(path: str) -> checkpoints.Checkpoint:
    """Parts that the run did not train are those of its own start."""
    run = RunFolder(path)
    start = checkpoints.with_mlm(read(_before(run)))
    trained = jax.tree.map(np.asarray, checkpoint.load_params(run, "best"))
    return dataclasses.replace(start, params={**start.params, **trained})


def fingerprint(name: str) -> str:
    """sha256 of the weights and of the tokenizer that lies with them.

    Raises:
      ValueError: as `read`.
    """
    content = _weights_of(str(pathlib.Path(name).resolve()), name)
    try:
        pieces = tokenizer(str(folder(name))).fingerprint
    except ValueError:  # it has none, and the settings name another
        return content
    return cache.sha256(content, pieces)


@functools.lru_cache(maxsize=4)
def tokenizer(name: str) -> tokenizer_files.Pieces:
    """`tokenizer_files.load`, once."""
    return tokenizer_files.load(name)


@functools.lru_cache(maxsize=4)
def _weights_of(path: str, name: str) -> str:
    """Of the same name in another working folder they may be others."""
    del path
    return weights.fingerprint(read(name).params)


def _before(run: RunFolder) -> str:
    """What a run started from, which has its config.json and tokenizer.

    Raises:
      ValueError: if the run can be no start, or that is not as it was.
    """
    owner = start_run.owner_of(run, "text")
    if owner.settings["terms.classify"] > 0:
        raise ValueError(
            f"{run}: was fine-tuned on labels; name a run of continued pretraining, or"
            " go on from it with mmdiffmask finetune --start"
        )
    entry = owner.inputs[inputs.START]
    known = run.read(run_files.PLACES) if run.has(run_files.PLACES) else {}
    for name in (entry["value"], known.get(inputs.START, entry["value"])):
        try:
            if fingerprint(name) == entry["sha256"]:
                return name
        except ValueError:  # not there
            continue
    raise ValueError(
        f"{run}: was trained from {entry['value']} ({inputs.short(entry['sha256'])}),"
        " whose config.json and tokenizer are needed, and that is not there as it was;"
        " put it back"
    )
