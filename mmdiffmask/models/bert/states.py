"""What a model makes of texts of any lengths, as arrays of the host."""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mmdiffmask.models.bert import checkpoints, model
from mmdiffmask.models.bert.settings import BertSettings

BATCH, PIECES = 32, 1024  # texts and pieces at once, at most
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


def _each(
    checkpoint: checkpoints.Checkpoint,
    ids: Sequence[np.ndarray],
    run: Callable[..., Float[Array, "b n ..."]],
    note: Callable[[int], object] | None,
) -> list[np.ndarray]:
    """What `run` makes of each text, without padding."""
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
                results[i] = result[: len(ids[i])]
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
