"""What fine-tuning of video starts from: weights of a run or a checkpoint, a layer.

Questions keep the parts that the released finetuned checkpoints have: no `head`, no
`span_encoder`, and the layer `proj`. reserve.md sections 3.2 and 5.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from mmdiffmask import config, inputs, start_run, starts, weights
from mmdiffmask.data import tokenizers
from mmdiffmask.masking import sampling
from mmdiffmask.models.reserve import checkpoints, sizes
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training.family import Params
from mmdiffmask.training.terms.classify_video import CLASSIFIER, PROJ
from mmdiffmask.types import VideoBatch

SPREAD = 0.01  # of a new layer; reserve.md section 2.7
_DRAWN = 1  # tells the key of a new layer from those of updates


def shapes(model: config.Model, n_labels: int) -> Params:
    """Names, shapes and types of the weights.

    Args:
      model: sizes.
      n_labels: values of the label; 0 where questions are learnt.
    """
    body = {
        path: shape
        for path, shape in sizes.shapes(model).items()
        if path.split("/")[0] in checkpoints.BODY
    }
    flat = {
        path: jax.ShapeDtypeStruct(shape, np.float32)
        for path, shape in (body | _layer(model, n_labels)).items()
    }
    return traverse_util.unflatten_dict(flat, sep="/")


def _layer(model: config.Model, n_labels: int) -> dict[str, tuple[int, ...]]:
    """Name -> shape of what the layer has."""
    if not n_labels:
        return {f"{PROJ}/kernel": (model.hidden, 1)}
    kernel = (model.hidden, n_labels)
    return {f"{CLASSIFIER}/kernel": kernel, f"{CLASSIFIER}/bias": (n_labels,)}


def make(
    experiment: config.Experiment,
    n_labels: int,
    row: Callable[[int], VideoBatch],
    positions: Sequence[int],
    seed: int,
) -> Callable[[], Params]:
    """Makes the first weights.

    A checkpoint that was finetuned for questions hands its `proj` on; any other layer
    is drawn by the seed.

    Args:
      experiment: names the run or the checkpoint; neither: weights are random.
      n_labels: values of the label; 0 where questions are learnt.
      row: makes a row of train.
      positions: what random weights are centred on, as of `starts.make`.
      seed: of the run.
    """

    def start() -> Params:
        body = _stored(experiment, not n_labels)
        if body is None:
            whole = starts.make(experiment, row, positions, seed)()
            body = {part: whole[part] for part in checkpoints.BODY}
        if PROJ in body:
            return body
        key = jax.random.fold_in(sampling.seed_key(seed), _DRAWN)
        drawn = {
            path: SPREAD * jax.random.normal(key, shape) * (len(shape) > 1)
            for path, shape in _layer(experiment.model, n_labels).items()
        }
        return body | traverse_util.unflatten_dict(drawn, sep="/")

    return start


def _stored(experiment: config.Experiment, is_answering: bool) -> Params | None:
    """The weights that settings name, as far as they are wanted; None: they name none.

    Raises:
      ValueError: as `checkpoints.fit`.
    """
    model = experiment.model
    name, which = model.start or model.checkpoint, model.start_step
    if name is None:
        return None
    params = weights.read(name, which if model.start else "best").params
    parts = checkpoints.BODY
    if is_answering and PROJ in params:
        logging.info("%s was finetuned for questions: its %s goes on", name, PROJ)
        parts = checkpoints.FINETUNED
    params = {part: tree for part, tree in params.items() if part != CLASSIFIER}
    tokens = tokenizers.load(experiment.data.tokenizer).vocabulary
    return checkpoints.fit(params, name, model, parts, tokens)


def fingerprint(
    experiment: config.Experiment, folder: RunFolder | None = None
) -> str | None:
    """What the first weights are known by, but for a layer that is drawn.

    Raises:
      ValueError: as `check`, or if the checkpoint cannot be read.
    """
    model = experiment.model
    if model.start is not None:
        check(experiment)
        return starts.fingerprint(model.start, folder, model.start_step)
    if model.checkpoint is None:
        return None
    return starts.fingerprint(model.checkpoint, folder)


def check(experiment: config.Experiment) -> None:
    """Checks that `model.start` is a finished run of pretraining of such a model.

    Raises:
      ValueError: if it is not.
    """
    model = experiment.model
    if model.start is None:
        return
    folder = RunFolder(model.start)
    settings = start_run.owner_of(folder, "video").settings
    if settings["terms.classify"]:
        raise ValueError(
            f"{folder}: was fine-tuned already; name a run of continued pretraining"
        )
    _check_model(folder, settings, experiment)


def _check_model(
    folder: RunFolder, settings: dict[str, Any], experiment: config.Experiment
) -> None:
    """Its sizes and its tokenizer against those of the settings."""
    for name, value in sizes.of_settings(experiment.model).items():
        before = settings[f"model.{name}"]
        if before != value:
            raise ValueError(
                f"{folder}: was trained with model.{name}={before}, and here it is"
                f" {value}; set model.{name}={before}, or name another run"
            )
    setting, tokenizer = inputs.NEEDED[0], experiment.data.tokenizer
    read = folder.owner().inputs.get(setting)
    if read is not None and inputs.digest(setting, tokenizer) != read["sha256"]:
        raise ValueError(
            f"{folder}: was trained with another tokenizer, {read['value']}, than"
            f" {setting}={tokenizer}; set {setting}={read['value']}"
        )
