"""Puts text, sound and vision into one joint sequence (reserve.md section 2.6).

The text part comes first, then the vision part, then padding. What is joined are
embeddings; `models.reserve.model` looks tokens up and runs the joint transformer.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from mmdiffmask.grid import PatchGrid
from mmdiffmask.models.reserve import layers, positions, towers
from mmdiffmask.tokens import AUDIOSPAN, PAD, TOKENS_PER_SOUND
from mmdiffmask.types import Array


class TextPart(NamedTuple):
    """The text part of joint sequences: tokens, and sound in place of some.

    `segment` places each token in time (0 = question, 1..t; None: coordinate 0).
    `audio_spans` are the pooled sound tokens of m pieces of sound; where a token is
    AUDIOSPAN its embedding becomes audio_spans[pointer, k], k counting the sequence's
    AUDIOSPAN tokens modulo 6 and pointer being `audio_pointer`, at least 0 (None: the
    pieces in order, see `count_pointers`). Without `audio_spans` AUDIOSPAN is a word
    like others.
    """

    tokens: Int[Array, "b l"]
    segment: Int[Array, "b l"] | None = None
    audio_spans: Float[Array, "b m 6 d"] | None = None
    audio_pointer: Int[Array, "b l"] | None = None


class VisionPart(NamedTuple):
    """The vision part of joint sequences: pooled cells, frame after frame.

    `segment` are the frames' segments (TVQA: 1..t; None: 0..t-1). `is_frame_valid` is
    False for frames that nothing may look at (None: all are real, as in the reference).
    """

    cells: Float[Array, "b t k d"]
    segment: Int[Array, "b t"] | None = None
    is_frame_valid: Bool[Array, "b t"] | None = None


class Part(NamedTuple):
    """A part ready to be joined; coordinates are (row, column, segment, token)."""

    x: Float[Array, "b n d"]
    coordinates: Float[Array, "b n 4"]
    is_valid: Bool[Array, "b n"]
    segment: Int[Array, "b n"]


class Joined(NamedTuple):
    """What the joint transformer reads; `attend` is True where i may look at j."""

    x: Float[Array, "b n d"]
    coordinates: Float[Array, "b n 4"]
    attend: Bool[Array, "b n n"]


def count_pointers(tokens: Int[Array, "b l"], sounds: int) -> Int[Array, "b l"]:
    """The piece of sound of each position where they follow each other, 6 tokens each.

    (AUDIOSPAN tokens so far - 1) // 6, modulo `sounds`; -1 before the first.
    reserve.md section 3.1.
    """
    so_far = jnp.cumsum(tokens == AUDIOSPAN, axis=1)
    pointer = (so_far - 1) // TOKENS_PER_SOUND
    return jnp.where(so_far > 0, pointer % sounds, -1)


def put_sound(x: Float[Array, "b l d"], text: TextPart) -> Float[Array, "b l d"]:
    """Token embeddings with AUDIOSPAN's replaced by the sound they point at.

    The count k runs over the whole sequence, not per piece of sound, so the tokens of
    a piece can be cut only at the end of the sequence.
    """
    if text.audio_spans is None:
        return x
    batch, sounds, size, hidden = text.audio_spans.shape
    pointer = text.audio_pointer
    if pointer is None:
        pointer = count_pointers(text.tokens, sounds)
    is_sound = text.tokens == AUDIOSPAN
    index = jnp.clip(pointer, 0, sounds - 1) * size
    index = index + (jnp.cumsum(is_sound, axis=1) - 1) % size
    flat = text.audio_spans.astype(x.dtype).reshape(batch, sounds * size, hidden)
    sound = jnp.take_along_axis(flat, index[..., None], axis=1)
    return jnp.where(is_sound[..., None], sound, x)


def text_part(embedded: Float[Array, "b l d"], text: TextPart) -> Part:
    """The text part; tokens are numbered 1..l, padding included, in units of 1/1024."""
    batch, count = text.tokens.shape
    dtype = embedded.dtype
    segment = text.segment
    if segment is None:
        segment = jnp.zeros((batch, count), int)
    step = jnp.arange(1, count + 1).astype(dtype)
    step = jnp.broadcast_to(step[None], (batch, count))
    here = jnp.zeros_like(step)
    time = segment.astype(dtype)
    coordinates = positions.joint_coordinates(here, here, time, step)
    return Part(put_sound(embedded, text), coordinates, text.tokens != PAD, segment)


def vision_part(vision: VisionPart, grid: PatchGrid, dtype: jnp.dtype) -> Part:
    """The vision part; coordinates are those of the pooled grid, with its own scale.

    Raises:
      ValueError: if the cells do not fill the grid.
    """
    batch, frames, count, hidden = vision.cells.shape
    if count * towers.POOL**2 != grid.n_patches:
        raise ValueError(f"{count} cells a frame do not fill a grid of {grid} patches")
    segment, is_valid = vision.segment, vision.is_frame_valid
    if segment is None:
        segment = jnp.broadcast_to(jnp.arange(frames)[None], (batch, frames))
    if is_valid is None:
        is_valid = jnp.ones((batch, frames), bool)
    rows, cols = grid.rows // towers.POOL, grid.cols // towers.POOL
    at = positions.grid_coordinates(rows, cols, dtype)
    at = jnp.tile(at[None], (batch, frames, 1))
    segment = jnp.repeat(segment, count, axis=1)
    time = segment.astype(dtype)
    row, col, step = at[..., 0], at[..., 1], jnp.zeros_like(time)
    return Part(
        x=vision.cells.astype(dtype).reshape(batch, frames * count, hidden),
        coordinates=positions.joint_coordinates(row, col, time, step),
        is_valid=jnp.repeat(is_valid, count, axis=1),
        segment=segment,
    )


def join(
    parts: list[Part],
    length: int | None = None,
    video_of_segment: Int[Array, "b z"] | None = None,
) -> Joined:
    """Puts parts one after another and says who may look at whom.

    Args:
      parts: text before vision.
      length: pad to this many positions; None: no padding.
      video_of_segment: which video each segment comes from; positions of different
        videos do not look at one another. None: all are of one video.

    Raises:
      ValueError: if there is no part, or they do not fit into `length`.
    """
    if not parts:
        raise ValueError("a joint sequence needs text, vision or both")
    whole = Part(*(jnp.concatenate(v, axis=1) for v in zip(*parts, strict=True)))
    padding = 0 if length is None else length - whole.x.shape[1]
    if padding < 0:
        raise ValueError(f"{whole.x.shape[1]} positions do not fit in length={length}")
    after, wide = ((0, 0), (0, padding)), ((0, 0), (0, padding), (0, 0))
    attend = layers.pair_mask(jnp.pad(whole.is_valid, after))
    if video_of_segment is not None:
        source = _source(whole.segment, video_of_segment)
        source = jnp.pad(source, after, constant_values=-1)
        attend = attend & (source[:, :, None] == source[:, None, :])
    return Joined(jnp.pad(whole.x, wide), jnp.pad(whole.coordinates, wide), attend)


def _source(
    segment: Int[Array, "b n"], video_of_segment: Int[Array, "b z"]
) -> Int[Array, "b n"]:
    """The video of each position; -1 where it has no segment (-1)."""
    nearest = jnp.clip(segment, 0, video_of_segment.shape[1] - 1)
    source = jnp.take_along_axis(video_of_segment, nearest, axis=1)
    return jnp.where(segment >= 0, source, -1)
