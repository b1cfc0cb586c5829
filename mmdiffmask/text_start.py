"""The encoder that a run of texts starts from: its sizes, tokenizer and first weights.

A checkpoint without an MLM head, such as a sentence encoder, gets a tied one that
changes nothing at first (`checkpoints.with_mlm`) and then learns random words with the
encoder frozen. No seed and nothing of `masking` enters it, so all rows of an experiment
start alike. It is kept on this machine.
"""

import dataclasses
import functools
import io
import logging
import pathlib
from collections.abc import Callable

import jax
import numpy as np
import optax
from flax import traverse_util
from jaxtyping import Float

from mmdiffmask import config, encoder_files, text_examples, text_masks
from mmdiffmask.data import cache, loader, tokenizer_files
from mmdiffmask.data.text_corpus import TextCorpus
from mmdiffmask.masking import text_strategies, words
from mmdiffmask.models.bert import checkpoints
from mmdiffmask.models.bert import losses as bert_losses
from mmdiffmask.models.bert.settings import BertSettings
from mmdiffmask.text import masks
from mmdiffmask.text_examples import EVAL_SEED, Layout, Windows
from mmdiffmask.training import text_objective
from mmdiffmask.training.family import Params
from mmdiffmask.training.terms import mlm
from mmdiffmask.types import Array, HiddenPieces, TextBatch

OWN = "model"  # the value of data.tokenizer
HEAD, WARMED = "mlm", "mlm_heads"  # the part; its folder in the cache
FORMAT = 1  # of the warm-up: another one never takes up a head that this one made


def checkpoint(model: config.Encoder) -> checkpoints.Checkpoint:
    """The checkpoint as it is, read once.

    Raises:
      ValueError: as `encoder_files.read`.
    """
    return encoder_files.read(model.checkpoint)


def settings(model: config.Encoder) -> BertSettings:
    """The checkpoint's sizes with what the settings say of computing and dropout."""
    sizes = checkpoints.with_mlm(checkpoint(model)).settings
    changed = {"dtype": model.dtype, "remat": model.remat}
    for name in ("hidden_dropout", "attention_dropout"):
        if getattr(model, name) is not None:
            changed[name] = getattr(model, name)
    return dataclasses.replace(sizes, **changed)


def layout(experiment: config.Experiment) -> Layout:
    """How windows stand in rows, for this encoder.

    Raises:
      ValueError: if the encoder has fewer positions than windows have pieces, or cannot
        read the tokenizer's pieces.
    """
    data, model = experiment.data, experiment.model
    pieces, sizes = tokenizer(experiment), settings(model)
    if data.length > sizes.longest:
        raise ValueError(
            f"data.length={data.length}: the encoder {model.checkpoint} has positions"
            f" for {sizes.longest} pieces; set data.length={sizes.longest} or less"
            " (longer texts become windows)"
        )
    pieces.windows([], data.length)  # whether a piece has room
    return Layout(pieces, data.length, sizes.pad)


def tokenizer(experiment: config.Experiment) -> tokenizer_files.Pieces:
    """The tokenizer of the settings: the checkpoint's own, or another of its pieces.

    Raises:
      ValueError: if there is none, or its pieces are not those of the encoder.
    """
    name, model = experiment.data.tokenizer, experiment.model
    place = encoder_files.folder(model.checkpoint)
    is_own = name == OWN
    pieces = encoder_files.tokenizer(str(place) if is_own else name)
    entries, known = pieces.backend.get_vocab(), checkpoint(model).settings.vocabulary
    if len(entries) > known or max(entries.values()) >= known:
        raise ValueError(
            f"data.tokenizer={name} has {max(entries.values()) + 1} pieces, but the"
            f" encoder {model.checkpoint} {known}; leave data.tokenizer out, or name"
            " the tokenizer that the encoder was trained with"
        )
    has_own = any((place / file).is_file() for file in tokenizer_files.FILES)
    if not is_own and has_own:
        if encoder_files.tokenizer(str(place)).backend.get_vocab() != entries:
            raise ValueError(
                f"data.tokenizer={name} numbers its pieces otherwise than the tokenizer"
                f" of the encoder {model.checkpoint}; leave data.tokenizer out"
            )
    return pieces


def fingerprint(model: config.Encoder) -> str:
    """sha256 of the checkpoint's weights and of its own tokenizer."""
    return encoder_files.fingerprint(model.checkpoint)


def shapes(model: config.Encoder) -> Params:
    """Names, shapes and types of the weights that are trained."""
    return jax.eval_shape(lambda: jax.tree.map(jax.numpy.asarray, _bare(model)))


def _bare(model: config.Encoder) -> Params:
    """The parts that are trained, an MLM head that has learnt nothing among them."""
    params = checkpoints.with_mlm(checkpoint(model)).params
    return {part: params[part] for part in text_objective.PARTS}


