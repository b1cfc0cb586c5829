"""A BERT or RoBERTa as the `Family` that is trained on texts and read out."""

import functools
from collections.abc import Iterable

import jax
import jax.numpy as jnp
from jaxtyping import Float, PRNGKeyArray

from mmdiffmask import config
from mmdiffmask.models.bert import losses as bert_losses
from mmdiffmask.models.bert import model
from mmdiffmask.training.family import Family, Held, Params, Scores
from mmdiffmask.training.terms import classify, dga, mlm
from mmdiffmask.training.terms.mlm import TextObjective
from mmdiffmask.types import Array, HiddenPieces, TextBatch

TERMS = (mlm.NAME, dga.NAME, classify.NAME)
PARTS = ("embeddings", "encoder", "mlm")  # of a checkpoint, that terms read
MEAN, CLS = READ_OUTS = ("mean", "cls")


def weights_of(terms: config.Terms) -> tuple[tuple[str, float], ...]:
    """The terms of texts that have weight."""
    pairs = ((name, getattr(terms, name)) for name in TERMS)
    return tuple((name, weight) for name, weight in pairs if weight > 0)


def check(terms: config.Terms, training: config.Training) -> None:
    """Checks that there is a loss.

    Raises:
      ValueError: if training has no term, or DGA's without that of hidden pieces, or is
        to stop on what labels alone have.
    """
    if training.steps and not weights_of(terms):
        raise ValueError(
            "all weights in terms are 0: there is nothing to train on; set terms.mlm=1"
        )
    if terms.dga > 0 and terms.mlm == 0:
        raise ValueError(
            f"terms.dga={terms.dga:g} goes with hidden pieces: set terms.mlm=1"
        )
    if training.stop_on != "loss" and not terms.classify:
        raise ValueError(
            f"training.stop_on={training.stop_on}: is a number of labels, and"
            " terms.classify is 0; set training.stop_on=loss"
        )


def family(objective: TextObjective) -> Family:
    """The encoder with these terms."""
    weights = dict(objective.weights)
    return Family(
        weights=weights,
        masked=mlm.NAME if mlm.NAME in weights else None,
        hold=functools.partial(hold, objective),
        terms=functools.partial(losses, objective),
        scores=functools.partial(scores, objective),
        encode=functools.partial(encode, objective),
    )


def losses(
    objective: TextObjective,
    params: Params,
    held: Held,
    batch: TextBatch,
    hidden: HiddenPieces | None,
    key: PRNGKeyArray,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """`Family.terms`; `key` is of dropout."""
    terms, metrics = {}, {}
    weights = dict(objective.weights)
    if dga.NAME in weights:
        params = dga.spare(params, held.values[dga.HELD])
    if hidden is not None and mlm.NAME in weights:
        windows = batch if batch.unlabelled is None else batch.unlabelled
        terms, metrics = _of_hidden(objective, params, held, windows, hidden, key)
    if classify.NAME in weights:
        key = jax.random.fold_in(key, 1)  # another one than that of hidden pieces
        terms[classify.NAME] = classify.loss(objective, params, batch, key)
    return terms, metrics


def _of_hidden(
    objective: TextObjective,
    params: Params,
    held: Held,
    batch: TextBatch,
    hidden: HiddenPieces,
    key: PRNGKeyArray,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The terms of hidden pieces, and how many found no slot."""
    if dga.NAME not in dict(objective.weights):
        value, metrics = mlm.loss(objective, params, batch, hidden, key)
        return {mlm.NAME: value}, metrics
    seq = mlm.states(objective, params, hidden.shown_ids, batch, key)
    predicted = mlm.predict_from(objective, params, batch, hidden, seq)
    pieces = _pieces(batch)._replace(ids=hidden.shown_ids)
    others = jax.random.fold_in(key, 2)
    importance = held.values[dga.HELD]
    apart = dga.loss(objective.settings, params, importance, pieces, seq, others)
    value = bert_losses.cross_entropy(predicted.logits, predicted.labels)
    return {mlm.NAME: value, dga.NAME: apart}, {"dropped": predicted.dropped}


def hold(
    objective: TextObjective, params: Params, batches: Iterable[TextBatch]
) -> dict[str, Array]:
    """`Family.hold`: of DGA the importance of heads, by the first weights."""
    if dga.NAME not in dict(objective.weights):
        return {}
    settings = objective.settings
    total = jnp.zeros((settings.layers, settings.heads))
    for number, batch in enumerate(batches):
        key = jax.random.fold_in(jax.random.key(0), number)  # of no run's seed
        total += dga.sensitivity(settings, params, _pieces(batch), key)
    return {dga.HELD: dga.importance(total)}


def _pieces(batch: TextBatch) -> model.Pieces:
    """A batch's pieces; rows that pad it have none."""
    is_valid = batch.attention_mask & batch.is_real[:, None]
    return model.Pieces(batch.input_ids, is_valid)


def scores(
    objective: TextObjective,
    params: Params,
    held: Held,
    batch: TextBatch,
    hidden: HiddenPieces | None,
) -> tuple[Scores, Array]:
    """`Family.scores`; where nothing is hidden, those of labels."""
    if hidden is None:
        return classify.scores(objective, params, batch), jnp.int32(0)
    return mlm.scores(objective, params, batch, hidden)


def encode(
    objective: TextObjective, params: Params, batch: TextBatch
) -> dict[str, Float[Array, "b d"]]:
    """Each window without a mask: the mean of its pieces' last states, and the first's.

    Pieces that open or close a window and padding have no part in the mean; a window
    without a piece has 0.
    """
    seq = mlm.states(objective, params, batch.input_ids, batch)
    before, after = objective.ends
    place = jnp.arange(seq.shape[1])[None]
    n_real = jnp.sum(batch.attention_mask, axis=1, keepdims=True)
    is_inner = ((place >= before) & (place < n_real - after)).astype(seq.dtype)
    total = jnp.einsum("bld,bl->bd", seq, is_inner)
    count = jnp.maximum(jnp.sum(is_inner, axis=1, keepdims=True), 1)
    return {MEAN: total / count, CLS: seq[:, 0]}
