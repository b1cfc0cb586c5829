"""Last hidden states of texts of any lengths, as arrays of the host."""

import functools
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mmdiffmask.models.bert import checkpoints, model
from mmdiffmask.models.bert.settings import BertSettings

BATCH = 32  # texts at once
_STEP = 8  # lengths are padded to a multiple: few shapes, so few programs


def encode(
    checkpoint: checkpoints.Checkpoint, ids: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """The last hidden states of each text, alone.

    Args:
      checkpoint: the model.
      ids: of each text, its word pieces with those that open and close it.

    Raises:
      ValueError: if a text has more pieces than there are positions.
    """
    longest = checkpoint.settings.longest
    for one in ids:
        if len(one) > longest:
            raise ValueError(f"{len(one)} word pieces: at most {longest} can be read")
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    states: list[np.ndarray] = [np.zeros(0)] * len(ids)
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        batch = _encode(checkpoint, [ids[i] for i in chosen])
        for i, state in zip(chosen, batch, strict=False):
            states[i] = state[: len(ids[i])]
    return states


def _encode(
    checkpoint: checkpoints.Checkpoint, ids: Sequence[np.ndarray]
) -> Float[np.ndarray, "b n d"]:
    """One batch, padded below to a power of two and to the right."""
    settings = checkpoint.settings
    length = min(-max(map(len, ids)) // _STEP * -_STEP, settings.longest)
    rows = 1 << (len(ids) - 1).bit_length()
    padded = np.full((rows, length), settings.pad, np.int32)
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
