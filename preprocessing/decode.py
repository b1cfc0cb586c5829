"""Video files and folders of frames to pictures at asked times."""

import dataclasses
import functools
import os
import pathlib
import re
from collections.abc import Sequence
from typing import Protocol

import av
import cv2
import numpy as np
from jaxtyping import UInt8

from mmdiffmask.data import frames as frames_lib
from preprocessing import files

MAX_SHORT_SIDE_PX = 450  # larger frames are stored smaller (DESIGN section 10)
JPEG_QUALITY = 95
FOLDER_FPS = 3  # of folders of numbered frames: frame n shows second (n - 1) / 3
# Not a bare "-3.jpg" after a name that ends in digits: only "_" parts the two.
# Nor "._00001.jpg", which is macOS's note on a file.
NUMBERED = re.compile(r"(?!\.)(?:.*_)?([0-9]{1,9})\.(?:jpe?g|png)", re.I | re.S)
MAX_HOLD_S = 1.0  # how long the last frame stands for what should follow it
MAX_DURATION_S = 86_400.0  # what says more is looked at before it is believed


@dataclasses.dataclass(frozen=True)
class Frame:
    """One picture: for the detectors as it was, for the record as it is stored.

    `own_jpeg` holds the file's bytes if it came as a JPEG.
    """

    time_s: float
    image: UInt8[np.ndarray, "h w 3"]
    own_jpeg: bytes | None = None

    @property
    def stored_size_px(self) -> tuple[int, int]:
        """Width and height of the frame as stored: shorter side 450 at most."""
        width, height = self.source_size_px
        short = min(width, height)
        if short <= MAX_SHORT_SIDE_PX:
            return width, height
        scale = MAX_SHORT_SIDE_PX / short
        return round(width * scale), round(height * scale)

    @functools.cached_property
    def jpeg(self) -> bytes:
        """As stored: its own bytes if it has some and is small enough.

        Made when asked for: frames between the sampled ones are only looked at.
        """
        size = self.stored_size_px
        stored = self.image
        if size != self.source_size_px:
            stored = cv2.resize(stored, size, interpolation=cv2.INTER_AREA)
        elif self.own_jpeg is not None:
            return self.own_jpeg
        bgr = cv2.cvtColor(stored, cv2.COLOR_RGB2BGR)
        options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        return cv2.imencode(".jpg", bgr, options)[1].tobytes()

    @property
    def source_size_px(self) -> tuple[int, int]:
        """Width and height of the source frame."""
        return self.image.shape[1], self.image.shape[0]


class Footage(Protocol):
    """What a video file and a folder of frames have in common.

    `frames` takes ascending times, none earlier than those of the call before, and
    gives None where nothing (usable) is shown. `problems` grows as bad files are met:
    (its name in the folder or "", reason), each file once.
    """

    duration_s: float
    problems: list[tuple[str, str]]

    def frames(self, times_s: Sequence[float]) -> list[Frame | None]:
        """What is shown at each time."""

    def close(self) -> None:
        """Lets go of open files."""


def open_footage(path: str | os.PathLike) -> Footage:
    """A folder of numbered frames, or a video file.

    Raises:
      ValueError: if nothing can be shown from it.
      OSError: if it can not be read.
    """
    return FrameFolder(path) if os.path.isdir(path) else VideoFile(path)


class FrameFolder:
    """Numbered pictures, three a second, counted from 1: 00001.jpg or NAME_001.jpg."""

    def __init__(self, path: str | os.PathLike):
        self._path = pathlib.Path(path)
        self._names = {
            int(match[1]): name
            for name in sorted(os.listdir(path))
            if (match := NUMBERED.fullmatch(name)) and int(match[1]) > 0
        }
        if not self._names:
            raise ValueError("its folder holds no numbered frames")
        self.duration_s = max(self._names) / FOLDER_FPS
        self._bad: dict[int, tuple[str, str]] = {}

    @property
    def problems(self) -> list[tuple[str, str]]:
        """Files that were missing or bad, in order of their numbers."""
        return [self._bad[number] for number in sorted(self._bad)]

    def frames(self, times_s: Sequence[float]) -> list[Frame | None]:
        """The frame nearest to each time; None where its file is missing or bad."""
        return [self._read(int(FOLDER_FPS * t + 0.5) + 1) for t in times_s]

    def _read(self, number: int) -> Frame | None:
        name = self._names.get(number)
        if number in self._bad:
            return None
        if name is None:
            if number <= max(self._names):
                self._bad[number] = "", f"its frame {number} is missing"
            return None
        try:
            data = files.read(self._path / name)
            image = _decode_picture(data)
        except (OSError, ValueError) as error:
            self._bad[number] = name, files.why(error)
            return None
        is_jpeg = data.startswith(b"\xff\xd8")
        return Frame((number - 1) / FOLDER_FPS, image, data if is_jpeg else None)

    def close(self) -> None:
        """Nothing is open."""


