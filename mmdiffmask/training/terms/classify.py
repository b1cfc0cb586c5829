"""The classification term: the label of a text, from the encoder's own kind of head."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int, PRNGKeyArray

from mmdiffmask.models import dropout
from mmdiffmask.models.bert import losses
from mmdiffmask.training.family import Params, Scores
from mmdiffmask.training.terms import mlm
from mmdiffmask.training.terms.mlm import TextObjective
from mmdiffmask.types import Array, TextBatch

NAME = "classify"
LABELS = "labels"  # the kind of scores, where others are kinds of masks
# Numbers of `scores`; pooled over labels they are of all rows, `F1` is the macro F1.
F1, ACCURACY, LOG_PROBABILITY = "f1", "accuracy", "log_probability"


class Answers(NamedTuple):
    """The likeliest label of each row, and the log-probability of every label."""

    answer: Int[Array, " b"]
    log_probability: Float[Array, "b c"]


def logits(
    objective: TextObjective,
    params: Params,
    batch: TextBatch,
    key: PRNGKeyArray | None = None,
) -> Float[Array, "b c"]:
    """Logits of the labels, from the whole text; `key` is of dropout.

    BERT: pooler, dropout, a linear layer. RoBERTa: dropout, dense, tanh, dropout, a
    linear layer.
    """
    keys = dropout.split(key, "encoder", "classifier")
    seq = mlm.states(objective, params, batch.input_ids, batch, keys["encoder"])
    return objective.bert.apply(
        {"params": params}, seq, key=keys["classifier"], method="classify"
    )


def loss(
    objective: TextObjective,
    params: Params,
    batch: TextBatch,
    key: PRNGKeyArray | None,
) -> Float[Array, ""]:
    """The mean cross-entropy of the batch's labels."""
    return losses.cross_entropy(logits(objective, params, batch, key), batch.label)


def answers(objective: TextObjective, params: Params, batch: TextBatch) -> Answers:
    """What the weights say of each row, without dropout."""
    values = logits(objective, params, batch).astype(jnp.float32)
    return Answers(jnp.argmax(values, -1), jax.nn.log_softmax(values))


def scores(objective: TextObjective, params: Params, batch: TextBatch) -> Scores:
    """Sums and counts of each row, label by label, without dropout."""
    return scores_of(answers(objective, params, batch), batch.label, objective.labels)


def scores_of(
    said: Answers, label: Int[Array, " b"], labels: tuple[str, ...]
) -> Scores:
    """Sums and counts of each row, label by label.

    F1 of a label is 2 * hits / (rows that have it + rows that are said to have it);
    `accuracy` and the right label's log-probability are of the rows that have it.

    Args:
      said: what weights say of the rows.
      label: what is right.
      labels: names of the labels.
    """
    right = jnp.take_along_axis(said.log_probability, label[:, None], 1)[:, 0]
    of_label = {}
    for number, name in enumerate(labels):
        has_it = (label == number).astype(jnp.float32)
        is_said = (said.answer == number).astype(jnp.float32)
        of_label[name] = {
            F1: (2.0 * has_it * is_said, has_it + is_said),
            ACCURACY: (has_it * is_said, has_it),
            LOG_PROBABILITY: (right * has_it, has_it),
        }
    return of_label
