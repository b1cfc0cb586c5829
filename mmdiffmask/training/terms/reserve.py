"""Reserve's three contrasts, from a batch's sequences and the towers' outputs.

Source: reserve.md section 4.1. Sequences come from `data.reserve_sequences`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from mmdiffmask.grid import PatchGrid
from mmdiffmask.models.reserve import joining, towers
from mmdiffmask.models.reserve import model as reserve
from mmdiffmask.tokens import LTOVPOOL, MASK, MASKAUDIO, PAD
from mmdiffmask.training import contrast
from mmdiffmask.training.family import Params
from mmdiffmask.training.terms.shared import (
    UNKNOWN,
    Losses,
    Objective,
    Passes,
    valid_frames,
)
from mmdiffmask.types import Array, ReserveBatch, Sequences, VideoBatch

TERMS = ("imgs_to_audio", "text_to_audio", "stuff_to_span")
Call = Callable[..., Any]  # (method, its arguments) -> what the model's method gives
SOURCES = ("text2audio", "audio2text", "random_text")  # of masked spans


class Seen(NamedTuple):
    """What the sequences of a batch see and hear.

    Attributes:
      frames: the vision tower's output, (b, t, ..).
      sound: the audio tower's output of every sub-segment in time's order, (b, m, ..).
      is_frame_valid: frames that are real.
      video_of_segment: tells segments of different videos apart.
      per_segment: sub-segments of sound in a segment.
    """

    frames: towers.Tower
    sound: towers.Tower
    is_frame_valid: Bool[Array, "b t"]
    video_of_segment: Int[Array, "b t"]
    per_segment: int


def losses(
    objective: Objective,
    params: Params,
    batch: VideoBatch,
    passes: Passes = UNKNOWN,
) -> Losses:
    """Those of the three terms that have weight.

    On the batch, or on its first `reserve.clips` clips.
    """
    count = objective.reserve.clips
    if count:
        batch, passes = jax.tree.map(lambda x: x[:count], (batch, passes))
    frames, sound = passes
    if frames is None:
        frames = objective.vision(params, batch.patches)
    if sound is None:
        sound = objective.sound(params, batch.spectrogram)
    is_real = jnp.asarray(batch.is_real)[:, None]
    is_heard = jnp.asarray(batch.is_audio_valid) & is_real
    pairs_of_term = forward(
        objective.model,
        params,
        batch.reserve,
        frames=frames,
        sound=sound,
        is_frame_valid=valid_frames(batch),
        is_sound_valid=jnp.repeat(is_heard, batch.spectrogram.shape[2], axis=1),
        grid=objective.grid,
    )
    return {
        name: contrast.loss(pairs)
        for name, pairs in pairs_of_term.items()
        if getattr(objective.terms, name)
    }


def forward(
    model: reserve.Reserve,
    params: Params,
    batch: ReserveBatch,
    frames: towers.Tower,
    sound: towers.Tower,
    is_frame_valid: Bool[Array, "b t"],
    is_sound_valid: Bool[Array, "b m"],
    grid: PatchGrid,
) -> dict[str, contrast.Pairs]:
    """The pairs of each term, over the whole batch.

    Departs: frames and sound that are absent are nobody's pair or candidate and are
    not looked at; the reference knows no absent ones.

    Args:
      model: MERLOT-Reserve.
      params: its parameters.
      batch: the sequences and the hidden spans.
      frames: the vision tower's output, (b, t, ..).
      sound: the audio tower's output of every sub-segment in time's order, (b, m, ..).
      is_frame_valid: frames that are real.
      is_sound_valid: sub-segments with real sound.
      grid: the frames'.
    """
    call = _caller(model, params)
    per_segment = is_sound_valid.shape[1] // is_frame_valid.shape[1]
    seen = Seen(frames, sound, is_frame_valid, batch.video_of_segment, per_segment)
    text2audio = _with_frames(call, batch.text2audio, seen, grid)
    audio2text = _with_frames(call, batch.audio2text, seen, grid)
    hidden = [(batch.text2audio, text2audio), (batch.audio2text, audio2text)]
    if batch.random_text is not None:
        tokens = batch.random_text.tokens
        alone = joining.TextPart(_together(tokens))
        seq = call("joint", alone).seq
        hidden.append((batch.random_text, seq.reshape(*tokens.shape, -1)))
    scales = call("scales")
    return {
        "imgs_to_audio": _frames_term(
            call, batch.audio_text_matching, frames, sound, is_frame_valid, scales
        ),
        "text_to_audio": _sound_term(
            call, batch.text2audio, text2audio, sound, is_sound_valid, scales
        ),
        "stuff_to_span": _span_term(call, batch.text_spans, hidden, scales),
    }


def _caller(model: reserve.Reserve, params: Params) -> Call:
    def call(method: str, *args: Any, **options: Any) -> Any:
        return model.apply({"params": params}, *args, **options, method=method)

    return call


def _together(x: Array) -> Array:
    """What lies within examples (b, n, ..) as one batch (b * n, ..)."""
    return x.reshape(-1, *x.shape[2:])


def _with_frames(
    call: Call,
    sequences: Sequences,
    seen: Seen,
    grid: PatchGrid,
) -> Float[Array, "b g l d"]:
    """Joint output at the tokens of sequences that see their group's frames."""
    examples, groups, length = sequences.tokens.shape
    each = seen.is_frame_valid.shape[1] // groups  # frames of a group
    cells = seen.frames.seq_attnpool
    text = joining.TextPart(
        tokens=_together(sequences.tokens),
        segment=_together((sequences.audio_pointer // seen.per_segment) % each),
        audio_spans=jnp.repeat(seen.sound.seq_attnpool, groups, axis=0),
        audio_pointer=_together(sequences.audio_pointer),
    )
    vision = joining.VisionPart(
        cells.reshape(examples * groups, each, *cells.shape[2:]),
        is_frame_valid=seen.is_frame_valid.reshape(-1, each),
    )
    video = seen.video_of_segment.reshape(-1, each)
    seq = call("joint", text, vision, grid, video_of_segment=video).text
    return seq.reshape(examples, groups, length, -1)


def _pool(
    seq: Float[Array, "b l d"], index: Int[Array, "b l"], count: int
) -> tuple[Float[Array, "b k d"], Bool[Array, "b k"]]:
    """The sum of the positions of each index (-1: none), and whether there are any."""
    is_at = index[:, :, None] == jnp.arange(count)[None, None, :]  # (b, l, k)
    pooled = jnp.einsum("blk,bld->bkd", is_at.astype(seq.dtype), seq)
    return pooled, jnp.any(is_at, axis=1)


def _flat(
    sequences: Sequences, seq: Float[Array, "b g l d"], token: int
) -> tuple[Float[Array, "b n d"], Bool[Array, "b n"]]:
    """Outputs, tokens and whether each is `token`, an example's sequences joined."""
    examples = len(seq)
    is_token = (sequences.tokens == token).reshape(examples, -1)
    return seq.reshape(examples, -1, seq.shape[-1]), is_token


def _frames_term(
    call: Call,
    sequences: Sequences,
    frames: towers.Tower,
    sound: towers.Tower,
    is_frame_valid: Bool[Array, "b t"],
    scales: Float[Array, " 3"],
) -> contrast.Pairs:
    """LTOVPOOL of each segment, which has heard or read it, with its frame's CLS."""
    tokens = _together(sequences.tokens)
    examples, groups, length = sequences.tokens.shape
    is_pool = tokens == LTOVPOOL
    so_far = jnp.cumsum(is_pool, axis=1)
    text = joining.TextPart(
        tokens,
        segment=so_far,
        audio_spans=jnp.repeat(sound.seq_attnpool, groups, axis=0),
        audio_pointer=_together(sequences.audio_pointer),
    )
    seq = call("joint", text).seq
    index = jnp.where(is_pool, so_far - 1, -1).reshape(examples, groups * length)
    seq = seq.reshape(examples, groups * length, -1)
    pooled, is_there = _pool(seq, index, is_frame_valid.shape[1])
    is_row = (is_there & is_frame_valid).reshape(-1)
    x = contrast.scaled(call("project", pooled), scales[0])
    y = contrast.scaled(frames.cls, scales[0])
    return contrast.Pairs(_together(x), _together(y), is_row, is_candidate=is_row)


def _sound_term(
    call: Call,
    sequences: Sequences,
    seq: Float[Array, "b g l d"],
    sound: towers.Tower,
    is_sound_valid: Bool[Array, "b m"],
    scales: Float[Array, " 3"],
) -> contrast.Pairs:
    """MASKAUDIO with the CLS of its sub-segment's sound; other sound is extra."""
    flat, is_token = _flat(sequences, seq, MASKAUDIO)
    pointer = sequences.audio_pointer.reshape(is_token.shape)
    index = jnp.where(is_token, pointer, -1)
    pooled, is_there = _pool(flat, index, is_sound_valid.shape[1])
    x = contrast.scaled(call("project", pooled), scales[1])
    y = contrast.scaled(sound.cls, scales[1])
    is_row = (is_there & is_sound_valid).reshape(-1)
    return contrast.Pairs(
        _together(x), _together(y), is_row, is_candidate=is_sound_valid.reshape(-1)
    )


def _span_term(
    call: Call,
    spans: Int[Array, "b k 15"],
    hidden: list[tuple[Sequences, Float[Array, "b _ _ d"]]],
    scales: Float[Array, " 3"],
) -> contrast.Pairs:
    """MASK with the vector of the words that it hides."""
    count, total, source = spans.shape[1], 0.0, jnp.full(spans.shape[:2], -1)
    for number, (sequences, seq) in enumerate(hidden):
        flat, is_token = _flat(sequences, seq, MASK)
        pointer = sequences.text_pointer.reshape(is_token.shape)
        index = jnp.where(is_token, pointer, -1)
        pooled, is_there = _pool(flat, index, count)
        total = total + pooled
        source = jnp.where(is_there, number, source)
    x = contrast.scaled(call("project", total), scales[2])
    y = contrast.scaled(call("span", spans), scales[2])
    is_row = ((source >= 0) & jnp.any(spans != PAD, axis=2)).reshape(-1)
    return contrast.Pairs(
        _together(x),
        _together(y),
        is_row,
        is_candidate=is_row,
        source=source.reshape(-1),
    )
