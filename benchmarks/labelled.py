"""Pictures with hand-drawn boxes of persons and faces, read from a folder."""

import json
import pathlib
import zipfile
from typing import NamedTuple

import cv2
import numpy as np

from mmdiffmask import grid

GRID = grid.PatchGrid(rows=12, cols=20)
KINDS = ("body", "face")


class Labels(NamedTuple):
    """What is labelled in a picture, of one kind of box."""

    boxes: np.ndarray  # (m, 4)
    ignored: np.ndarray  # (m, 4)
    is_covered: np.ndarray  # (240,)


class Picture(NamedTuple):
    """An RGB picture, its kind, and its labels by kind of box."""

    pixels: np.ndarray
    kind: str
    labels: dict[str, Labels]


def read_media(folder: pathlib.Path) -> list[Picture]:
    """The labelled pictures of a folder.

    Raises:
      ValueError: if the folder, one of its files or one of the pictures is missing or
        is not what it should be.
    """
    path = _existing(folder / "ground_truth.json")
    try:
        truth = json.loads(path.read_text(encoding="utf-8"))["frames"]
        count = len(truth)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} holds no labels: {error!r}") from error
    covered = _read_coverage(folder / "patch_coverage.npz", count)
    pictures = []
    for i, frame in enumerate(truth):
        try:
            labels = {
                kind: Labels(
                    np.array(frame[kind], np.float32).reshape(-1, 4),
                    np.array(frame[f"{kind}_ignore"], np.float32).reshape(-1, 4),
                    covered[kind][i].reshape(-1) > 0,
                )
                for kind in KINDS
            }
            kind = "pedestrians" if frame["faces_too_small_to_label"] else "others"
            image = folder / frame["image"]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: frame {i} is incomplete: {error!r}") from error
        pictures.append(Picture(_read_image(image), kind, labels))
    return pictures


def _existing(path: pathlib.Path) -> pathlib.Path:
    if not path.is_file():
        raise ValueError(
            f"{path} is missing; MEDIA_DIR must hold ground_truth.json, the pictures"
            " that it names and patch_coverage.npz"
        )
    return path


def _read_coverage(path: pathlib.Path, count: int) -> dict[str, np.ndarray]:
    """Kind of box -> (count, 12, 20) covered shares."""
    _existing(path)
    try:
        with np.load(path) as arrays:
            coverage = {kind: arrays[f"fit_topleft_{kind}"] for kind in KINDS}
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} holds no patch coverage: {error!r}") from error
    for kind, array in coverage.items():
        if array.shape != (count, GRID.rows, GRID.cols):
            raise ValueError(
                f"{path}: fit_topleft_{kind} is {array.shape}, but"
                f" {count} pictures need {(count, GRID.rows, GRID.cols)}"
            )
    return coverage


def _read_image(path: pathlib.Path) -> np.ndarray:
    pixels = cv2.imread(str(_existing(path)), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError(f"{path} is no picture that OpenCV can read")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
