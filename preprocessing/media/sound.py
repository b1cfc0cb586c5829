"""The sound of any file as mono samples: its track, its channels, its time stamps."""

import dataclasses
import os

import av
import numpy as np

from preprocessing import files
from preprocessing.media import sound_clock, sound_decoding, sound_tracks
from preprocessing.media.audio import DECODED_HZ, Track

LONGEST_S = 86_400.0


def load(
    path: str | os.PathLike, longest_s: float = LONGEST_S, wanted: str | None = None
) -> Track | None:
    """The file's sound; None if it holds none.

    Of several tracks the one that `sound_tracks.listed` puts first, of those that can
    be decoded.

    Args:
      path: of any container.
      longest_s: where it is cut; a damaged header may ask for all memory.
      wanted: the track that is to be used: its number from 1, or its language.

    Raises:
      ValueError: if the file cannot be opened or none of its sound can be decoded.
      OSError: if there is no such file.
    """
    try:
        with files.open_container(path) as container:
            return _first_of(container, path, longest_s, wanted)
    except av.FFmpegError as error:
        raise ValueError(sound_decoding.cut_off(error)) from error


def _first_of(
    container: av.container.InputContainer,
    path: str | os.PathLike,
    longest_s: float,
    wanted: str | None,
) -> Track | None:
    """The first of the tracks that can be decoded; None if there is no sound."""
    tracks = sound_tracks.listed(container.streams.audio, wanted)
    failed: list[tuple[sound_tracks.SoundTrack, str]] = []
    is_empty, fresh = True, container
    for track in tracks:
        try:
            if not track.is_known:
                raise ValueError(sound_tracks.NO_DECODER)
            source = sound_decoding.Source(path, track.index, longest_s)
            heard, fresh = _hear(source, fresh), None
        except ValueError as error:
            failed.append((track, str(error)))
            is_empty = False
            continue
        if heard is not None:
            notes = sound_tracks.notes(tracks, track, failed, wanted)
            return dataclasses.replace(heard, notes=(*notes, *heard.notes))
        failed.append((track, "it is empty"))
    if is_empty:
        return None
    if len(failed) == 1:
        raise ValueError(failed[0][1])
    reasons = "; ".join(f"{track.name}: {reason}" for track, reason in failed)
    raise ValueError(f"none of its {len(failed)} sound tracks can be used ({reasons})")


def _hear(
    source: sound_decoding.Source, container: av.container.InputContainer | None
) -> Track | None:
    """One track of a file; None if it is empty.

    Args:
      source: the track.
      container: the file, just opened; None = it is opened anew.

    Raises:
      ValueError: if nothing of it can be decoded.
    """
    decoded = sound_decoding.decode(source, container)
    if decoded.is_odd():  # rare: reads the packets of all streams in Python
        source = dataclasses.replace(source, is_careful=True)
        decoded = sound_decoding.decode(source, None)
    notes = []
    loudest = decoded.loudest()
    if loudest is None and decoded.is_quiet():
        every = dataclasses.replace(source, is_all_measured=True)
        loudest = sound_decoding.decode(every, None).loudest()
    if loudest is not None:
        source = dataclasses.replace(source, channel=loudest)
        decoded = sound_decoding.decode(source, None)
        notes.append(f"its channels cancel each other: channel {loudest + 1} is used")
    if not decoded.pieces:
        if decoded.problem:
            raise ValueError(decoded.problem)
        return None
    if decoded.damaged:
        notes.append(f"{decoded.damaged} packets of its sound are damaged: left out")
    return _in_place(decoded, source.longest_s, notes)


def _in_place(
    decoded: sound_decoding.Decoded, longest_s: float, notes: list[str]
) -> Track | None:
    """The track from the file's start; None if it lies before that.

    Raises:
      ValueError: if it starts nowhere.
    """
    samples = np.concatenate(decoded.pieces)
    times, lengths = np.array(decoded.time_s), np.array(decoded.length_s)
    placed = sound_clock.place(
        samples, times, lengths, rate=DECODED_HZ, longest_s=longest_s
    )
    if placed.note:
        notes = [*notes, placed.note]
    first_s = times[0] + placed.start_s
    delay_s = decoded.delay_s
    is_later = first_s > delay_s + sound_decoding.LATER_S
    if (is_later or placed.is_moved) and first_s <= longest_s:
        delay_s = first_s
    if abs(delay_s) > longest_s:
        raise ValueError("its sound cannot be decoded: it starts nowhere")
    samples, shift = placed.samples, round(delay_s * DECODED_HZ)
    samples = np.pad(samples, (shift, 0)) if shift > 0 else samples[-shift:]
    if not len(samples):
        return None
    peak = float(max(samples.max(), -int(samples.min()), 1))
    return Track(samples, peak, problem=decoded.problem, notes=tuple(notes))
