"""The weights that a run starts from: a checkpoint's, or random ones."""

import functools
import logging
import pathlib
from collections.abc import Callable, Iterable, Sequence

import jax
import numpy as np
from jaxtyping import Bool, Float

from mmdiffmask import config, grid, inputs, masks, run_files, weights
from mmdiffmask.attention import StartAttention
from mmdiffmask.data import tokenizers
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.masking import sampling
from mmdiffmask.models.reserve import checkpoints, towers
from mmdiffmask.models.reserve import model as reserve
from mmdiffmask.run_files import START
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import checkpoint as run_checkpoints
from mmdiffmask.training import objective, saved
from mmdiffmask.training.family import Params
from mmdiffmask.types import Pixels, VideoBatch

PIXEL_CLIPS = 64  # of train, for the mean picture that a small start is centred on


def make(
    experiment: config.Experiment,
    row: Callable[[int], VideoBatch],
    positions: Sequence[int],
    seed: int,
) -> Callable[[], Params]:
    """Makes the first weights: a checkpoint's, or random ones.

    Args:
      experiment: names the checkpoint, or none.
      row: makes a row of train.
      positions: its first PIXEL_CLIPS are what random weights are centred on.
      seed: of random weights.
    """
    data, checkpoint = experiment.data, experiment.model.checkpoint
    if checkpoint is not None:
        tokens = tokenizers.load(data.tokenizer).vocabulary
        return lambda: _load(experiment, checkpoint, tokens)
    logging.info("training starts from random weights: model.checkpoint is not set")

    @functools.cache
    def mean_patch() -> Float[np.ndarray, " p"]:
        clips = (row(i) for i in positions[:PIXEL_CLIPS])
        return mean_of((clip.patches, clip.is_patch_valid) for clip in clips)

    return lambda: random(experiment, seed, mean_patch)


def attention(
    experiment: config.Experiment, corpus: Corpus, split: str, names: Iterable[str]
) -> StartAttention | None:
    """[CLS] attention under the checkpoint of the settings, where masks need it.

    Args:
      experiment: names the checkpoint.
      corpus: the records.
      split: whose clips are masked.
      names: the strategies.

    Returns:
      None if no strategy goes by attention, or the settings name no checkpoint.
    """
    checkpoint = experiment.model.checkpoint
    if checkpoint is None or not masks.by_attention(names):
        return None
    tokens = tokenizers.load(experiment.data.tokenizer).vocabulary
    return StartAttention(
        experiment,
        corpus.source(split),
        corpus.entries(split),
        make_params=lambda: _load(experiment, checkpoint, tokens),
        sha256=weights.fingerprint_of(checkpoint),
    )


def users(experiment: config.Experiment) -> dict[str, list[str]]:
    """Part that some checkpoints lack -> the settings of the run that need it."""
    terms = objective.weights_of(experiment.terms)
    return {
        part: [f"terms.{name}" for name in names if name in terms]
        + ["probe.read_outs=match"] * ("match" in experiment.probe.read_outs)
        for part, names in objective.USERS.items()
    }


def may_lack(experiment: config.Experiment) -> list[str]:
    """Parts of the model that first weights need not have."""
    return [part for part, settings in users(experiment).items() if not settings]


def _load(experiment: config.Experiment, checkpoint: str, tokens: int) -> Params:
    """The checkpoint's weights; a part that it lacks and nothing needs stays absent.

    Raises:
      ValueError: if it does not fit the model, or lacks a part that something needs.
    """
    stored = weights.read(checkpoint).params
    is_body = set(checkpoints.BODY) <= stored.keys()
    absent = [part for part in objective.USERS if is_body and part not in stored]
    for part in absent:
        settings = users(experiment)[part]
        if settings:
            raise ValueError(
                f"{checkpoint}: has no {' and no '.join(absent)}, as finetuned ones;"
                f" {' and '.join(settings)} cannot do without {part}: set them"
                " otherwise, or start from the checkpoint that it was finetuned from"
            )
    if absent:
        parts = " and no ".join(absent)
        logging.warning("%s: has no %s; nor has this run", checkpoint, parts)
    kept = [part for part in checkpoints.PARTS if part not in absent]
    return checkpoints.fit(stored, checkpoint, experiment.model, kept, tokens)


def fingerprint(
    checkpoint: str,
    folder: RunFolder | None = None,
    which: run_checkpoints.Which = "best",
) -> str | None:
    """`weights.fingerprint_of` a checkpoint.

    Args:
      checkpoint: as settings name it.
      folder: of the run that is to start from it. Once its start is saved there the
        checkpoint has no use any more, so it is only read again if it is local and has
        changed since the run was begun.
      which: of the steps of a run that is meant as a checkpoint.
    """
    if folder is not None and START in saved.parts(folder):
        entry = folder.owner().inputs.get(inputs.START)
        is_same = entry is not None and entry["value"] == checkpoint
        begun_s = folder.at(run_files.CONFIG).stat().st_mtime
        if is_same and _changed_s(checkpoint) <= begun_s:
            return entry["sha256"]
    return weights.fingerprint_of(checkpoint, which)


def _changed_s(checkpoint: str) -> float:
    """When a local file or folder was changed last; 0 for what is not there."""
    if "://" in checkpoint or checkpoint in checkpoints.SHIPPED:
        return 0.0
    path = pathlib.Path(checkpoint)
    times = [p.stat().st_mtime for p in (path, *path.rglob("*")) if p.exists()]
    return max(times, default=0.0)


def shapes(experiment: config.Experiment) -> Params:
    """Names, shapes and types of the model's weights."""
    return jax.eval_shape(lambda: random(experiment, 0))


def random(
    experiment: config.Experiment,
    seed: int,
    mean_patch: Callable[[], Float[np.ndarray, " p"]] | None = None,
) -> Params:
    """Random weights of the settings' sizes.

    Args:
      experiment: sizes, initialiser, and whether pixels are centred.
      seed: of the weights.
      mean_patch: asked for only where pixels are centred (`mean_of`); without it only
        the shapes are right.
    """
    data, model = experiment.data, experiment.model
    is_centred = model.centre_pixels and mean_patch is not None
    return reserve.init(
        sampling.seed_key(seed),
        model,
        grid.PatchGrid(data.rows, data.cols),
        data.segments,
        data.sub_segments,
        data.text_length,
        model.initialiser,
        mean_patch() if is_centred else None,
    )


def mean_of(
    pictures: Iterable[tuple[Pixels[np.ndarray, "t n p"], Bool[np.ndarray, "t n"]]],
) -> Float[np.ndarray, " p"]:
    """Mean of the pixels at each place of a valid patch.

    Args:
      pictures: of each clip: patches, and which are valid (`video.pictures`).
    """
    total, count = np.zeros(towers.PATCH_VALUES), 0
    for patches, is_valid in pictures:
        total += grid.unit_values(patches[is_valid]).sum(0, dtype=np.float64)
        count += int(is_valid.sum())
    return (total / max(count, 1)).astype(np.float32)