def _decode_picture(data: bytes) -> UInt8[np.ndarray, "h w 3"]:
    width, height = _said_size_px(data)
    if width * height > files.MAX_PIXELS:
        raise ValueError(f"no picture: it claims to have {width}x{height} px")
    return frames_lib.decode_jpeg(data)


def _said_size_px(data: bytes) -> tuple[int, int]:
    """Width and height as a JPEG's or PNG's header says; 0 if it does not."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    place = 2
    while data.startswith(b"\xff\xd8") and data[place : place + 1] == b"\xff":
        marker = data[place + 1 : place + 2]
        if b"\xc0" <= marker <= b"\xcf" and marker not in b"\xc4\xc8\xcc":
            sides = data[place + 7 : place + 9], data[place + 5 : place + 7]
            return int.from_bytes(sides[0]), int.from_bytes(sides[1])
        place += 2 + int.from_bytes(data[place + 2 : place + 4])
    return 0, 0


class VideoFile:
    """A video file, decoded once from its start to the last asked time.

    Seeking would save little at one frame in 5 s and goes wrong in containers
    without an index; time stamps of decoded frames are exact.
    """

    def __init__(self, path: str | os.PathLike):
        self.problems: list[tuple[str, str]] = []
        try:
            self._container = files.open_container(path)
        except av.FFmpegError as error:
            raise ValueError(f"is no video that opens ({error.strerror})") from error
        # Not the first: a download may have its cover there.
        self._stream = self._container.streams.best("video")
        if self._stream is None:
            self.close()
            raise ValueError("holds no pictures")
        self._stream.codec_context.thread_count = 1
        self._decoder = self._container.decode(self._stream)
        self._start_s = (self._container.start_time or 0) / 1e6
        self._count = 0
        self._shown, self._coming = None, self._next()
        if self._coming is None:
            self.close()
            raise ValueError("no frame of it can be decoded")
        self.duration_s = self._duration_s(path)

    def _duration_s(self, path: str | os.PathLike) -> float:
        said_s = (self._container.duration or 0) / 1e6
        if 0 < said_s <= MAX_DURATION_S:
            return said_s
        with files.open_container(path) as container:  # or nonsense: look
            stream = container.streams.best("video")
            ends = [
                float((packet.pts + (packet.duration or 0)) * stream.time_base)
                for packet in container.demux(stream)
                if packet.pts is not None
            ]
        return max(max(ends, default=0.0) - self._start_s, self._coming[0], 1e-3)

    def _next(self) -> tuple[float, av.VideoFrame] | None:
        """The next frame and its time; None at the end or where decoding fails."""
        try:
            frame = next(self._decoder, None)
        except av.FFmpegError as error:
            self._problem(f"is damaged after {self._count} frames ({error.strerror})")
            return None
        if frame is None:
            return None
        self._count += 1
        if frame.time is None:
            rate = self._stream.average_rate or 25
            return float((self._count - 1) / rate), frame
        # A damaged or odd file may have frames before the start it tells.
        return max(frame.time - self._start_s, 0.0), frame

    def _problem(self, reason: str) -> None:
        """The first is the cause of those that follow."""
        if not self.problems:
            self.problems.append(("", reason))

    def frames(self, times_s: Sequence[float]) -> list[Frame | None]:
        """What is shown at each time: the last frame that starts no later."""
        return [self._at(time_s) for time_s in times_s]

    def _at(self, time_s: float) -> Frame | None:
        while self._coming is not None and (
            self._shown is None or self._coming[0] <= time_s
        ):
            self._shown, self._coming = self._coming, self._next()
        shown_s, frame = self._shown
        if self._coming is None and time_s - shown_s > MAX_HOLD_S:
            self._problem(
                f"its pictures end at {shown_s:.1f} of {self.duration_s:.1f} s"
            )
            return None
        try:
            image = frame.to_ndarray(format="rgb24")
        except (av.FFmpegError, ValueError):
            self._problem(f"its picture at {shown_s:.2f} s can not be shown")
            return None
        return Frame(shown_s, _upright(image, frame))

    def close(self) -> None:
        """Closes the file."""
        self._container.close()


def _upright(image: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    """Turned as the container says (telephones film sideways)."""
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image
