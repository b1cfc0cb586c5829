"""Video files and folders of frames to pictures at asked times."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Sequence
from typing import Protocol

import av
import cv2
import numpy as np
from jaxtyping import UInt8

from mmdiffmask.data import frames as frames_lib

MAX_SHORT_SIDE_PX = 450  # larger frames are stored smaller (DESIGN section 10)
JPEG_QUALITY = 95
FOLDER_FPS = 3  # of folders of numbered frames: frame n shows second (n - 1) / 3
PICTURES = (".jpg", ".jpeg", ".png")
MAX_HOLD_S = 1.0  # how long the last frame stands for what should follow it


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
    (file name, reason).
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
    """
    return FrameFolder(path) if os.path.isdir(path) else VideoFile(path)


class FrameFolder:
    """Numbered pictures, three a second, counted from 1."""

    def __init__(self, path: str | os.PathLike):
        self._path = pathlib.Path(path)
        self._names = {
            int(stem): stem + ending
            for stem, ending in map(os.path.splitext, os.listdir(path))
            if stem.isdecimal() and ending.lower() in PICTURES and int(stem) > 0
        }
        if not self._names:
            raise ValueError("its folder holds no numbered frames")
        self.duration_s = max(self._names) / FOLDER_FPS
        self.problems: list[tuple[str, str]] = []

    def frames(self, times_s: Sequence[float]) -> list[Frame | None]:
        """The frame nearest to each time; None where its file is missing or bad."""
        return [self._read(int(FOLDER_FPS * t + 0.5) + 1) for t in times_s]

    def _read(self, number: int) -> Frame | None:
        name = self._names.get(number)
        if name is None:
            return None
        data = (self._path / name).read_bytes()
        try:
            image = frames_lib.decode_jpeg(data)
        except ValueError as error:
            self.problems.append((name, str(error)))
            return None
        is_jpeg = data.startswith(b"\xff\xd8")
        return Frame((number - 1) / FOLDER_FPS, image, data if is_jpeg else None)

    def close(self) -> None:
        """Nothing is open."""


class VideoFile:
    """A video file, decoded once from its start to the last asked time.

    Seeking would save little at one frame in 5 s and goes wrong in containers
    without an index; time stamps of decoded frames are exact.
    """

    def __init__(self, path: str | os.PathLike):
        self._name = os.path.basename(os.fspath(path))
        self.problems: list[tuple[str, str]] = []
        try:
            self._container = av.open(os.fspath(path))
        except (av.FFmpegError, OSError) as error:
            raise ValueError(f"is no video that opens ({error.strerror})") from error
        streams = self._container.streams.video
        if not streams:
            self.close()
            raise ValueError("holds no pictures")
        self._stream = streams[0]
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
        if self._container.duration:
            return self._container.duration / 1e6
        with av.open(os.fspath(path)) as container:  # a stream says nothing: look
            stream = container.streams.video[0]
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
            reason = f"is damaged after {self._count} frames ({error.strerror})"
            self.problems.append((self._name, reason))
            return None
        if frame is None:
            return None
        self._count += 1
        if frame.time is None:
            rate = self._stream.average_rate or 25
            return float((self._count - 1) / rate), frame
        return frame.time - self._start_s, frame

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
            return None
        image = frame.to_ndarray(format="rgb24")
        return Frame(shown_s, _upright(image, frame))

    def close(self) -> None:
        """Closes the file."""
        self._container.close()


def _upright(image: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    """Turned as the container says (telephones film sideways)."""
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image
