"""TVQA+'s labels and a folder of its frames to pictures with boxes of persons."""

import os
import pathlib
from collections.abc import Iterator

import cv2
import numpy as np

from preprocessing.boxes import box_files, box_formats

Labelled = tuple[np.ndarray, np.ndarray]  # RGB frame, boxes (m, 4) in its pixels
DEPTH = 2  # <vid_name> in the folder, or in a show's folder in it


class Source:
    """The labelled frames that are there, one by one: nobody holds all of them.

    Raises:
      ValueError: if the labels cannot be read, the folder is none, or it holds none of
        the frames (when they are asked for).
    """

    def __init__(self, labels: pathlib.Path, frames: pathlib.Path):
        if not frames.is_dir():
            raise ValueError(f"{frames}: is no folder; name the one of TVQA's frames")
        self._frames = frames
        self._boxes = box_files.read(labels)
        self._folders = dict(_folders(frames, DEPTH))
        self._labelled = self._there = self._persons = 0

    def __iter__(self) -> Iterator[Labelled]:
        fps = box_formats.TVQA_PLUS_FPS
        self._labelled = self._there = self._persons = 0
        for video in self._boxes.videos:
            for number in self._boxes.frames_of(video, fps):
                time_s = (number - 1) / fps
                if "body" not in self._boxes.boxes_at(video, time_s, fps).kind:
                    continue
                self._labelled += 1
                pixels = self._read(video, number)
                if pixels is None:
                    continue
                size = (pixels.shape[1], pixels.shape[0])
                boxes = self._boxes.boxes_at(video, time_s, fps, size)
                is_body = np.array([kind == "body" for kind in boxes.kind])
                self._there += 1
                self._persons += int(is_body.sum())
                yield pixels, boxes.xyxy_px[is_body]
        if not self._there:
            raise ValueError(
                f"{self._frames}: holds none of the {self._labelled} labelled frames;"
                " it must hold <vid_name>/00001.jpg, directly or by show"
            )

    def summary(self) -> str:
        """How much of the labels could be used, after the frames were gone through."""
        return (
            f"{self._there} of {self._labelled} labelled frames are there, with"
            f" {self._persons} persons"
        )

    def _read(self, video: str, number: int) -> np.ndarray | None:
        if video not in self._folders:
            return None
        path = self._folders[video] / f"{number:05d}.jpg"
        if not path.is_file():
            return None
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if pixels is None:
            raise ValueError(f"{path}: is no picture that OpenCV can read")
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _folders(folder: pathlib.Path, depth: int) -> Iterator[tuple[str, pathlib.Path]]:
    """Name and path of every folder down to that depth, inner ones first."""
    with os.scandir(folder) as entries:
        paths = sorted(entry.path for entry in entries if entry.is_dir())
    for path in map(pathlib.Path, paths):
        if depth > 1:
            yield from _folders(path, depth - 1)
        yield path.name, path
