"""What fine-tuning starts from: a run's weights or a checkpoint's, and new heads."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import numpy as np
from flax import traverse_util

from mmdiffmask import config, inputs, run_files, start_run, text_start, weights
from mmdiffmask.data import cache
from mmdiffmask.masking import sampling
from mmdiffmask.models.bert import model as bert
from mmdiffmask.models.bert import names
from mmdiffmask.models.bert.settings import BertSettings
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import checkpoint
from mmdiffmask.training.family import Params

POOLER, CLASSIFIER = "pooler", "classifier"
_DRAWN = 1  # tells the key of new heads from those of updates


def settings(model: config.Encoder, n_labels: int) -> BertSettings:
    """The encoder of the settings, with a classifier of so many labels."""
    sizes = text_start.settings(model)
    rate = model.classifier_dropout
    if rate is None:
        rate = sizes.classifier_dropout
    return dataclasses.replace(sizes, labels=n_labels, classifier_dropout=rate)


def parts(sizes: BertSettings, is_hiding: bool) -> tuple[str, ...]:
    """The parts that are trained; RoBERTa's classifier needs no pooler."""
    pooled = (POOLER,) if sizes.family == "bert" else ()
    masked = (text_start.HEAD,) if is_hiding else ()
    return (*names.BODY, *masked, *pooled, CLASSIFIER)


def shapes(sizes: BertSettings, trained: tuple[str, ...]) -> Params:
    """Names, shapes and types of the weights of these parts."""
    flat = {
        path: jax.ShapeDtypeStruct(shape, np.float32)
        for path, shape in names.shapes(sizes, trained).items()
    }
    return traverse_util.unflatten_dict(flat, sep="/")


def make(
    model: config.Encoder,
    sizes: BertSettings,
    trained: tuple[str, ...],
    *,
    labels: tuple[str, ...],
    seed: int,
    warmed: Callable[[], Params],
) -> Callable[[], Params]:
    """Makes the first weights.

    A run that has learnt these very labels hands its classifier on.

    Args:
      model: names the checkpoint, and the run.
      sizes: of the encoder.
      trained: parts that are wanted.
      labels: their names.
      seed: of the run, by which heads that nothing has are drawn.
      warmed: makes the weights of continued pretraining: their MLM head serves where
        the run has none.
    """

    def start() -> Params:
        known = dict(text_start.checkpoint(model).params)
        known.pop(CLASSIFIER, None)  # of other labels
        if model.start is not None:
            known |= _of_run(model.start, model.start_step)
            if not _has_learnt(model.start, labels):
                known.pop(CLASSIFIER, None)
        params = {part: known[part] for part in trained if part in known}
        if text_start.HEAD in trained and text_start.HEAD not in params:
            params[text_start.HEAD] = warmed()[text_start.HEAD]
        lacking = tuple(part for part in trained if part not in params)
        key = jax.random.fold_in(sampling.seed_key(seed), _DRAWN)
        drawn = bert.init(key, sizes, names.shapes(sizes, lacking))
        return params | traverse_util.unflatten_dict(drawn, sep="/")

    return start


def fingerprint(model: config.Encoder) -> str:
    """What the first weights are known by, but for heads that are drawn.

    Raises:
      ValueError: if `model.start` is no finished run of this encoder.
    """
    of_encoder, of_run = text_start.fingerprint(model), fingerprint_of_run(model)
    return of_encoder if of_run is None else cache.sha256(of_encoder, of_run)


def fingerprint_of_run(model: config.Encoder) -> str | None:
    """The sha256 of the weights that `model.start` and `.start_step` name; None: none.

    Raises:
      ValueError: as `fingerprint`.
    """
    if model.start is None:
        return None
    check(model)
    return weights.fingerprint(_of_run(model.start, model.start_step))


def check(model: config.Encoder) -> None:
    """Checks that `model.start` is a finished run of this very encoder.

    Raises:
      ValueError: if it is not.
    """
    if model.start is None:
        return
    folder = RunFolder(model.start)
    owner = start_run.owner_of(folder, "text")
    if owner.settings["model.start"] is not None:
        raise ValueError(
            f"{folder}: was fine-tuned already, from {owner.settings['model.start']};"
            " name a run of continued pretraining"
        )
    before = owner.inputs[inputs.START]
    if before["sha256"] != text_start.fingerprint(model):
        raise ValueError(
            f"{folder}: was trained from another encoder, {before['value']}"
            f" ({inputs.short(before['sha256'])}), than model.checkpoint="
            f"{model.checkpoint}; set model.checkpoint to that one"
        )


def _has_learnt(path: str, labels: tuple[str, ...]) -> bool:
    """Whether a run's classifier is of these labels, in this order."""
    folder = RunFolder(path)
    is_tuned = folder.has(run_files.ANSWERS)
    return is_tuned and folder.read(run_files.ANSWERS)["labels"] == list(labels)


@functools.lru_cache(maxsize=1)
def _of_run(path: str, which: checkpoint.Which) -> Params:
    """The weights of a finished run, on the host."""
    params = checkpoint.load_params(RunFolder(path), which)
    return jax.tree.map(np.asarray, params)
