"""Two terms that tie words to what is seen, where a small model starts from nothing.

Reserve's three terms alone stay on a plateau there: the right video helps no more than
a wrong one (TOY.md section 3). What ended it within minutes: naming a hidden word among
ALL span vectors of a closed vocabulary (extra negatives taken to their end: no
duplicates within a batch, no word that is never trained against), and asking for each
narrated word that SOME cell of the picture shows it. Off by default.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from mmdiffmask.data.tokenizers import MASK
from mmdiffmask.models import joining, layers, reserve
from mmdiffmask.training import losses
from mmdiffmask.types import Array, ClozeBatch

TERMS = ("closed_span", "pooled_cells")
SCALE_OF_CELLS, SCALE_OF_SPANS = 0, 2  # contrastive_scales: pictures, spans
Params = Any


class Vocabulary(NamedTuple):
    """The closed vocabulary on the device: its texts' tokens, and what pictures show.

    `is_content` marks the entries that the cells of a picture are asked for;
    `word_class` numbers the classes.
    """

    spans: Int[Array, "v 15"]
    is_content: Bool[Array, " v"]
    word_class: Int[Array, " v"]


class Named(NamedTuple):
    """Hidden words: the score of every entry, the right one, and which are real."""

    logits: Float[Array, "b i v"]
    target: Int[Array, "b i"]
    is_row: Bool[Array, "b i"]


def span_vectors(
    model: reserve.Reserve, params: Params, vocabulary: Vocabulary
) -> Float[Array, "v d"]:
    """The span encoder's vector of every entry, of unit length."""
    spans = jnp.asarray(vocabulary.spans)
    cls = model.apply({"params": params}, spans, method="span")
    return layers.unit_normalize(cls)


def name_words(
    model: reserve.Reserve,
    params: Params,
    batch: ClozeBatch,
    cells: Float[Array, "b f k d"],
    is_frame_valid: Bool[Array, "b f"],
    words: Float[Array, "v d"],
    rows: int,
    cols: int,
) -> Named:
    """Scores every entry of the vocabulary at each MASK.

    Args:
      model: MERLOT-Reserve.
      params: its parameters.
      batch: the texts.
      cells: pooled cells of the frames shown, in the order of `batch.frame`.
      is_frame_valid: of those frames.
      words: `span_vectors`.
      rows: patch rows of the grid.
      cols: patch columns.
    """

    def call(method, *args):
        return model.apply({"params": params}, *args, method=method)

    tokens = jnp.asarray(batch.tokens)
    text = joining.TextPart(tokens, jnp.asarray(batch.segment))
    vision = joining.VisionPart(cells, batch.frame + 1, is_frame_valid)
    seq = call("joint", text, vision, rows, cols).text
    target = jnp.asarray(batch.target)
    number = jnp.cumsum(tokens == MASK, axis=1) - 1
    index = jnp.where(tokens == MASK, number, -1)[:, None, :]
    is_at = index == jnp.arange(target.shape[1])[None, :, None]  # (b, i, l)
    at = jnp.einsum("bil,bld->bid", is_at.astype(seq.dtype), seq)
    x = layers.unit_normalize(call("project", at))
    scale = _scale(call("scales")[SCALE_OF_SPANS])
    return Named(scale * (x @ words.T), target, (target >= 0) & jnp.any(is_at, 2))


def closed_span(named: Named) -> Float[Array, ""]:
    """Cross-entropy over the whole vocabulary, mean over the hidden words."""
    log_p = jax.nn.log_softmax(named.logits, axis=-1)
    target = jnp.maximum(named.target, 0)[..., None]
    right = jnp.take_along_axis(log_p, target, axis=-1)[..., 0]
    total = jnp.sum(jnp.where(named.is_row, -right, 0.0))
    return total / jnp.maximum(jnp.sum(named.is_row), 1)


def pooled_cells(
    model: reserve.Reserve,
    params: Params,
    cells: Float[Array, "b f k d"],
    is_frame_valid: Bool[Array, "b f"],
    is_narrated: Bool[Array, "b v"],
    words: Float[Array, "v d"],
    vocabulary: Vocabulary,
) -> Float[Array, ""]:
    """Cross-entropy of each narrated word among words of its class not narrated.

    A word's score is the log-sum-exp of its cosines with `head` of all cells shown. The
    clip's other narrated words are true as well, so they are no negatives. Nor are
    words of other classes: a narration that tells no colour does not say that there is
    none (over all content words colours stayed at chance for 1,600 steps).
    """
    head = model.apply({"params": params}, cells, method="project")
    scales = model.apply({"params": params}, method="scales")
    x = layers.unit_normalize(head) * _scale(scales[SCALE_OF_CELLS])
    logits = jnp.einsum("bfkd,vd->bfkv", x, words)
    logits = jnp.where(is_frame_valid[:, :, None, None], logits, losses.NEVER)
    score = jax.nn.logsumexp(logits, axis=(1, 2))  # (b, v)
    kind, is_content = map(jnp.asarray, (vocabulary.word_class, vocabulary.is_content))
    is_same = (kind[:, None] == kind[None, :]) & is_content[None, :]  # (v, v)
    is_other = is_same[None] & ~is_narrated[:, None, :]  # (b, v, v)
    others = jax.nn.logsumexp(
        jnp.where(is_other, score[:, None, :], losses.NEVER), axis=2
    )
    row_loss = jnp.logaddexp(score, others) - score
    is_row = is_narrated & is_content[None] & jnp.any(is_frame_valid, 1)[:, None]
    total = jnp.sum(jnp.where(is_row, row_loss, 0.0))
    return total / jnp.maximum(jnp.sum(is_row), 1)


def _scale(log_scale: Float[Array, ""]) -> Float[Array, ""]:
    return jnp.exp(jnp.minimum(log_scale, losses.MAX_LOG_SCALE))
