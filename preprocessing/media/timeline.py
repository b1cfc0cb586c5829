"""A media file's packets in file order, their stamps put on one clock.

Parts that were joined as bytes, discs and cameras that split files start their stamps
anew: what follows is put behind what was there, sound and pictures by the same shift.
All packets of the file decide it, so it does not matter which stream is asked for. A
stamp that its followers do not confirm is damage: it is taken away.
"""

import collections
import dataclasses
import itertools
from collections.abc import Iterator

import av

BACK_S = 1.0  # stamps of one stream go back by less, in order of decoding
AHEAD_S = 10.0  # what leaves out more is looked at before it is believed
GAP_S = 60.0  # a longer one is a new part, where the format says that clocks may jump
FAR_S = 3600.0  # elsewhere
NEAR_S = 1.0  # what is left of a part comes no later
WRAP_S = 2**33 / 90_000  # MPEG's stamps have 33 bits
LOOK = 256  # packets ahead
FOLLOWERS = 2
TOLD = 3
REORDERED = 17  # pictures: H.264 lets no more wait


@dataclasses.dataclass(eq=False)
class _Part:
    """What has one clock: its stamps lie from `first_s` to `latest_s`."""

    shift_s: float
    first_s: float
    latest_s: float

    @property
    def end_s(self) -> float:
        """Where it ends, on the clock of the whole."""
        return self.latest_s + self.shift_s


@dataclasses.dataclass(eq=False)
class _Track:
    """A stream of sound or pictures: its last stamp and the part it is in."""

    unit_s: float
    reordered_s: float
    part: _Part | None = None
    last_s: float = 0.0

    def stamp_s(self, packet: av.Packet) -> float | None:
        """When it is decoded, or shown if only that is said."""
        stamp = packet.pts if packet.dts is None else packet.dts
        return None if stamp is None else stamp * self.unit_s

    def span_s(self, packet: av.Packet) -> tuple[float, float]:
        """From when to when it is shown; it has a stamp."""
        stamp = packet.dts if packet.pts is None else packet.pts
        length_s = (packet.duration or 0) * self.unit_s
        start_s = stamp * self.unit_s
        return start_s, start_s + (length_s if 0 < length_s < AHEAD_S else 0.0)

    def back_s(self, packet: av.Packet) -> float:
        """How far stamps may go back."""
        return self.reordered_s if packet.dts is None else BACK_S


