"""The network of a run of video with its terms, and what draws its masks."""

import dataclasses
import functools

import numpy as np

from mmdiffmask import config, examples, masks
from mmdiffmask.data import tokenizers, vocabulary
from mmdiffmask.masking import strategy_settings
from mmdiffmask.models.reserve import model as reserve
from mmdiffmask.training import objective, steps
from mmdiffmask.training.family import Family
from mmdiffmask.training.terms import cells, shared


def model(settings: config.Model) -> reserve.Reserve:
    """The network of the settings."""
    return reserve.Reserve(settings)


def family(experiment: config.Experiment) -> Family:
    """The network with the terms of the settings; the same object for the same ones.

    So rows and seeds of a comparison share their compiled steps.
    """
    data, masking = experiment.data, experiment.masking
    words = experiment.reserve.words if examples.has_words(experiment.terms) else None
    return _family(
        experiment.model,
        dataclasses.replace(data, toy=None),
        experiment.training,
        experiment.terms,
        experiment.reserve,
        words,
        (masking.ratio, masking.mask_unit, masking.padding),
    )


@functools.lru_cache(maxsize=steps.KEPT)
def _family(
    model_settings: config.Model,
    data: config.Data,
    training: config.Training,
    terms: config.Terms,
    reserve_settings: config.Reserve,
    words: str | None,
    budget: tuple[float, str, str],
) -> Family:
    grid, (ratio, mask_unit, padding) = examples.patch_grid(data), budget
    n_cells, n_patches = data.segments * grid.n_cells, data.segments * grid.n_patches
    return objective.family(
        shared.Objective(
            model=model(model_settings),
            grid=grid,
            settings=training,
            # Static masks of patches touch more cells for some strategies than for
            # others; the slots are those of the settings' mask unit.
            slots=cells.max_cells(ratio, mask_unit, n_patches, n_cells),
            terms=terms,
            reserve=reserve_settings,
            vocabulary=None if words is None else _vocabulary(words, data.tokenizer),
            has_padding=padding == "counted",
        )
    )


def _vocabulary(words: str, tokenizer: str) -> shared.Vocabulary:
    entries = vocabulary.load(words)
    spans = entries.spans(tokenizers.load(tokenizer).encode_plain)
    number = {name: i for i, name in enumerate(dict.fromkeys(entries.word_class))}
    kinds = np.array([number[name] for name in entries.word_class])
    return shared.Vocabulary(spans, entries.is_content, kinds, tuple(number))


def draws(
    experiment: config.Experiment, network: Family
) -> tuple[steps.DrawMasks | None, steps.DrawLive | None]:
    """What draws the masks before an update, and what does in it: one, or neither.

    Args:
      experiment: the settings.
      network: `family`.
    """
    if network.masked is None:
        return None, None
    draw = draw_patches(experiment)
    is_live = strategy_settings.is_live(experiment.masking)
    return (None, draw) if is_live else (draw, None)


def draw_patches(experiment: config.Experiment) -> steps.DrawMasks:
    """(run's key, batch, epoch) -> hidden patches (b, t, n); the same object likewise.

    See `family`. A fourth argument is attention (`masks.drawer`).
    """
    data = dataclasses.replace(experiment.data, toy=None)
    return masks.patch_drawer(data, experiment.masking)
