"""A video file to the pictures that are to be seen at asked times."""

import collections
import heapq
import itertools
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction

import av
from av.stream import Disposition

from preprocessing import files
from preprocessing.media import display, timeline
from preprocessing.media.frame import Frame

# How long the last frame stands for what should follow it, and the first for what
# should be before it.
MAX_HOLD_S = 1.0
MAX_DURATION_S = 86_400.0  # what says more is looked at before it is believed
JOINT_S = 0.1  # where parts were joined, times are as sure as packets of sound are long
MAX_MORE_S = 0.5  # by which a film may be longer than its header says
MAX_KEPT = 64 * 2**20  # bytes; what has more is read twice
NO_FRAME = "no frame of it can be decoded"
RATE = 25.0  # pictures a second where nothing is said
# Formats whose files begin with what stands nowhere else in them.
HEADED = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "flv", "asf", "avi")
UNORDERED = ("avi",)  # formats that do not say when a picture is shown
NO_FILM = Disposition.attached_pic | Disposition.timed_thumbnails
Decoded = Iterator[tuple[float | None, av.VideoFrame]]  # (time in seconds, frame)


class VideoFile:
    """A video file, decoded once from its start to the last asked time.

    All its packets are looked at first: how long it is, and where its stamps start
    anew, is told by them alone. Seeking would save little at one frame in 5 s and goes
    wrong in containers without an index; time stamps of decoded frames are exact.
    """

    def __init__(self, path: str | os.PathLike):
        self.problems: list[tuple[str, str]] = []
        self._path, self._is_lost = path, False
        self._open()
        try:
            self._choose()
            self.duration_s = self._duration_s()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        try:
            self._container = files.open_container(self._path)
        except av.FFmpegError as error:
            raise ValueError(f"is no video that opens ({error.strerror})") from error

    def _choose(self) -> None:
        """Begins with the best stream of pictures that can be decoded."""
        places, covers = _films(self._container)
        if not places:
            raise ValueError("holds no pictures" + " but a cover" * bool(covers))
        lost: list[str] = []
        for place in places:
            if lost:
                self.close()
                self._open()
            reason = self._begin(place)
            if not reason:
                break
            lost.append(reason)
        else:
            raise ValueError(lost[0])
        if len(places) > 1:
            why = f" ({lost[0]} in stream {places[0]})" if lost else ""
            self._note(f"has {len(places)} films: that of stream {place} is used{why}")
        if covers:
            self._note("has a cover: that is not used")

    def _begin(self, place: int) -> str:
        """Starts to decode a stream; why it cannot be decoded, "" if it can."""
        self._stream = self._container.streams[place]
        if self._stream.codec_context is None:
            return "its pictures cannot be decoded: no decoder is known for them"
        try:
            self._line = timeline.Timeline(self._container)
        except av.FFmpegError:
            return NO_FRAME
        self._count, self._said = 0, (0, 0.0)
        self._ended: av.FFmpegError | None = None
        kept = self._read()
        if kept is None:
            self.close()
            self._open()
            self._stream = self._container.streams[place]
            kept = timeline.Timeline(self._container).packets(self._stream)
        self._stream.codec_context.thread_count = 1
        self._aspect = self._stream.sample_aspect_ratio
        self._may_change = self._line.may_jump  # then the codec alone says it
        self._step_s = 1 / float(self._stream.average_rate or RATE)
        self._decoded = self._in_order(self._decode(kept))
        self._shown, self._coming = None, self._next()
        if self._coming is None:
            return NO_FRAME
        self._begin_s = self._coming[0]
        return ""

    def _read(self) -> collections.deque[av.Packet] | None:
        """The stream's packets; None if they are too many to keep. Reads all."""
        kept: collections.deque[av.Packet] | None = collections.deque()
        place, size, self._read_to = self._stream.index, 0, 0
        self._unstamped, self._is_in_order = 0, False
        try:
            for packet in self._line.packets():
                self._read_to = max(self._read_to, packet.pos or 0)
                if packet.stream.index != place:
                    continue
                if packet.pts is None and packet.dts is None:
                    self._unstamped += packet.size > 0
                elif packet.pts is not None and packet.pts != packet.dts:
                    self._is_in_order = True
                size += packet.size
                if size > MAX_KEPT:
                    kept = None
                if kept is not None:
                    kept.append(packet)
        except av.FFmpegError as error:
            self._ended = error
        return kept

    def _decode(
        self, packets: collections.deque[av.Packet] | Iterator[av.Packet]
    ) -> Decoded:
        start_s, is_kept = self._line.start_s, isinstance(packets, collections.deque)
        while is_kept and packets or not is_kept:
            packet = packets.popleft() if is_kept else next(packets, None)
            if packet is None:
                return
            for frame in packet.decode():
                time_s = frame.time
                yield None if time_s is None else time_s - start_s, frame
        if self._ended is not None:
            raise self._ended

    def _in_order(self, decoded: Decoded) -> Decoded:
        """Frames in order of time, where the file says no more than when to decode."""
        is_sure = (
            self._container.format.name not in UNORDERED
            or self._is_in_order
            or not self._stream.codec_context.has_b_frames
        )
        return decoded if is_sure else _sorted(decoded)

    def _duration_s(self) -> float:
        """What the header says, if it can be believed; else what follows it."""
        line, said_s = self._line, (self._container.duration or 0) / 1e6
        begin_s = (self._container.start_time or 0) / 1e6
        for reason in line.oddities():
            self._note(reason)
        is_sure = self._container.format.name in HEADED and self._read_to
        if is_sure and files.holds_another(self._path, self._read_to):
            ends = f"another file's bytes follow it after {line.end_s:.1f} s"
            self._note(f"{ends}: they are not used")
        end_s = self._coming[0] + self._step_s * self._unstamped
        found_s = max(line.end_s, end_s if self._unstamped else 0.0)
        is_sane = 0 < said_s <= MAX_DURATION_S
        is_longer = said_s + MAX_MORE_S < found_s <= MAX_DURATION_S
        if is_sane and is_longer and not line.restarts_s:
            self._note(
                f"its header says {said_s:.1f} s, but it ends at {found_s:.1f} s: all"
                " of it is used"
            )
        is_moved = line.restarts_s or line.start_s != begin_s
        if is_sane and not is_longer and not (is_moved and found_s > 0):
            return said_s
        return max(found_s, self._coming[0], 1e-3)

    def _next(self) -> tuple[float, av.VideoFrame, Fraction | None] | None:
        """The next frame, its time and its pixels' aspect; None if there is none."""
        try:
            time_s, frame = next(self._decoded, (None, None))
        except av.FFmpegError as error:
            self._lost(f"is damaged after {self._count} frames ({error.strerror})")
            return None
        if frame is None:
            return None
        self._count += 1
        if self._may_change:
            self._aspect = self._stream.codec_context.sample_aspect_ratio
        if time_s is None:
            count, time_s = self._said
            time_s += (self._count - 1 - count) * self._step_s
            return time_s, frame, self._aspect
        # A damaged or odd file may have frames before the start it tells.
        time_s = max(time_s, 0.0)
        self._said = self._count - 1, time_s
        return time_s, frame, self._aspect

    def _lost(self, reason: str) -> None:
        """Tells what ends the pictures: the first is the cause of those that follow."""
        if not self._is_lost:
            self._is_lost = True
            self.problems.insert(0, ("", reason))

    def _note(self, reason: str) -> None:
        """Tells, once, what does not end the pictures."""
        if ("", reason) not in self.problems:
            self.problems.append(("", reason))

    def frames(self, times_s: Sequence[float]) -> list[Frame | None]:
        """What is shown at each time: the last frame that starts no later."""
        return [self._at(time_s) for time_s in times_s]

    def _at(self, time_s: float) -> Frame | None:
        if time_s < self._begin_s - MAX_HOLD_S:
            begin = f"its pictures begin at {self._begin_s:.1f}"
            self._note(f"{begin} of {self.duration_s:.1f} s")
            return None
        slack_s = JOINT_S if self._line.restarts_s else 0.0
        while self._coming is not None and (
            self._shown is None or self._coming[0] <= time_s + slack_s
        ):
            self._shown, self._coming = self._coming, self._next()
        shown_s, frame, aspect = self._shown
        if self._coming is None and time_s - shown_s > MAX_HOLD_S:
            self._lost(f"its pictures end at {shown_s:.1f} of {self.duration_s:.1f} s")
            return None
        try:
            image = frame.to_ndarray(format="rgb24")
        except (av.FFmpegError, ValueError):
            self._lost(f"its picture at {shown_s:.2f} s cannot be shown")
            return None
        linear = display.linear_of(frame)
        return Frame(shown_s, display.shown(image, aspect, linear, self._note))

    def close(self) -> None:
        """Closes the file."""
        self._container.close()


def _films(container: av.container.InputContainer) -> tuple[list[int], int]:
    """Places of the streams of moving pictures, the best first; how many are covers."""
    every = container.streams.video
    places = [s.index for s in every if not s.disposition & NO_FILM]
    # Not the first: a download may have its cover there.
    best = container.streams.best("video")
    places.sort(key=lambda place: best is None or place != best.index)
    return places, len(every) - len(places)


def _sorted(decoded: Decoded, wait: int = timeline.REORDERED - 1) -> Decoded:
    """The same frames; the first has the earliest of their times, and so on.

    An AVI file says when frames are decoded, and decoders give them as they are shown.
    """
    frames: collections.deque[av.VideoFrame] = collections.deque()
    times: list[float] = []
    for time_s, frame in itertools.chain(decoded, [(None, None)] * wait):
        if time_s is not None:
            heapq.heappush(times, time_s)
        if frame is not None:
            frames.append(frame)
        if frames and (frame is None or len(frames) > wait):
            yield heapq.heappop(times) if times else None, frames.popleft()
