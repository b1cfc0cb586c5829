"""What an update minimises: the masked-patch term and the language terms, weighted."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from mmdiffmask import config
from mmdiffmask.models import towers
from mmdiffmask.training import grounding, pairs, reserve_terms
from mmdiffmask.training import objective as objectives
from mmdiffmask.types import Array, VideoBatch

PATCHES = "patches"


class Total(NamedTuple):
    """The weighted sum, each term by itself, and the masked-patch pass (or None)."""

    loss: Float[Array, ""]
    terms: dict[str, Float[Array, ""]]
    patches: objectives.Outcome | None


def language_weights(
    training: config.Training, reserve: config.Reserve
) -> dict[str, float]:
    """The language terms that a run has, with their weights."""
    if training.objective == "patches":
        return {}
    names = (*reserve_terms.TERMS, *grounding.TERMS)
    weights = {name: getattr(reserve, name) for name in names}
    return {name: weight for name, weight in weights.items() if weight > 0}


def patch_weight(training: config.Training, reserve: config.Reserve) -> float:
    """The weight of the masked-patch term where something is hidden."""
    return {"patches": 1.0, "reserve": 0.0}.get(training.objective, reserve.patches)


def forward(
    objective: objectives.Objective,
    params: objectives.Params,
    frozen: objectives.Frozen,
    batch: VideoBatch,
    is_masked: Bool[Array, "b t n"] | None,
) -> Total:
    """All terms of the run on a batch; `is_masked` None: nothing is hidden.

    The clean pass through the vision tower serves every term that needs it.
    """
    training, reserve = objective.settings, objective.reserve
    weights = language_weights(training, reserve)
    weight = patch_weight(training, reserve) if is_masked is not None else 0.0
    is_reserve = any(name in reserve_terms.TERMS for name in weights)
    clean = None
    if weight or (is_reserve and not reserve.clips):
        clean = objectives.vision(objective, params, batch.patches)
    terms = language(objective, params, batch, clean)
    found = None
    if weight:
        cells = clean.seq_attnpool
        found = objectives.forward(objective, params, frozen, batch, is_masked, cells)
        terms[PATCHES] = found.loss
        weights = weights | {PATCHES: weight}
    loss = sum(weights[name] * value for name, value in terms.items())
    return Total(jnp.asarray(loss, jnp.float32), terms, found)


def language(
    objective: objectives.Objective,
    params: objectives.Params,
    batch: VideoBatch,
    clean: towers.Tower | None = None,
) -> dict[str, Float[Array, ""]]:
    """Each language term of the run, not weighted.

    Args:
      objective: says which terms there are.
      params: the weights.
      batch: with `reserve` and `cloze`, as the terms need them.
      clean: the vision tower's output of all frames, if it is known.
    """
    weights = language_weights(objective.settings, objective.reserve)
    found: dict[str, Float[Array, ""]] = {}
    if any(name in weights for name in reserve_terms.TERMS):
        terms = reserve_pairs(objective, params, batch, clean)
        found |= {k: pairs.loss(v) for k, v in terms.items() if k in weights}
    if any(name in weights for name in grounding.TERMS):
        cells, is_valid = cloze_cells(objective, params, batch, clean)
        words = grounding.span_vectors(objective.model, params, objective.vocabulary)
        if "closed_span" in weights:
            named = name_words(objective, params, batch, cells, is_valid, words)
            found["closed_span"] = grounding.closed_span(named)
        if "pooled_cells" in weights:
            found["pooled_cells"] = grounding.pooled_cells(
                objective.model,
                params,
                cells,
                is_valid,
                jnp.asarray(batch.cloze.is_narrated) & batch.is_real[:, None],
                words,
                objective.vocabulary,
            )
    return found


def reserve_pairs(
    objective: objectives.Objective,
    params: objectives.Params,
    batch: VideoBatch,
    clean: towers.Tower | None = None,
) -> dict[str, pairs.Pairs]:
    """Reserve's three terms on the batch, or on its first `reserve.clips` clips."""
    count = objective.reserve.clips
    if count:
        cut = (batch, clean)
        batch, clean = jax.tree.map(lambda x: x[:count], cut)
    frames = clean
    if frames is None:
        frames = objectives.vision(objective, params, batch.patches)
    rows, segments, clips = batch.spectrogram.shape[:3]
    sound = objective.model.apply(
        {"params": params},
        batch.spectrogram.reshape(rows, segments * clips, *batch.spectrogram.shape[3:]),
        method="audio",
    )
    is_real = jnp.asarray(batch.is_real)[:, None]
    is_heard = jnp.repeat(jnp.asarray(batch.is_audio_valid) & is_real, clips, axis=1)
    return reserve_terms.forward(
        objective.model,
        params,
        batch.reserve,
        frames,
        sound,
        jnp.asarray(batch.is_frame_valid) & is_real,
        is_heard,
        objective.grid.rows,
        objective.grid.cols,
    )


def cloze_cells(
    objective: objectives.Objective,
    params: objectives.Params,
    batch: VideoBatch,
    clean: towers.Tower | None = None,
) -> tuple[Float[Array, "b f k d"], Bool[Array, "b f"]]:
    """Pooled cells of the frames that go with the cloze texts, and which are real."""
    frame = jnp.asarray(batch.cloze.frame)
    is_valid = jnp.asarray(batch.is_frame_valid) & jnp.asarray(batch.is_real)[:, None]
    is_valid = jnp.take_along_axis(is_valid, frame, axis=1)
    at = frame[:, :, None, None]
    if clean is not None:
        return jnp.take_along_axis(clean.seq_attnpool, at, axis=1), is_valid
    patches = jnp.take_along_axis(jnp.asarray(batch.patches), at, axis=1)
    return objectives.vision(objective, params, patches).seq_attnpool, is_valid


def name_words(
    objective: objectives.Objective,
    params: objectives.Params,
    batch: VideoBatch,
    cells: Float[Array, "b f k d"],
    is_valid: Bool[Array, "b f"],
    words: Float[Array, "v d"],
) -> grounding.Named:
    """Scores of the vocabulary at the hidden words of the cloze texts."""
    size = (objective.grid.rows, objective.grid.cols)
    named = grounding.name_words(
        objective.model, params, batch.cloze, cells, is_valid, words, *size
    )
    is_real = jnp.asarray(batch.is_real)[:, None]
    return named._replace(is_row=named.is_row & is_real)
