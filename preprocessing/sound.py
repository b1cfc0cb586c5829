"""The sound of any file as mono samples: its track, its channels, its time stamps."""

import dataclasses
import os
from collections.abc import Iterator

import av
import numpy as np
from jaxtyping import Float, Int16

from preprocessing import files, sound_channels, sound_clock, sound_tracks, timeline
from preprocessing.audio import DECODED_HZ, Track

LONGEST_S = 86_400.0
LATER_S = 0.1  # encoders' delays and rounded times are less
NOWHERE = "its sound can not be decoded: it starts nowhere"


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
      ValueError: if the file can not be opened or none of its sound can be decoded.
      OSError: if there is no such file.
    """
    try:
        with files.open_container(path) as container:
            tracks = sound_tracks.listed(container.streams.audio, wanted)
    except av.FFmpegError as error:
        raise ValueError(_cut_off(error)) from error
    failed: list[tuple[sound_tracks.SoundTrack, str]] = []
    is_empty = True
    for track in tracks:
        try:
            heard = _hear(path, track, longest_s)
        except ValueError as error:
            failed.append((track, str(error)))
            is_empty = False
            continue
        if heard is None:
            failed.append((track, "it is empty"))
            continue
        notes = sound_tracks.notes(tracks, track, failed, wanted)
        return dataclasses.replace(heard, notes=(*notes, *heard.notes))
    if is_empty:
        return None
    if len(failed) == 1:
        raise ValueError(failed[0][1])
    reasons = "; ".join(f"{track.name}: {reason}" for track, reason in failed)
    raise ValueError(f"none of its {len(failed)} sound tracks can be used ({reasons})")


def _hear(path, track: sound_tracks.SoundTrack, longest_s: float) -> Track | None:
    """One track of a file; None if it is empty.

    Raises:
      ValueError: if nothing of it can be decoded.
    """
    if not track.is_known:
        raise ValueError(f"its sound can not be decoded: {sound_tracks.NO_DECODER}")
    decoded = _decode(path, track.index, longest_s, None)
    notes = []
    loudest = decoded.mixer.loudest()
    if loudest is not None:
        decoded = _decode(path, track.index, longest_s, loudest)
        notes.append(f"its channels cancel each other: channel {loudest + 1} is used")
    if not decoded.pieces:
        if decoded.problem:
            raise ValueError(decoded.problem)
        return None
    if decoded.damaged:
        notes.append(f"{decoded.damaged} packets of its sound are damaged: left out")
    return decoded.track(longest_s, notes)


class _Decoded:
    """A track as it comes from the decoder, frame after frame."""

    def __init__(self, channel: int | None):
        self.mixer = sound_channels.Mixer(channel)
        self.pieces: list[Int16[np.ndarray, " n"]] = []
        self.time_s: list[float] = []
        self.length_s: list[float] = []
        self.delay_s = 0.0
        self.damaged = 0
        self.problem = ""

    def track(self, longest_s: float, notes: list[str]) -> Track | None:
        """In its place from the file's start.

        Raises:
          ValueError: if it starts nowhere.
        """
        times, lengths = np.array(self.time_s), np.array(self.length_s)
        samples = np.concatenate(self.pieces)
        placed = sound_clock.place(samples, times, lengths, DECODED_HZ, longest_s)
        if placed.note:
            notes = [*notes, placed.note]
        delay_s = _delay_s(self.delay_s, times[0] + placed.start_s, longest_s)
        samples, shift = placed.samples, round(delay_s * DECODED_HZ)
        samples = np.pad(samples, (shift, 0)) if shift > 0 else samples[-shift:]
        if not len(samples):
            return None
        peak = float(max(samples.max(), -int(samples.min()), 1))
        return Track(samples, peak, self.problem, tuple(notes))


def _delay_s(said_s: float, first_s: float, longest_s: float) -> float:
    """How much later than the file the track starts.

    Its header may say 0 although its first packet says later (Matroska).
    """
    if said_s + LATER_S < first_s <= longest_s:
        return first_s
    if abs(said_s) > longest_s:
        raise ValueError(NOWHERE)
    return said_s


def _decode(path, index: int, longest_s: float, channel: int | None) -> _Decoded:
    """Decodes a track as far as it goes; `channel` as for `sound_channels.Mixer`."""
    decoded = _Decoded(channel)
    room = longest_s * DECODED_HZ
    try:
        with files.open_container(path) as container:
            stream = container.streams[index]
            sound_channels.name_no_order(stream.codec_context)
            stream.codec_context.thread_count = 1
            clock = timeline.Timeline(container)
            if stream.start_time is not None and container.start_time is not None:
                start_s = float(stream.start_time * stream.time_base)
                decoded.delay_s = start_s - container.start_time / 1e6
            for piece in _resample(_frames(clock, stream, decoded), decoded.mixer):
                decoded.pieces.append(piece)
                room -= len(piece)
                if room < 0:
                    decoded.problem = f"its sound is cut at {longest_s:.0f} s"
                    break
    except av.FFmpegError as error:
        decoded.problem = _cut_off(error)
    return decoded


def _cut_off(error: av.FFmpegError) -> str:
    return f"its sound can not be decoded to the end ({error.strerror})"


def _frames(clock, stream, decoded: _Decoded) -> Iterator[av.AudioFrame]:
    """The decoded frames, whose times and lengths are noted.

    A damaged packet is left out: the stamps of the next ones say where they lie.
    """
    for packet in clock.packets(stream):
        try:
            frames = packet.decode()
        except av.InvalidDataError as error:
            decoded.damaged += 1
            if not decoded.time_s:
                decoded.problem = _cut_off(error)
            continue
        for frame in frames:
            time_s = frame.time
            time_s = np.nan if time_s is None else time_s - clock.start_s
            decoded.time_s.append(time_s)
            decoded.length_s.append(frame.samples / frame.sample_rate)
            decoded.problem = ""
            yield frame


def _resample(
    frames: Iterator[av.AudioFrame], mixer: sound_channels.Mixer
) -> Iterator[Int16[np.ndarray, " n"]]:
    """The frames at `DECODED_HZ`."""
    known, resampler = None, None
    for frame in map(mixer, frames):
        kind = frame.format.name, frame.layout.name, frame.sample_rate
        if kind != known:  # a damaged frame may say another
            if resampler is not None:
                yield from _pieces(resampler, None)
            known, resampler = kind, _resampler()
        yield from _pieces(resampler, frame)
    if resampler is not None:
        yield from _pieces(resampler, None)


def _pieces(resampler: av.AudioResampler, frame: av.AudioFrame | None):
    for piece in resampler.resample(frame):
        yield piece.to_ndarray()[0]


def _resampler() -> av.AudioResampler:
    return av.AudioResampler(format="s16", layout="mono", rate=DECODED_HZ)
