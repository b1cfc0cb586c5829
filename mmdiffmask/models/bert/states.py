"""What a model makes of texts of any lengths, as arrays of the host."""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mmdiffmask.models.bert import checkpoints, losses, model
from mmdiffmask.models.bert.settings import BertSettings

BATCH, PIECES = 32, 1024  # texts and pieces at once, at most
HEADED = 256  # hidden pieces that the head predicts at once
_STEP = 8  # lengths are padded to a multiple: few shapes, so few programs


def encode(
    checkpoint: checkpoints.Checkpoint,
    ids: Sequence[np.ndarray],
    note: Callable[[int], object] | None = None,
) -> list[np.ndarray]:
    """The last hidden states (n, d) of each text, alone.

    Products of fixed size give a text the same bits whichever others are read with it,
    so what is drawn by these states cannot depend on them.

    Args:
      checkpoint: the model.
      ids: of each text, its n word pieces with those that open and close it.
      note: called with the number of texts that were read since it was last called.

    Raises:
      ValueError: if a text has more pieces than there are positions.
    """
    return _each(checkpoint, ids, _states, note)


def cls_attention(
    checkpoint: checkpoints.Checkpoint,
    ids: Sequence[np.ndarray],
    layer: int = -1,
    note: Callable[[int], object] | None = None,
) -> list[np.ndarray]:
    """How much the first piece attends to each (n,), mean over heads; sums to 1.

    Args:
      checkpoint: the model.
      ids: as of `encode`, also in that no other text enters.
      layer: of the encoder; -1: the last.
      note: as of `encode`.

    Raises:
      ValueError: if a text is too long, or there is no such layer.
    """
    layers = checkpoint.settings.layers
    if not -layers <= layer < layers:
        raise ValueError(
            f"layer {layer}: the encoder has {layers}, numbered from 0, or from -1"
            " backwards"
        )
    run = functools.partial(_attention, layer % layers)
    return _each(checkpoint, ids, run, note)


def mlm_losses(
    checkpoint: checkpoints.Checkpoint,
    ids: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
) -> list[np.ndarray]:
    """-log of the MLM head's softmax at each label (n,) of each text.

    Args:
      checkpoint: a model with that head.
      ids: as of `encode`, also in that no other text enters.
      labels: of each text, the n pieces that are predicted; `losses.IGNORED` where
        none is, of which the loss is 0.

    Raises:
      ValueError: if a text is too long.
    """
    is_label = [label != losses.IGNORED for label in labels]
    rows = _each(checkpoint, ids, _states, None, is_label)
    pairs = list(zip(labels, is_label, strict=True))
    nothing = np.zeros((0, checkpoint.settings.hidden), np.float32)
    flat = _at(
        checkpoint,
        np.concatenate([nothing, *rows]),
        np.concatenate([np.zeros(0, np.int32), *(one[i] for one, i in pairs)]),
    )
    results, first = [], 0
    for one, is_one in pairs:
        result, size = np.zeros(len(one), np.float32), int(is_one.sum())
        result[is_one] = flat[first : first + size]
        results.append(result)
        first += size
    return results


def _at(
    checkpoint: checkpoints.Checkpoint,
    rows: Float[np.ndarray, "k d"],
    labels: Int[np.ndarray, " k"],
) -> Float[np.ndarray, " k"]:
    """The loss at each label from the last state there, `HEADED` at a time."""
    values = np.zeros(len(rows), np.float32)
    for first in range(0, len(rows), HEADED):
        part = slice(first, first + HEADED)
        size = len(rows[part])
        batch = np.zeros((1, HEADED, rows.shape[1]), np.float32)
        label = np.full((1, HEADED), losses.IGNORED, np.int32)
        batch[0, :size], label[0, :size] = rows[part], labels[part]
        loss = _losses(checkpoint.settings, checkpoint.params, batch, label)
        values[part] = np.asarray(loss)[0, :size]
    return values


def _each(
    checkpoint: checkpoints.Checkpoint,
    ids: Sequence[np.ndarray],
    run: Callable[..., Float[Array, "b n ..."]],
    note: Callable[[int], object] | None,
    is_wanted: Sequence[np.ndarray] | None = None,
) -> list[np.ndarray]:
    """What `run` makes of each text, without padding; of its wanted pieces alone."""
    longest = checkpoint.settings.longest
    by_length: dict[int, list[int]] = {}
    for number, one in enumerate(ids):
        if len(one) > longest:
            raise ValueError(f"{len(one)} word pieces: at most {longest} can be read")
        padded = min(-len(one) // _STEP * -_STEP, longest)
        by_length.setdefault(padded, []).append(number)
    results: list[np.ndarray] = [np.zeros(0)] * len(ids)
    for length, numbers in by_length.items():
        size = min(BATCH, max(1, PIECES // length))  # of the length alone: see `encode`
        for start in range(0, len(numbers), size):
            chosen = numbers[start : start + size]
            pad = checkpoint.settings.pad
            texts = _padded([ids[i] for i in chosen], pad, (size, length))
            batch = np.asarray(run(checkpoint.settings, checkpoint.params, *texts))
            for i, result in zip(chosen, batch, strict=False):
                result = result[: len(ids[i])]
                results[i] = result if is_wanted is None else result[is_wanted[i]]
            if note is not None:
                note(len(chosen))
    return results


def _padded(
    ids: Sequence[np.ndarray], pad: int, shape: tuple[int, int]
) -> tuple[Int[np.ndarray, "b n"], Bool[np.ndarray, "b n"]]:
    """One batch, padded below and to the right."""
    padded, is_valid = np.full(shape, pad, np.int32), np.zeros(shape, bool)
    for row, one in enumerate(ids):
        padded[row, : len(one)], is_valid[row, : len(one)] = one, True
    return padded, is_valid


@functools.partial(jax.jit, static_argnums=0)
def _states(
    settings: BertSettings,
    params: checkpoints.Params,
    ids: Int[Array, "b n"],
    is_valid: Bool[Array, "b n"],
) -> Float[Array, "b n d"]:
    pieces = model.Pieces(ids, is_valid)
    return model.Bert(settings).apply({"params": params}, pieces).seq


@functools.partial(jax.jit, static_argnums=0)
def _losses(
    settings: BertSettings,
    params: checkpoints.Params,
    rows: Float[Array, "b k d"],
    labels: Int[Array, "b k"],
) -> Float[Array, "b k"]:
    bert = model.Bert(settings)
    return losses.each(bert.apply({"params": params}, rows, method="predict"), labels)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _attention(
    layer: int,
    settings: BertSettings,
    params: checkpoints.Params,
    ids: Int[Array, "b n"],
    is_valid: Bool[Array, "b n"],
) -> Float[Array, "b n"]:
    pieces = model.Pieces(ids, is_valid)
    encoding = model.Bert(settings).apply({"params": params}, pieces, every_layer=True)
    return jnp.mean(encoding.attentions[layer][:, :, 0], axis=1)
