"""Boxes of 80 labels in frames: NanoDet over the whole frame, its shape kept.

Recipe and accuracy: boxes.md section 7. One pass costs less than the three views of
`body_boxes`, and finds as many people.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from preprocessing.boxes import body_boxes, nanodet, yolox

LABELS = yolox.COCO  # of the network, in its order
LONG_SIDE_PX, MULTIPLE_PX = 512, 32
PERSON_SCORE, OTHER_SCORE = 0.40, 0.45
LEAST_SCORES = np.where(np.arange(len(LABELS)) == 0, PERSON_SCORE, OTHER_SCORE)
MAX_IOU, MAX_INSIDE = 0.5, 0.9  # among boxes of one label
MAX_TWIN_IOU = 0.7  # among all: one thing under two labels

Found = tuple[Float[np.ndarray, "m 4"], Float[np.ndarray, " m"], Int[np.ndarray, " m"]]


class Fit(NamedTuple):
    """Where a frame lies in the network's picture, in its pixels."""

    left: int
    top: int
    width: int
    height: int
    picture_wh: tuple[int, int]


def fit(width: int, height: int) -> Fit:
    """The place of a frame of that size: long side 512, the rest in the middle.

    >>> fit(640, 360)
    Fit(left=0, top=0, width=512, height=288, picture_wh=(512, 288))
    """
    scale = LONG_SIDE_PX / max(width, height)
    inner = [max(round(side * scale), 1) for side in (width, height)]
    outer = [-(-side // MULTIPLE_PX) * MULTIPLE_PX for side in inner]
    left, top = ((whole - part) // 2 for whole, part in zip(outer, inner, strict=True))
    return Fit(left, top, inner[0], inner[1], (outer[0], outer[1]))


def prepare(
    frame: UInt8[np.ndarray, "h w 3"],
) -> tuple[UInt8[np.ndarray, "H W 3"], Fit]:
    """The network's BGR picture of an RGB frame, black around it, and its place."""
    place = fit(frame.shape[1], frame.shape[0])
    size = (place.width, place.height)
    resized = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    picture = np.zeros((place.picture_wh[1], place.picture_wh[0], 3), np.uint8)
    rows = slice(place.top, place.top + place.height)
    picture[rows, place.left : place.left + place.width] = resized[:, :, ::-1]
    return picture, place


def detect(
    frames: Sequence[UInt8[np.ndarray, "h w 3"]], place: str | None = None
) -> list[Found]:
    """Boxes of each RGB frame, whatever the others are.

    Args:
      frames: of any sizes; each new size of the network's picture is compiled once.
      place: of the weight file, as `nanodet_file.read` takes it.

    Returns:
      for each frame (xyxy in pixels of the frame, clipped to it; score; index of the
      label in `LABELS`), the highest score first.

    Raises:
      ValueError: if the weight file is missing or another; says from where it comes.
    """
    network = nanodet.load(place)
    return [_detect_one(frame, network) for frame in frames]


def _detect_one(frame: UInt8[np.ndarray, "h w 3"], network: nanodet.Network) -> Found:
    picture, place = prepare(frame)
    scores, bins = network(picture)
    cell = nanodet.cells(*picture.shape[:2])
    xyxy, score, label = likely(scores, bins, cell, LEAST_SCORES)
    xyxy = in_frame(xyxy, place, (frame.shape[1], frame.shape[0]))
    kept = choose(xyxy, score, label)
    return xyxy[kept].astype(np.float32), score[kept], label[kept]


def likely(
    scores: Float[np.ndarray, "n 80"],
    bins: Float[np.ndarray, "n 44"],
    cell: Float[np.ndarray, "n 3"],
    least: Float[np.ndarray, " 80"],
) -> Found:
    """Boxes (in pixels of the picture) of cells whose best label scores enough.

    Args:
      scores: of each cell.
      bins: of each cell.
      cell: centre and stride of each (`nanodet.cells`).
      least: of each label, the score from which on it counts.
    """
    label = scores.argmax(1)
    score = scores[np.arange(len(scores)), label]
    chosen = np.flatnonzero(score >= least.astype(np.float32)[label])
    xyxy = nanodet.decode(bins[chosen], cell[chosen])
    return xyxy, score[chosen], label[chosen]


def in_frame(
    xyxy: Float[np.ndarray, "m 4"], place: Fit, frame_wh: tuple[int, int]
) -> Float[np.ndarray, "m 4"]:
    """Boxes in the picture as boxes in pixels of the frame, clipped to it."""
    corner = np.array([place.left, place.top] * 2)
    ratio = np.array(frame_wh) / np.array([place.width, place.height])
    return np.clip((xyxy - corner) * np.tile(ratio, 2), 0, np.tile(frame_wh, 2))


def choose(
    xyxy: Float[np.ndarray, "m 4"],
    score: Float[np.ndarray, " m"],
    label: Int[np.ndarray, " m"],
) -> Int[np.ndarray, " k"]:
    """The boxes that stay, the best first: not empty, no double, no twin."""
    kept = np.flatnonzero((xyxy[:, 2:] > xyxy[:, :2]).all(1))
    alone = in_labels(xyxy[kept], score[kept], label[kept], MAX_IOU, MAX_INSIDE)
    kept = kept[alone]
    return kept[body_boxes.suppress(xyxy[kept], score[kept], MAX_TWIN_IOU, 1.0)]


def in_labels(
    xyxy: Float[np.ndarray, "m 4"],
    score: Float[np.ndarray, " m"],
    label: Int[np.ndarray, " m"],
    max_iou: float,
    max_inside: float = 1.0,
) -> Int[np.ndarray, " k"]:
    """What `body_boxes.suppress` keeps within each label, the best first."""
    kept = [np.zeros(0, int)]
    for one in np.unique(label):
        members = np.flatnonzero(label == one)
        best = body_boxes.suppress(xyxy[members], score[members], max_iou, max_inside)
        kept.append(members[best])
    every = np.sort(np.concatenate(kept))
    return every[np.argsort(-score[every], kind="stable")]
