"""Scores the person and face detectors against hand-drawn boxes.

`python -m benchmarks.boxes MEDIA_DIR` takes a folder with `ground_truth.json`, the
pictures that it names, and `patch_coverage.npz` (share of each 12x20 patch that the
labelled boxes cover). It prints one line per detector and kind of picture.

A detection is found if it overlaps a label enough (IoU 0.5 for bodies, 0.4 for
faces), one detection per label, the best score first. One that finds no label and
lies mostly inside an ignore region counts neither way; every other one is false, also
where faces were too small to be labelled. Patches: those that detections touch
against those that labels touch; a patch that only an ignore region touches is left
out.
"""

import argparse
import collections
import json
import pathlib
import sys
import zipfile
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from mmdiffmask import grid
from preprocessing import body_boxes, face_boxes, people

GRID = grid.PatchGrid(rows=12, cols=20)
MIN_IOU = {"body": 0.5, "face": 0.4}
MAX_IGNORED = 0.5  # share of a detection inside an ignore region


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


class Score(NamedTuple):
    """Counts over pictures."""

    found: int = 0
    labelled: int = 0
    false: int = 0
    patches_both: int = 0
    patches_any: int = 0

    def plus(self, other: "Score") -> "Score":
        """The counts of both."""
        return Score(*(a + b for a, b in zip(self, other, strict=True)))

    def __str__(self) -> str:
        precision = _ratio(self.found, self.found + self.false)
        patches = _ratio(self.patches_both, self.patches_any)
        return (
            f"found {self.found}/{self.labelled}  precision {precision}"
            f" ({self.false} false)  patch IoU {patches}"
        )


def _ratio(part: int, whole: int) -> str:
    return f"{part / whole:.3f}" if whole else "-"


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
                for kind in MIN_IOU
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
            found = {kind: arrays[f"fit_topleft_{kind}"] for kind in MIN_IOU}
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} holds no patch coverage: {error!r}") from error
    for kind, array in found.items():
        if array.shape != (count, GRID.rows, GRID.cols):
            raise ValueError(
                f"{path}: fit_topleft_{kind} is {array.shape}, but"
                f" {count} pictures need {(count, GRID.rows, GRID.cols)}"
            )
    return found


def _read_image(path: pathlib.Path) -> np.ndarray:
    pixels = cv2.imread(str(_existing(path)), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError(f"{path} is no picture that OpenCV can read")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def score_picture(
    boxes: np.ndarray,
    confidence: np.ndarray,
    labels: Labels,
    min_iou: float,
    width: int,
    height: int,
) -> Score:
    """Counts for one picture's detections (m, 4) of one kind."""
    boxes = boxes[np.argsort(-confidence, kind="stable")]
    is_found, is_left_out = _match(boxes, labels, min_iou)
    covered = patches_touched(boxes[~is_left_out], width, height)
    ignored = patches_touched(labels.ignored, width, height)
    counts = labels.is_covered | ~ignored
    return Score(
        found=int(is_found.sum()),
        labelled=len(labels.boxes),
        false=int((~is_found & ~is_left_out).sum()),
        patches_both=int((covered & labels.is_covered).sum()),
        patches_any=int(((covered & counts) | labels.is_covered).sum()),
    )


def _match(boxes: np.ndarray, labels: Labels, min_iou: float):
    """(m,) each: detections that find a label, and those that count neither way."""
    is_free = np.ones(len(labels.boxes), bool)
    is_found, is_left_out = np.zeros((2, len(boxes)), bool)
    for i, box in enumerate(boxes):
        shared, area = body_boxes.shared_area(box, labels.boxes)
        own = body_boxes.box_area(box)
        iou = np.where(is_free, shared / np.maximum(own + area - shared, 1e-6), 0.0)
        if iou.max(initial=0.0) >= min_iou:
            is_free[iou.argmax()] = False
            is_found[i] = True
            continue
        shared, _ = body_boxes.shared_area(box, labels.ignored)
        is_left_out[i] = shared.max(initial=0.0) > MAX_IGNORED * own
    return is_found, is_left_out


def patches_touched(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    """(240,): patches of the fitted picture that any box overlaps at all."""
    fit = grid.fit_frame(GRID, width, height)
    share = grid.covered_share(GRID, grid.fit_boxes(fit, boxes))
    return (share > 0).any(0)


def detections(pixels: np.ndarray) -> dict[tuple[str, str], tuple]:
    """(detector, kind of box) -> (boxes, confidence) in one picture."""
    body, face = body_boxes.detect([pixels]), face_boxes.detect([pixels])
    joined = people.join(body, face, [(pixels.shape[1], pixels.shape[0])])
    bodies = joined.take(np.flatnonzero([kind == "body" for kind in joined.kind]))
    return {
        ("ssdlite", "body"): body[0],
        ("mtcnn", "face"): face[0][:2],
        ("joined", "body"): (bodies.xyxy_px, bodies.score),
    }


def score_all(
    pictures: list[Picture], detect: Callable[[np.ndarray], dict] = detections
) -> dict[tuple[str, str, str], Score]:
    """(detector, kind of box, kind of picture) -> counts."""
    total: dict = collections.defaultdict(Score)
    for picture in pictures:
        height, width = picture.pixels.shape[:2]
        for (name, kind), (boxes, confidence) in detect(picture.pixels).items():
            one = score_picture(
                boxes, confidence, picture.labels[kind], MIN_IOU[kind], width, height
            )
            key = (name, kind, picture.kind)
            total[key] = total[key].plus(one)
    return dict(total)


def main(arguments: list[str] | None = None) -> int:
    """Scores one folder; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.boxes")
    parser.add_argument("media", type=pathlib.Path, metavar="MEDIA_DIR")
    folder = parser.parse_args(arguments).media
    try:
        total = score_all(read_media(folder))
    except ValueError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    for (name, kind, picture_kind), score in sorted(total.items()):
        print(f"{name:8} {kind:5} {picture_kind:12} {score}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
