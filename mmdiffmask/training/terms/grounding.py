"""Two losses that tie words to pictures, from cloze texts and pooled cells.

For small models that start from nothing.

Reserve's three terms alone stay on a plateau there: the right video helps no more than
a wrong one (reserve.md 9.1). What ended it within minutes: naming a hidden word among
ALL span vectors of a closed vocabulary (so that every other word is a negative, and
none is so twice), and asking for each narrated word that SOME cell of the picture shows
it. Off by default.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mmdiffmask.models.reserve import joining, layers
from mmdiffmask.tokens import MASK
from mmdiffmask.training import contrast
from mmdiffmask.training.family import Params, Scores
from mmdiffmask.training.terms.shared import (
    UNKNOWN,
    Losses,
    Objective,
    Passes,
    valid_frames,
)
from mmdiffmask.types import VideoBatch

TERMS = ("closed_span", "pooled_cells")
SCALE_OF_CELLS, SCALE_OF_SPANS = 0, 2  # contrastive_scales: pictures, spans
ALL = "all"  # classes of words together


class Named(NamedTuple):
    """Hidden words: the score of every entry, the right one, and which are real."""

    logits: Float[Array, "b i v"]
    target: Int[Array, "b i"]
    is_row: Bool[Array, "b i"]


class Shown(NamedTuple):
    """Pooled cells of the f frames that go with the cloze texts; which are real."""

    cells: Float[Array, "b f k d"]
    is_valid: Bool[Array, "b f"]


def losses(
    objective: Objective,
    params: Params,
    batch: VideoBatch,
    passes: Passes = UNKNOWN,
) -> Losses:
    """Those of the two terms that have weight."""
    shown = show(objective, params, batch, passes)
    words = span_vectors(objective, params)
    terms = {}
    if objective.terms.closed_span:
        named = name_words(objective, params, batch, shown, words)
        terms["closed_span"] = closed_span(named)
    if objective.terms.pooled_cells:
        terms["pooled_cells"] = pooled_cells(objective, params, batch, shown, words)
    return terms


def show(
    objective: Objective,
    params: Params,
    batch: VideoBatch,
    passes: Passes = UNKNOWN,
) -> Shown:
    """The frames that go with the cloze texts."""
    frame = jnp.asarray(batch.cloze.frame)
    is_valid = jnp.take_along_axis(valid_frames(batch), frame, axis=1)
    at = frame[:, :, None, None]
    if passes.frames is not None:
        cells = passes.frames.seq_attnpool
        return Shown(jnp.take_along_axis(cells, at, axis=1), is_valid)
    patches = jnp.take_along_axis(jnp.asarray(batch.patches), at, axis=1)
    return Shown(objective.vision(params, patches).seq_attnpool, is_valid)


def span_vectors(objective: Objective, params: Params) -> Float[Array, "v d"]:
    """The span encoder's vector of every entry, of unit length."""
    spans = jnp.asarray(objective.vocabulary.spans)
    return layers.unit_normalize(objective.call(params, "span", spans))


def name_words(
    objective: Objective,
    params: Params,
    batch: VideoBatch,
    shown: Shown,
    words: Float[Array, "v d"],
) -> Named:
    """Scores every entry of the vocabulary at each MASK of the cloze texts.

    Args:
      objective: model and grid.
      params: the weights.
      batch: the texts.
      shown: the frames that the texts are shown with.
      words: `span_vectors`.
    """
    cloze = batch.cloze
    tokens = jnp.asarray(cloze.tokens)
    text = joining.TextPart(tokens, jnp.asarray(cloze.segment))
    vision = joining.VisionPart(shown.cells, cloze.frame + 1, shown.is_valid)
    seq = objective.call(params, "joint", text, vision, objective.grid).text
    target = jnp.asarray(cloze.target)
    number = jnp.cumsum(tokens == MASK, axis=1) - 1
    index = jnp.where(tokens == MASK, number, -1)[:, None, :]
    is_at = index == jnp.arange(target.shape[1])[None, :, None]  # (b, i, l)
    at = jnp.einsum("bil,bld->bid", is_at.astype(seq.dtype), seq)
    x = layers.unit_normalize(objective.call(params, "project", at))
    scales = objective.call(params, "scales")
    scale = contrast.inverse_temperature(scales[SCALE_OF_SPANS])
    is_row = (target >= 0) & jnp.any(is_at, 2) & jnp.asarray(batch.is_real)[:, None]
    return Named(scale * (x @ words.T), target, is_row)


