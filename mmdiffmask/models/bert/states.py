"""Last hidden states of texts of any lengths, as arrays of the host."""

import functools
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mmdiffmask.models.bert import checkpoints, model
from mmdiffmask.models.bert.settings import BertSettings

BATCH = 32  # texts at once, always: see `encode`
_STEP = 8  # lengths are padded to a multiple: few shapes, so few programs


def encode(
    checkpoint: checkpoints.Checkpoint, ids: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """The last hidden states (n, d) of each text, alone.

    Products of fixed size give a text the same bits whichever others are read with it,
    so what is drawn by these states cannot depend on them.

    Args:
      checkpoint: the model.
      ids: of each text, its n word pieces with those that open and close it.

    Raises:
      ValueError: if a text has more pieces than there are positions.
    """
    longest = checkpoint.settings.longest
    by_length: dict[int, list[int]] = {}
    for number, one in enumerate(ids):
        if len(one) > longest:
            raise ValueError(f"{len(one)} word pieces: at most {longest} can be read")
        padded = min(-len(one) // _STEP * -_STEP, longest)
        by_length.setdefault(padded, []).append(number)
    states: list[np.ndarray] = [np.zeros(0)] * len(ids)
    for length, numbers in by_length.items():
        for start in range(0, len(numbers), BATCH):
            chosen = numbers[start : start + BATCH]
            batch = _encode(checkpoint, [ids[i] for i in chosen], length)
            for i, state in zip(chosen, batch, strict=False):
                states[i] = state[: len(ids[i])]
    return states


def _encode(
    checkpoint: checkpoints.Checkpoint, ids: Sequence[np.ndarray], length: int
) -> Float[np.ndarray, "b n d"]:
    """One batch, padded below and to the right."""
    settings = checkpoint.settings
    padded = np.full((BATCH, length), settings.pad, np.int32)
    is_valid = np.zeros(padded.shape, bool)
    for row, one in enumerate(ids):
        padded[row, : len(one)], is_valid[row, : len(one)] = one, True
    return np.asarray(_run(settings, checkpoint.params, padded, is_valid))


@functools.partial(jax.jit, static_argnums=0)
def _run(
    settings: BertSettings,
    params: checkpoints.Params,
    ids: Int[Array, "b n"],
    is_valid: Bool[Array, "b n"],
) -> Float[Array, "b n d"]:
    pieces = model.Pieces(ids, is_valid)
    return model.Bert(settings).apply({"params": params}, pieces).seq