def make(
    experiment: config.Experiment, some: Windows, corpus: TextCorpus
) -> Callable[[], Params]:
    """Makes the first weights.

    Args:
      experiment: names the checkpoint.
      some: windows that a head is warmed up on.
      corpus: that they are of.
    """

    def start() -> Params:
        params = _bare(experiment.model)
        if HEAD in checkpoint(experiment.model).params:
            return params
        return params | {HEAD: _warmed(experiment, params, some, corpus)}

    return start


def _warmed(
    experiment: config.Experiment, params: Params, some: Windows, corpus: TextCorpus
) -> Params:
    """A head that has learnt random words, from the cache or made now."""
    model, data = experiment.model, experiment.data
    key = cache.key(
        f"format {FORMAT}",
        fingerprint(model),
        some.layout.pieces.fingerprint,
        corpus.fingerprint(),
        f"{data.length} {data.markers} {data.dev_share} {data.text_field}",
        f"{model.warm_head_steps} {model.warm_head_lr} {model.warm_head_batch}",
        _replacement(some.layout.pieces),
    )
    path = cache.folder() / WARMED / f"{key}.npz"
    stored = _stored(path, params[HEAD])
    if stored is not None:
        logging.info("the MLM head is that of %s", path)
        return stored
    head = _warm(experiment, params, some)
    content = io.BytesIO()
    np.savez(content, **traverse_util.flatten_dict(head, sep="/"))
    cache.keep(path, content.getvalue(), "every run warms its head up anew")
    return head


def _stored(path: pathlib.Path, like: Params) -> Params | None:
    """The head of a file; None where there is none, or one that is damaged."""
    try:
        with np.load(path) as file:
            head = traverse_util.unflatten_dict(dict(file), sep="/")
    except (OSError, ValueError, EOFError):
        return None
    is_same = jax.tree.map(np.shape, head) == jax.tree.map(np.shape, like)
    return head if is_same else None


def _replacement(pieces: tokenizer_files.Pieces) -> str:
    """What stands at hidden pieces of the warm-up: BERT's mixture of all that runs use.

    A head that knew [MASK] alone would repeat whatever else stands there.
    """
    return words.WITHOUT_MASK if pieces.mask is None else "bert"


def _warm(experiment: config.Experiment, params: Params, some: Windows) -> Params:
    """The head after its updates on random words; the encoder stays as it is."""
    model = experiment.model
    steps, size = model.warm_head_steps, min(model.warm_head_batch, len(some))
    order = [loader.order_at(EVAL_SEED, i, size, len(some)) for i in range(steps)]
    used = sorted({int(i) for of_step in order for i in of_step})
    row_of = {position: i for i, position in enumerate(used)}
    part = dataclasses.replace(some, place=some.place[used], number=some.number[used])
    recipe = masks.Recipe(
        text_strategies.pair()[0],
        seed=EVAL_SEED,
        replacement=_replacement(some.layout.pieces),
    )
    choice = masks.vocabulary(some.layout.pieces, recipe.replacement)
    drawn = text_masks.draw(part, recipe, choice)
    make_row = text_examples.make_row(part, lambda i, _: drawn[i][0])
    plain = dataclasses.replace(
        settings(model), hidden_dropout=0.0, attention_dropout=0.0
    )
    slots = text_examples.slots(recipe.ratio, part)
    objective = mlm.TextObjective(plain, ((mlm.NAME, 1.0),), slots)
    tx = optax.adam(model.warm_head_lr)
    update = jax.jit(functools.partial(_update, objective, tx))
    body = jax.tree.map(jax.numpy.asarray, {**params, HEAD: {}})
    head = jax.tree.map(jax.numpy.asarray, params[HEAD])
    state, values = tx.init(head), []
    for of_step in order:
        batch = loader.stack([make_row(row_of[int(i)]) for i in of_step])
        head, state, loss = update(body, head, state, batch)
        values.append(float(loss))
    if values:
        logging.info(
            "%s has no MLM head: one was warmed up on random words, %d updates of %d:"
            " loss %.2f at first, mean %.2f, %.2f at last",
            model.checkpoint,
            steps,
            size,
            values[0],
            np.mean(values),
            values[-1],
        )
    return jax.tree.map(np.asarray, head)


def _update(
    objective: mlm.TextObjective,
    tx: optax.GradientTransformation,
    body: Params,
    head: Params,
    state: optax.OptState,
    batch: TextBatch,
) -> tuple[Params, optax.OptState, Float[Array, ""]]:
    """An update of the head alone."""
    hidden = HiddenPieces(batch.is_hidden, batch.shown_ids)
    seq = mlm.states(objective, body, hidden.shown_ids, batch)

    def loss_of(head: Params) -> Float[Array, ""]:
        predicted = mlm.predict_from(
            objective, {**body, HEAD: head}, batch, hidden, seq
        )
        return bert_losses.cross_entropy(predicted.logits, predicted.labels)

    loss, grads = jax.value_and_grad(loss_of)(head)
    updates, state = tx.update(grads, state, head)
    return optax.apply_updates(head, updates), state, loss
