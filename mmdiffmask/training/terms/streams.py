"""The joint output at every visual cell, for the text and the audio stream."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Float

from mmdiffmask.models.reserve import joining, towers
from mmdiffmask.tokens import AUDIOSPAN, PAD, TOKENS_PER_SOUND
from mmdiffmask.training.family import Params
from mmdiffmask.training.terms.shared import Objective
from mmdiffmask.types import Array, VideoBatch

AUDIO = "audio"  # the stream that hears; the other one reads


def joint_cells(
    objective: Objective,
    params: Params,
    batch: VideoBatch,
    pooled: Float[Array, "b t c d"],
    sound: towers.Tower | None = None,
) -> dict[str, Float[Array, "b t c d"]]:
    """The joint output at every visual cell, per stream, as one batch of sequences.

    Streams lie beside each other within an example, so that the batch axis is cut
    over devices between examples. Frames have segments 1..t, as text and sound have,
    or others by `training.first_frame`.

    Args:
      objective: model, grid, streams.
      params: the weights.
      batch: its texts and sound.
      pooled: the visual cells.
      sound: `Passes.sound`, if it is known already.
    """
    streams = objective.settings.streams
    if sound is None and AUDIO in streams:
        sound = objective.sound(params, batch.spectrogram)
    parts = [_text_part(objective, batch, name, sound) for name in streams]
    text = jax.tree.map(lambda *x: _interleave(x), *parts)
    examples, frames = batch.is_frame_valid.shape
    first = objective.settings.first_frame
    segment = jnp.arange(first, frames + first)
    segment = jnp.broadcast_to(segment[None], (examples, frames))
    is_seen = jnp.asarray(batch.is_frame_valid) | objective.has_padding
    count = len(streams)
    vision = joining.VisionPart(
        cells=_interleave([pooled] * count),
        segment=_interleave([segment] * count),
        is_frame_valid=_interleave([is_seen] * count),
    )
    joined = objective.call(params, "joint", text, vision, objective.grid).vision
    joined = joined.reshape(examples, count, *pooled.shape[1:])
    return {name: joined[:, i] for i, name in enumerate(streams)}


def _interleave(arrays: Sequence[Array]) -> Array:
    stacked = jnp.stack(arrays, axis=1)
    return stacked.reshape(-1, *stacked.shape[2:])


def _text_part(
    objective: Objective, batch: VideoBatch, stream: str, sound: towers.Tower | None
) -> joining.TextPart:
    """One stream's tokens. Sound that is not there becomes padding, seen by nobody."""
    examples, frames, per_frame = batch.spectrogram.shape[:3]
    sounds = frames * per_frame
    if stream != AUDIO:
        settings = objective.model.settings
        tokens, segment = jnp.asarray(batch.text_tokens), batch.text_segment
        spans = jnp.zeros(
            (examples, sounds, TOKENS_PER_SOUND, settings.hidden),
            jnp.dtype(settings.dtype),
        )
        pointer = jnp.full(tokens.shape, -1, jnp.int32)
        return joining.TextPart(tokens, jnp.asarray(segment), spans, pointer)
    tokens, segment = jnp.asarray(batch.audio_tokens), jnp.asarray(batch.audio_segment)
    pointer = joining.count_pointers(tokens, sounds)
    is_heard = jnp.take_along_axis(
        jnp.asarray(batch.is_audio_valid), jnp.clip(segment - 1, 0, frames - 1), 1
    )
    is_silent = (tokens == AUDIOSPAN) & ~is_heard
    tokens = jnp.where(is_silent, PAD, tokens)
    return joining.TextPart(tokens, segment, sound.seq_attnpool, pointer)
