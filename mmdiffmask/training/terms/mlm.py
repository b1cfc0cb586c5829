"""The masked-language-model term: hidden word pieces, predicted from the others."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, PRNGKeyArray

from mmdiffmask.data import word_classes
from mmdiffmask.models.bert import losses, model
from mmdiffmask.models.bert.settings import BertSettings
from mmdiffmask.training.family import Params, Scores
from mmdiffmask.types import Array, HiddenPieces, TextBatch

NAME = "mlm"
STREAM = "text"


@dataclasses.dataclass(frozen=True)
class TextObjective:
    """What terms of texts are made of.

    Attributes:
      settings: of the encoder.
      weights: (term, weight) of those above 0.
      slots: most pieces of a window that are predicted.
      ends: how many pieces open a window, and how many close it.
      labels: their names, where rows are classified.
    """

    settings: BertSettings
    weights: tuple[tuple[str, float], ...]
    slots: int
    ends: tuple[int, int] = (1, 1)
    labels: tuple[str, ...] = ()

    @property
    def bert(self) -> model.Bert:
        """The network."""
        return model.Bert(self.settings)


class Predicted(NamedTuple):
    """k slots of each window, of which those behind its hidden pieces are empty.

    Attributes:
      logits: of all pieces of the vocabulary.
      labels: the piece that is hidden; `losses.IGNORED` in an empty slot.
      place: of each slot in the window.
      dropped: hidden pieces that found no slot.
    """

    logits: Float[Array, "b k v"]
    labels: Int[Array, "b k"]
    place: Int[Array, "b k"]
    dropped: Int[Array, ""]

    @property
    def is_filled(self) -> Bool[Array, "b k"]:
        """Slots that hold a hidden piece."""
        return self.labels != losses.IGNORED


def states(
    objective: TextObjective,
    params: Params,
    ids: Int[Array, "b l"],
    batch: TextBatch,
    key: PRNGKeyArray | None = None,
) -> Float[Array, "b l d"]:
    """The last hidden states of a batch.

    Args:
      objective: of the run.
      params: the weights.
      ids: the pieces that are shown.
      batch: says which are real.
      key: of dropout; None: nothing is dropped.
    """
    pieces = model.Pieces(ids, batch.attention_mask)
    return objective.bert.apply({"params": params}, pieces, key=key).seq


def predict(
    objective: TextObjective,
    params: Params,
    batch: TextBatch,
    hidden: HiddenPieces,
    key: PRNGKeyArray | None = None,
) -> Predicted:
    """What stands behind the hidden pieces; arguments as of `states`."""
    seq = states(objective, params, hidden.shown_ids, batch, key)
    return predict_from(objective, params, batch, hidden, seq)


def predict_from(
    objective: TextObjective,
    params: Params,
    batch: TextBatch,
    hidden: HiddenPieces,
    seq: Float[Array, "b l d"],
) -> Predicted:
    """As `predict`, from the last hidden states."""
    order = jnp.argsort(~hidden.is_masked, axis=1, stable=True)
    place = order[:, : objective.slots]
    is_filled = jnp.take_along_axis(hidden.is_masked, place, axis=1)
    label = jnp.take_along_axis(batch.input_ids, place, axis=1)
    logits = objective.bert.apply(
        {"params": params}, model.take(seq, place), method="predict"
    )
    return Predicted(
        logits,
        jnp.where(is_filled, label, losses.IGNORED),
        place,
        jnp.sum(hidden.is_masked) - jnp.sum(is_filled),
    )


def loss(
    objective: TextObjective,
    params: Params,
    batch: TextBatch,
    hidden: HiddenPieces,
    key: PRNGKeyArray | None,
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """The mean over all hidden pieces of the batch, and how many found no slot."""
    predicted = predict(objective, params, batch, hidden, key)
    value = losses.cross_entropy(predicted.logits, predicted.labels)
    return value, {"dropped": predicted.dropped}


def scores(
    objective: TextObjective,
    params: Params,
    batch: TextBatch,
    hidden: HiddenPieces,
) -> tuple[Scores, Array]:
    """Sums and counts of each window, without dropout, and what found no slot.

    `loss` and `hits` (the likeliest piece is the right one) of all hidden pieces, and
    the loss of those of each class of words.
    """
    predicted = predict(objective, params, batch, hidden)
    filled = predicted.is_filled.astype(jnp.float32)
    each = losses.each(predicted.logits, predicted.labels)
    is_hit = jnp.argmax(predicted.logits, -1) == predicted.labels
    metrics = {
        "loss": (each.sum(1), filled.sum(1)),
        "hits": ((is_hit * filled).sum(1), filled.sum(1)),
    }
    of_slot = jnp.take_along_axis(batch.word_class, predicted.place, axis=1)
    for number, name in enumerate(word_classes.CLASSES):
        is_of_class = filled * (of_slot == number)
        metrics[f"loss_{name}"] = ((each * is_of_class).sum(1), is_of_class.sum(1))
    return {STREAM: metrics}, predicted.dropped