def closed_span(named: Named) -> Float[Array, ""]:
    """Cross-entropy over the whole vocabulary, mean over the hidden words."""
    log_p = jax.nn.log_softmax(named.logits, axis=-1)
    target = jnp.maximum(named.target, 0)[..., None]
    right = jnp.take_along_axis(log_p, target, axis=-1)[..., 0]
    total = jnp.sum(jnp.where(named.is_row, -right, 0.0))
    return total / jnp.maximum(jnp.sum(named.is_row), 1)


def pooled_cells(
    objective: Objective,
    params: Params,
    batch: VideoBatch,
    shown: Shown,
    words: Float[Array, "v d"],
) -> Float[Array, ""]:
    """Cross-entropy of each narrated word among words of its class not narrated.

    A word's score is the log-sum-exp of its cosines with `head` of all cells shown. The
    clip's other narrated words are true as well, so they are no negatives. Nor are
    words of other classes: a narration that tells no colour does not say that there is
    none (over all content words colours stayed at chance for 1,600 steps).
    """
    head = objective.call(params, "project", shown.cells)
    scales = objective.call(params, "scales")
    scale = contrast.inverse_temperature(scales[SCALE_OF_CELLS])
    x = layers.unit_normalize(head) * scale
    logits = jnp.einsum("bfkd,vd->bfkv", x, words)
    is_valid = shown.is_valid[:, :, None, None]
    logits = jnp.where(is_valid, logits, contrast.NEVER)
    is_narrated = jnp.asarray(batch.cloze.is_narrated) & batch.is_real[:, None]
    vocabulary = objective.vocabulary
    score = jax.nn.logsumexp(logits, axis=(1, 2))  # (b, v)
    kind, is_content = map(jnp.asarray, (vocabulary.word_class, vocabulary.is_content))
    is_same = (kind[:, None] == kind[None, :]) & is_content[None, :]  # (v, v)
    is_other = is_same[None] & ~is_narrated[:, None, :]  # (b, v, v)
    others = jax.nn.logsumexp(
        jnp.where(is_other, score[:, None, :], contrast.NEVER), axis=2
    )
    row_loss = jnp.logaddexp(score, others) - score
    is_row = is_narrated & is_content[None] & jnp.any(shown.is_valid, 1)[:, None]
    total = jnp.sum(jnp.where(is_row, row_loss, 0.0))
    return total / jnp.maximum(jnp.sum(is_row), 1)


def scores(objective: Objective, params: Params, batch: VideoBatch) -> Scores:
    """Class of words -> hidden words named with their own video, and with another.

    The other video is the one before in the batch; held-out batches hold each clip
    once, so it always is another.
    """
    shown, words = show(objective, params, batch), span_vectors(objective, params)
    # Examples that only fill up the last batch have no picture to lend.
    last = jnp.maximum(jnp.sum(batch.is_real) - 1, 0)
    index = jnp.arange(len(shown.cells))
    other = jnp.where(index == 0, last, index - 1)
    lent = Shown(shown.cells[other], shown.is_valid[other])
    named = name_words(objective, params, batch, shown, words)
    right = _rightness(named)
    elsewhere = _rightness(name_words(objective, params, batch, lent, words))
    kind = jnp.asarray(objective.vocabulary.word_class)[jnp.maximum(named.target, 0)]
    is_of = {ALL: named.is_row}
    for number, name in enumerate(objective.vocabulary.classes):
        is_of[name] = named.is_row & (kind == number)
    return {
        name: {
            "right_video": _share(right, is_row),
            "wrong_video": _share(elsewhere, is_row),
        }
        for name, is_row in is_of.items()
    }


def _rightness(named: Named) -> Float[Array, "b i"]:
    """1 where the right word alone has the highest logit; of a tie its share."""
    best = named.logits == jnp.max(named.logits, axis=-1, keepdims=True)
    target = jnp.maximum(named.target, 0)[..., None]
    is_best = jnp.take_along_axis(best, target, -1)[..., 0]
    return jnp.where(is_best, 1.0 / jnp.sum(best, axis=-1), 0.0)


def _share(
    hit: Float[Array, "b i"], is_row: Bool[Array, "b i"]
) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
    hits, count = jnp.sum(hit * is_row, 1), jnp.sum(is_row, 1)
    return hits.astype(jnp.float32), count.astype(jnp.float32)
