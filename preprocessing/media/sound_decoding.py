"""One sound track of a file to mono samples, with the stamps of its frames."""

import dataclasses
import os
from collections.abc import Iterator

import av
import numpy as np
from jaxtyping import Int16

from preprocessing import files
from preprocessing.media import sound_channels, sound_clock, timeline
from preprocessing.media.audio import DECODED_HZ

QUIET = 1000  # of 32,767: perhaps all that channels which cancel have left
LATER_S = 0.1  # encoders' delays and rounded times are less


@dataclasses.dataclass(frozen=True)
class Source:
    """What is decoded, and how.

    Attributes:
      path: of any container.
      index: of the track among the file's streams.
      longest_s: where it is cut.
      channel: the only one that is heard, from 0; None = all.
      is_careful: by the packets of all streams: stamps may start anew.
      is_all_measured: each frame, for channels that cancel; else one in some.
    """

    path: str | os.PathLike
    index: int
    longest_s: float
    channel: int | None = None
    is_careful: bool = False
    is_all_measured: bool = False


class Decoded:
    """A track as it comes from the decoder, frame after frame.

    Attributes:
      pieces: its samples, mono at `DECODED_HZ`.
      time_s: of each frame, from the file's start; NaN where it has no stamp.
      length_s: of each frame.
      delay_s: how much later than the file the track starts, as headers say.
      damaged: packets that no decoder takes.
      problem: why it ends early; "" if it does not.
    """

    def __init__(self, source: Source):
        self.pieces: list[Int16[np.ndarray, " n"]] = []
        self.time_s: list[float] = []
        self.length_s: list[float] = []
        self.delay_s = 0.0
        self.damaged = 0
        self.problem = ""
        one_in = 1 if source.is_all_measured else sound_channels.ONE_IN
        self.mixer = sound_channels.Mixer(source.channel, one_in)

    def is_quiet(self) -> bool:
        """Whether no sample of it is loud, and it had several channels."""
        is_loud = any(int(np.abs(piece).max()) > QUIET for piece in self.pieces)
        return self.mixer.has_several and not is_loud

    def loudest(self) -> int | None:
        """The loudest channel, from 0, if the mean of all cancels; else None."""
        return self.mixer.loudest()

    def is_odd(self) -> bool:
        """Whether stamps and counts part: the file's other streams may say why."""
        times, lengths = np.array(self.time_s), np.array(self.length_s)
        if not len(times):
            return False
        if abs(self.delay_s) > timeline.BACK_S or abs(times[0]) > timeline.BACK_S:
            return True
        return not sound_clock.is_even(times, lengths)


def decode(source: Source, container: av.container.InputContainer | None) -> Decoded:
    """Decodes a track as far as it goes.

    Args:
      source: what is decoded, and how.
      container: of that path, just opened; None = it is opened here.
    """
    decoded = Decoded(source)
    try:
        if container is not None:
            _fill(decoded, source, container)
            return decoded
        with files.open_container(source.path) as opened:
            _fill(decoded, source, opened)
    except av.FFmpegError as error:
        decoded.problem = cut_off(error)
    return decoded


def _fill(
    decoded: Decoded, source: Source, container: av.container.InputContainer
) -> None:
    stream = container.streams[source.index]
    sound_channels.name_no_order(stream.codec_context)
    stream.codec_context.thread_count = 1
    start_s, packets = (container.start_time or 0) / 1e6, None
    if stream.start_time is not None and container.start_time is not None:
        decoded.delay_s = float(stream.start_time * stream.time_base) - start_s
    if source.is_careful:
        line = timeline.Timeline(container)
        start_s, packets = line.start_s, line.packets(stream)
    frames = _frames(packets or container.demux(stream), start_s, decoded)
    room = source.longest_s * DECODED_HZ
    for piece in _resample(frames, decoded.mixer):
        decoded.pieces.append(piece)
        room -= len(piece)
        if room < 0:
            decoded.problem = f"its sound is cut at {source.longest_s:.0f} s"
            break


def cut_off(error: av.FFmpegError) -> str:
    """What is told of a file that the decoder gives up."""
    return f"its sound cannot be decoded to the end ({error.strerror})"


def _frames(
    packets: Iterator[av.Packet], start_s: float, decoded: Decoded
) -> Iterator[av.AudioFrame]:
    """The decoded frames, whose times and lengths are noted.

    A damaged packet is left out: the stamps of the next ones say where they lie.
    """
    for packet in packets:
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            decoded.damaged += 1
            if not decoded.time_s:
                decoded.problem = cut_off(error)
            continue
        for frame in frames:
            time_s = frame.time
            decoded.time_s.append(np.nan if time_s is None else time_s - start_s)
            decoded.length_s.append(frame.samples / frame.sample_rate)
            decoded.problem = ""
            yield frame


def _resample(
    frames: Iterator[av.AudioFrame], mixer: sound_channels.Mixer
) -> Iterator[Int16[np.ndarray, " n"]]:
    """The frames at `DECODED_HZ`."""
    known, resampler = None, None
    for frame in frames:
        kind = frame.format.name, frame.layout.name, frame.sample_rate
        if kind != known:  # a damaged frame may say another
            if resampler is not None:
                yield from map(_samples, resampler.resample(None))
            known = kind
            resampler = av.AudioResampler(format="s16", layout="mono", rate=DECODED_HZ)
        for piece in resampler.resample(mixer.mixed(frame, kind[1])):
            yield _samples(piece)
    if resampler is not None:
        yield from map(_samples, resampler.resample(None))


def _samples(piece: av.AudioFrame) -> Int16[np.ndarray, " n"]:
    return np.frombuffer(piece.planes[0], np.int16, piece.samples).copy()
