"""Does it look? Hidden words named with the right video and with another one."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int

from mmdiffmask.training import evaluate, grounding, steps, total
from mmdiffmask.training import objective as objectives
from mmdiffmask.types import Array, VideoBatch

RESERVE, WORDS, ALL = "reserve", "words", "all"


class Naming(NamedTuple):
    """How rightly each hidden word is named; `target` -1 = none.

    1, or 1 / n where n words have the highest logit and the right one is among them.
    """

    target: Int[Array, "b i"]
    is_right: Float[Array, "b i"]
    is_right_elsewhere: Float[Array, "b i"]


def make_step(objective: objectives.Objective, mesh: Mesh) -> Callable:
    """(params, batch) -> ({term: loss}, Naming or None), for one held-out batch.

    The other video is the one before in the batch; held-out batches hold each clip
    once, so it always is another.
    """
    has_words = objective.vocabulary is not None

    def step(params, batch):
        terms = total.language(objective, params, batch)
        return terms, _name(objective, params, batch) if has_words else None

    same, cut = steps.replicated(mesh), steps.by_example(mesh)
    return jax.jit(step, in_shardings=(same, cut), out_shardings=same)


def _name(objective: objectives.Objective, params, batch: VideoBatch) -> Naming:
    cells, is_valid = total.cloze_cells(objective, params, batch)
    words = grounding.span_vectors(objective.model, params, objective.vocabulary)
    # Rows that only fill up the last batch have no picture to lend.
    last = jnp.maximum(jnp.sum(batch.is_real) - 1, 0)
    index = jnp.arange(len(cells))
    other = jnp.where(index == 0, last, index - 1)
    found = []
    for shown, valid in ((cells, is_valid), (cells[other], is_valid[other])):
        named = total.name_words(objective, params, batch, shown, valid, words)
        best = named.logits == jnp.max(named.logits, axis=-1, keepdims=True)
        target = jnp.maximum(named.target, 0)[..., None]
        is_best = jnp.take_along_axis(best, target, -1)[..., 0]
        found.append(jnp.where(is_best, 1.0 / jnp.sum(best, axis=-1), 0.0))
    return Naming(jnp.where(named.is_row, named.target, -1), *found)


def rows(
    step_of: Callable,
    params: objectives.Params,
    batches: Iterable[VideoBatch],
    word_class: tuple[str, ...],
    step: int,
    seed: int,
) -> list[evaluate.Row]:
    """Held-out losses of the language terms, and the accuracy of naming by class.

    Args:
      step_of: `make_step`.
      params: the checkpoint.
      batches: the held-out clips.
      word_class: class of each vocabulary entry; () where there is no vocabulary.
      step: of the checkpoint.
      seed: of the resamples.
    """
    losses: dict[str, list[float]] = {}
    named, clips = [], []
    for batch in batches:
        terms, naming = step_of(params, batch)
        for name, value in terms.items():
            losses.setdefault(name, []).append(float(value))
        if naming is not None:
            is_real = np.asarray(batch.is_real)
            clips.append(np.asarray(batch.clip_hash)[is_real])
            named.append([np.asarray(field)[is_real] for field in naming])
    made = [
        evaluate.Row(
            step, RESERVE, ALL, f"loss_{name}", float(np.mean(x)), None, None, len(x)
        )
        for name, x in losses.items()
    ]
    if named:
        naming = Naming(*map(np.concatenate, zip(*named, strict=True)))
        made += _by_class(naming, np.concatenate(clips), word_class, step, seed)
    return made


def _by_class(
    naming: Naming,
    clip_hash: np.ndarray,
    word_class: tuple[str, ...],
    step: int,
    seed: int,
) -> list[evaluate.Row]:
    weights = evaluate.resamples(clip_hash, seed)
    classes = np.array(word_class)
    made = []
    for name in (*dict.fromkeys(word_class), ALL):
        is_of = naming.target >= 0
        if name != ALL:
            is_of &= classes[np.maximum(naming.target, 0)] == name
        if not is_of.any():
            continue
        count: Float[np.ndarray, " e"] = is_of.sum(1).astype(float)
        for metric, is_right in (
            ("right_video", naming.is_right),
            ("wrong_video", naming.is_right_elsewhere),
        ):
            hits = (is_right * is_of).sum(1).astype(float)
            pair = [(hits, count)]
            made.append(evaluate.row_of(step, WORDS, name, metric, pair, weights))
    return made


def total_loss(found: list[evaluate.Row], weights: dict[str, float]) -> float:
    """The weighted sum of the held-out language terms."""
    terms = (
        weight * evaluate.value_of(found, RESERVE, f"loss_{name}")
        for name, weight in weights.items()
    )
    return sum(terms, 0.0)
