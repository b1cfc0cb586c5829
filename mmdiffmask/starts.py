"""The weights that a run starts from: a checkpoint's, or random ones."""

import functools
import logging
from collections.abc import Callable, Iterable, Sequence

import jax
import numpy as np
from jaxtyping import Bool, Float

from mmdiffmask import config, grid, weights
from mmdiffmask.data import tokenizers
from mmdiffmask.masking import sampling
from mmdiffmask.models.reserve import model as reserve
from mmdiffmask.models.reserve import towers
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
        return lambda: weights.load(checkpoint, experiment.model, tokens=tokens)
    logging.info("training starts from random weights: model.checkpoint is not set")

    @functools.cache
    def mean_patch() -> Float[np.ndarray, " p"]:
        clips = (row(i) for i in positions[:PIXEL_CLIPS])
        return mean_of((clip.patches, clip.is_patch_valid) for clip in clips)

    return lambda: random(experiment, seed, mean_patch)


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
