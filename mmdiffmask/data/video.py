"""Records to rows of a VideoBatch: pictures, sound, the two token streams, units."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from mmdiffmask import config
from mmdiffmask import grid as grids
from mmdiffmask.data.records import frames
from mmdiffmask.tokens import AUDIOSPAN, N_SPECIAL, START, TOKENS_PER_SOUND, name_hash
from mmdiffmask.types import Pixels, VideoBatch

ANSWER = "answer: "  # its last token is a lone space, as in the reference
Encode = Callable[[str], Sequence[int]]
# (record, valid patches (t, n)) -> unit_of_token (q,), unit_score (q,), is_box_unit
Look = Callable[[Any, grids.PatchGrid], tuple[np.ndarray, np.ndarray]]
MakeUnits = Callable[[Any, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]


def is_dev(group: str, dev_share: float) -> bool:
    """Whether a group of TRAIN (a clip, an episode) serves as dev.

    Chosen by sha256 of its name alone, so more data never move a group to the other
    side. design.md section 8 (splits).
    """
    digest = hashlib.sha256(group.encode()).digest()
    return int.from_bytes(digest[:8], "big") < dev_share * 2.0**64


def option(record: Any, encode: Encode, has_answer: bool = False) -> list[int]:
    """Tokens of "{start} to {end}" (per cent of the clip), START, the question.

    With `has_answer` the right answer follows, where it is known: the released code
    trains with it. Else never one. reserve.md sections 3.1 and 10.1, design.md section
    5 (text).
    """
    start, end = (int(percent) for percent in record.span_percent)
    time = words(encode, f"{start} to {end}")
    tokens = [*time, START, *words(encode, record.question)]
    if not has_answer or record.answer_index < 0:
        return tokens
    answer = record.answers[record.answer_index]
    return [*tokens, *words(encode, ANSWER), *words(encode, answer)]


def words(encode: Encode, text: str) -> list[int]:
    """Ids of a text; a special token that it spells out is left out, being no word."""
    return [i for i in encode(text) if i >= N_SPECIAL] if text else []


def text_stream(
    record: Any, encode: Encode, length: int, has_answer: bool = False
) -> tuple[Int[np.ndarray, " l"], Int[np.ndarray, " l"]]:
    """Tokens and segments: the option (segment 0), then subtitles of segment 1..t."""
    parts = [option(record, encode, has_answer)]
    parts += [words(encode, subtitle) for subtitle in record.subtitles]
    return stream(parts, length)


def audio_stream(
    record: Any, encode: Encode, length: int, has_answer: bool = False
) -> tuple[Int[np.ndarray, " l"], Int[np.ndarray, " l"]]:
    """Tokens and segments: the option, then 6 AUDIOSPAN for each piece of sound.

    Segments without sound have their tokens too, as in Reserve: the model finds the
    sound of a token by counting AUDIOSPAN, so a gap would shift all that follow.
    `is_audio_valid` says which are real. reserve.md section 3.1.
    """
    t, s = record.spectrogram.shape[:2]
    spans = [[AUDIOSPAN] * (TOKENS_PER_SOUND * s)] * t
    return stream([option(record, encode, has_answer), *spans], length)


def stream(
    parts: Sequence[Sequence[int]], length: int
) -> tuple[Int[np.ndarray, " l"], Int[np.ndarray, " l"]]:
    """Parts 0, 1, .. behind each other, cut or padded (token 0, segment 0)."""
    tokens, segments = np.zeros(length, np.int32), np.zeros(length, np.int32)
    flat = [(token, i) for i, part in enumerate(parts) for token in part][:length]
    if flat:
        tokens[: len(flat)], segments[: len(flat)] = np.array(flat, np.int32).T
    return tokens, segments


def pictures(
    record: Any, grid: grids.PatchGrid
) -> tuple[Pixels[np.ndarray, "t n p"], Bool[np.ndarray, "t n"]]:
    """Fitted frames as patches, and which patches show a real frame.

    The fit is that of the stored frame, as for its boxes (`frames.fitted_boxes`).
    Patches are bytes if every frame has the grid's size already, a quarter of what
    floats take to the device; a frame that is resized has values between the bytes.

    Raises:
      ValueError: if a frame is no readable picture.
    """
    images = _decoded(record)
    fits = {
        i: grids.fit_frame(grid, image.shape[1], image.shape[0])
        for i, image in images.items()
    }
    is_copy = all(fit.is_copy for fit in fits.values())
    fit_image = grids.place_image if is_copy else grids.fit_image
    shape = len(record.frames), grid.n_patches
    patches = np.zeros(
        (*shape, grid.patch_px**2 * 3), np.uint8 if is_copy else np.float32
    )
    is_valid = np.zeros(shape, bool)
    for i, fit in fits.items():
        patches[i] = grids.to_patches(grid, fit_image(grid, fit, images[i]))
        is_valid[i] = grids.valid_patches(grid, fit)
    return patches, is_valid


def _decoded(record: Any) -> dict[int, UInt8[np.ndarray, "h w 3"]]:
    images = {}
    for i in np.flatnonzero(record.is_frame_valid):
        try:
            images[int(i)] = frames.decode_jpeg(record.frames[i])
        except ValueError as error:
            raise _broken(record, int(i), error) from error
    return images


def no_pictures(
    record: Any, grid: grids.PatchGrid
) -> tuple[Float[np.ndarray, "t n 1"], Bool[np.ndarray, "t n"]]:
    """As `pictures` for whoever draws masks: patches without pixels, all 0.

    No picture is decoded; only its size is looked at.

    Raises:
      ValueError: if a frame is no picture.
    """
    t = len(record.frames)
    is_valid = np.zeros((t, grid.n_patches), bool)
    for i in np.flatnonzero(record.is_frame_valid):
        try:
            size = frames.size_px(record.frames[i])
        except ValueError as error:
            raise _broken(record, int(i), error) from error
        is_valid[i] = grids.valid_patches(grid, grids.fit_frame(grid, *size))
    return np.zeros((t, grid.n_patches, 1), np.float32), is_valid


def _broken(record: Any, frame: int, error: ValueError) -> ValueError:
    return ValueError(
        f"{record.example_id}: frame {frame}: {error}; make the records again"
    )


def row(
    record: Any,
    settings: config.Data,
    grid: grids.PatchGrid,
    encode: Encode,
    make_units: MakeUnits,
    look: Look | None = None,
) -> VideoBatch:
    """One record as a VideoBatch without its batch axis, in numpy.

    Args:
      record: of data/records/shards.py.
      settings: segments, sub-segments and stream length.
      grid: of the model and of the record's covered shares.
      encode: text -> token ids.
      make_units: what may be masked as a whole, given the record and its valid
        patches (a strategy's `clip_units`).
      look: `no_pictures`, or `pictures`, as is the default.

    Raises:
      ValueError: if the record was made for other settings, or a frame is broken.
    """
    _check(record, settings, grid)
    patches, is_patch_valid = (look or pictures)(record, grid)
    text_tokens, text_segment = text_stream(record, encode, settings.text_length)
    audio_tokens, audio_segment = audio_stream(record, encode, settings.text_length)
    unit_of_token, unit_score, is_box_unit = make_units(record, is_patch_valid)
    return VideoBatch(
        patches=patches,
        spectrogram=np.asarray(record.spectrogram, np.float32),
        text_tokens=text_tokens,
        text_segment=text_segment,
        audio_tokens=audio_tokens,
        audio_segment=audio_segment,
        is_frame_valid=np.asarray(record.is_frame_valid, bool),
        is_audio_valid=np.asarray(record.is_audio_valid, bool),
        is_patch_valid=is_patch_valid,
        unit_of_token=np.asarray(unit_of_token, np.int32),
        unit_score=np.asarray(unit_score, np.float32),
        is_box_unit=np.asarray(is_box_unit, bool),
        example_hash=name_hash(record.example_id),
        clip_hash=name_hash(record.clip),
        is_real=np.bool_(True),
    )


def with_answer(
    row: VideoBatch, record: Any, encode: Encode, length: int
) -> VideoBatch:
    """The row with the right answer behind the question, in both streams."""
    text_tokens, text_segment = text_stream(record, encode, length, has_answer=True)
    audio_tokens, audio_segment = audio_stream(record, encode, length, has_answer=True)
    return row._replace(
        text_tokens=text_tokens,
        text_segment=text_segment,
        audio_tokens=audio_tokens,
        audio_segment=audio_segment,
    )


def _check(record: Any, settings: config.Data, grid: grids.PatchGrid) -> None:
    """The record's axes against the settings."""
    sizes = {
        "segments": len(record.frames),
        "sub_segments": record.spectrogram.shape[1],
        "patches of a frame": record.covered_share.shape[1],
    }
    needed = {
        "segments": settings.segments,
        "sub_segments": settings.sub_segments,
        "patches of a frame": grid.n_patches,
    }
    for name, value in sizes.items():
        if value != needed[name]:
            raise ValueError(
                f"{record.example_id}: the record has {value} {name}, but the settings"
                f" (grid {grid}) need {needed[name]}; make the records again with"
                " these settings, or change the settings"
            )