class Timeline:
    """The packets of an opened container, once, with stamps that go on.

    Attributes:
      may_jump: whether the format says that its clocks may.
      start_s: the stamp of the file's start, as `frame.time` counts.
      restarts_s: where stamps start anew, from the file's start; grows.
      damaged: how many stamps were taken away; grows.
    """

    def __init__(self, container: av.container.InputContainer):
        self.restarts_s: list[float] = []
        self.damaged = 0
        self.may_jump = bool(container.format.flags & av.format.Flags.ts_discont.value)
        self._tracks = {
            stream.index: _track(stream)
            for stream in container.streams
            if stream.type in ("audio", "video") and stream.time_base
        }
        self._parts: list[_Part] = []
        self._read = container.demux()
        self._ahead: collections.deque[av.Packet] = collections.deque()
        self.start_s = self._start_s(container)

    @property
    def end_s(self) -> float:
        """How far what was read so far reaches, from the file's start."""
        return max((part.end_s for part in self._parts), default=0.0) - self.start_s

    def oddities(self) -> list[str]:
        """What of the stamps read so far is odd, as sentences on the file."""
        sentences = []
        if self.restarts_s:
            first = ", ".join(f"{time_s:.1f}" for time_s in self.restarts_s[:TOLD])
            more = ", ..." if self.restarts_s[TOLD:] else ""
            sentences.append(
                f"its time stamps start anew at {first}{more} s: what follows is put"
                " behind what was there"
            )
        if self.damaged:
            sentences.append(f"{self.damaged} of its time stamps are damaged: not used")
        return sentences

    def packets(self, stream: av.stream.Stream | None = None) -> Iterator[av.Packet]:
        """The stream's packets in file order, the last one empty; None = of all."""
        wanted = None if stream is None else stream.index
        while True:
            packet = self._ahead.popleft() if self._ahead else next(self._read, None)
            if packet is None:
                return
            index = packet.stream.index
            self._place(packet, self._tracks.get(index))
            if wanted is None or index == wanted:
                yield packet

    def frames(
        self, stream: av.stream.Stream
    ) -> Iterator[tuple[float | None, av.VideoFrame | av.AudioFrame]]:
        """Decoded frames with their times from the file's start, None if not said.

        They come in the decoder's order: as shown, if the file is in order.

        Raises:
          av.FFmpegError: where decoding fails.
        """
        for packet in self.packets(stream):
            for frame in packet.decode():
                time_s = frame.time
                yield None if time_s is None else time_s - self.start_s, frame

    def _start_s(self, container: av.container.InputContainer) -> float:
        """What the header says, unless the first packets say another."""
        said_s = (container.start_time or 0) / 1e6
        starts_s: dict[int, float] = {}
        for packet in self._look():
            track = self._tracks.get(packet.stream.index)
            if track is None or packet.is_discard or track.stamp_s(packet) is None:
                continue
            starts_s.setdefault(packet.stream.index, track.span_s(packet)[0])
            if abs(min(starts_s.values()) - said_s) <= BACK_S:
                return said_s
            if len(starts_s) == len(self._tracks):
                break
        first_s = min(starts_s.values(), default=said_s)
        return first_s if self._is_start(first_s) else said_s

    def _is_start(self, first_s: float) -> bool:
        """Whether packets ahead are near it: a single one may be damaged."""
        near = 0
        for packet in self._look():
            track = self._tracks.get(packet.stream.index)
            stamp_s = track and track.stamp_s(packet)
            near += stamp_s is not None and abs(stamp_s - first_s) < AHEAD_S
        return near > FOLLOWERS

    def _look(self) -> Iterator[av.Packet]:
        """The packets that come next, without taking them."""
        for place in range(LOOK):
            if place == len(self._ahead):
                packet = next(self._read, None)
                if packet is None:
                    return
                self._ahead.append(packet)
            yield self._ahead[place]

    def _place(self, packet: av.Packet, track: _Track | None) -> None:
        """Puts a packet's stamps on the clock of the whole."""
        if track is None:  # subtitles and the like
            if self._parts:
                _shift(packet, self._parts[-1].shift_s)
            return
        stamp_s = track.stamp_s(packet)
        if stamp_s is None:
            return
        if packet.pts is not None and packet.dts is not None:
            if abs(packet.pts - packet.dts) * track.unit_s > GAP_S:
                self.damaged += 1
                packet.pts = None
        part = self._known_part(track, packet, stamp_s)
        if part is None and not self._is_followed(track, packet, stamp_s):
            self.damaged += 1
            packet.pts = packet.dts = None
            return
        part = part or self._odd_part(track, packet, stamp_s)
        track.part, track.last_s = part, stamp_s
        part.latest_s = max(part.latest_s, track.span_s(packet)[1])
        _shift(packet, part.shift_s)

    def _known_part(
        self, track: _Track, packet: av.Packet, stamp_s: float
    ) -> _Part | None:
        """The part that a stamp goes on; None if none."""
        current, low_s = track.part, track.last_s - track.back_s(packet)
        newest = self._parts[-1] if self._parts else None
        if current is None:
            current, low_s = newest, newest.first_s - AHEAD_S if newest else 0.0
        if current is newest:
            if (
                current
                and low_s <= stamp_s <= max(current.latest_s, track.last_s) + AHEAD_S
            ):
                return current
        elif low_s <= stamp_s <= track.last_s + NEAR_S:
            return current
        alive = [other.part for other in self._tracks.values() if other is not track]
        for part in [newest, *alive]:
            if part is None or part is current:
                continue
            low_s = part.first_s if part is newest else part.latest_s
            if low_s - AHEAD_S <= stamp_s <= part.latest_s + AHEAD_S:
                return part
        return None

    def _is_followed(self, track: _Track, packet: av.Packet, stamp_s: float) -> bool:
        """Whether the next stamps of the stream are nearer to this one than before."""
        ahead = (other for other in self._look() if other.stream is packet.stream)
        stamps = (track.stamp_s(other) for other in ahead)
        said = (time_s for time_s in stamps if time_s is not None)
        after = list(itertools.islice(said, FOLLOWERS))
        if track.part is None:
            low_s = stamp_s - track.back_s(packet)
            return all(low_s <= time_s <= stamp_s + FAR_S for time_s in after)
        if not after:  # the last one
            return track.last_s <= stamp_s < track.last_s + FAR_S
        return all(abs(t - stamp_s) < abs(t - track.last_s) for t in after)

    def _odd_part(self, track: _Track, packet: av.Packet, stamp_s: float) -> _Part:
        """The part of a stamp that jumps, if it is no damage: often a new one."""
        if not self._parts:
            self._parts.append(_Part(0.0, stamp_s, stamp_s))
            return self._parts[0]
        current = track.part or self._parts[-1]
        gap_s = stamp_s - max(current.latest_s, track.last_s)
        if 0 < gap_s <= (GAP_S if self.may_jump else FAR_S):
            return current
        if self.may_jump and abs(gap_s + WRAP_S) < AHEAD_S:
            self._parts.append(_Part(current.shift_s + WRAP_S, stamp_s, stamp_s))
            return self._parts[-1]
        start_s = self._first_s(track, packet, stamp_s)
        end_s = max(part.end_s for part in self._parts)
        self._parts.append(_Part(end_s - start_s, start_s, start_s))
        self.restarts_s.append(end_s - self.start_s)
        return self._parts[-1]

    def _first_s(self, track: _Track, packet: av.Packet, stamp_s: float) -> float:
        """Where a new part starts, in its stamps; what is left of the old is counted.

        A demuxer may hold the last packet of a stream back until the next one comes.
        """
        starts, turned = [track.span_s(packet)[0]], [track]
        for other in self._look():
            its_track = self._tracks.get(other.stream.index)
            other_s = its_track and its_track.stamp_s(other)
            if other_s is None:
                continue
            start_s, end_s = its_track.span_s(other)
            is_left = its_track not in turned and its_track.part is not None
            if is_left and abs(other_s - its_track.last_s) <= NEAR_S:
                its_track.part.latest_s = max(its_track.part.latest_s, end_s)
            elif abs(other_s - stamp_s) < AHEAD_S:
                starts.append(start_s)
                turned.append(its_track)
        return min(starts)


def _track(stream: av.stream.Stream) -> _Track:
    rate = float(stream.average_rate or 0.0) if stream.type == "video" else 0.0
    reordered_s = REORDERED / rate if rate else 0.0
    return _Track(float(stream.time_base), max(BACK_S, reordered_s))


def _shift(packet: av.Packet, shift_s: float) -> None:
    shift = round(shift_s / packet.time_base) if shift_s else 0
    if shift and packet.pts is not None:
        packet.pts += shift
    if shift and packet.dts is not None:
        packet.dts += shift
