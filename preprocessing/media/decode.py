"""Folders of frames, and video files, to pictures at asked times."""

import os
import pathlib
import re
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from jaxtyping import UInt8

from mmdiffmask.data.records import frames as frames_lib
from preprocessing import files
from preprocessing.media.frame import Frame
from preprocessing.media.video_file import VideoFile

FOLDER_FPS = 3  # of folders of numbered frames: frame n shows second (n - 1) / 3
# Not a bare "-3.jpg" after a name that ends in digits: only "_" parts the two.
# Nor "._00001.jpg", which is macOS's note on a file.
NUMBERED = re.compile(r"(?!\.)(?:.*_)?([0-9]{1,9})\.(?:jpe?g|png)", re.I | re.S)


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
      OSError: if it cannot be read.
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
