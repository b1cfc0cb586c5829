"""YOLOX from a user's ONNX file: what UniTrack detects with, all classes kept.

boxes.md section 3, steps 2 to 5. The file is what YOLOX's own
export makes: undecoded outputs (1, n, 5 + classes) of strides 8, 16, 32.
"""

import functools
import os
from collections.abc import Sequence
from typing import Any, Literal, get_args

import cv2
import numpy as np
from jaxtyping import Float, Int, Real, UInt8

from preprocessing.boxes import body_boxes, onnx_file
from preprocessing.boxes.unitrack import coordinates

STRIDES = (8, 16, 32)
GREY = 114  # below and to the right of the picture
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_STD = np.array([0.229, 0.224, 0.225], np.float32)
_MAX_LOG_SIZE = 10.0  # e^10 strides: no side is so long, pixels are soon above it

# How the pixels are given to the network. "none": BGR, 0 to 255, which weights of
# YOLOX 0.1.1 and later were trained on. "imagenet": RGB less ImageNet's mean, by its
# deviation: weights of 0.1.0, which UniTrack used. "unitrack": for the same weights,
# the picture as UniTrack gives it: fitted to 640 x 480 in the middle of grey, and red
# and blue exchanged (it hands RGB to a function that takes BGR).
Normalise = Literal["none", "imagenet", "unitrack"]

COCO = tuple(
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,"
    "fire hydrant,stop sign,parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,"
    "bear,zebra,giraffe,backpack,umbrella,handbag,tie,suitcase,frisbee,skis,snowboard,"
    "sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,tennis racket,"
    "bottle,wine glass,cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,"
    "carrot,hot dog,pizza,donut,cake,chair,couch,potted plant,bed,dining table,toilet,"
    "tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink,"
    "refrigerator,book,clock,vase,scissors,teddy bear,hair drier,toothbrush".split(",")
)

Found = tuple[Float[np.ndarray, "m 4"], Float[np.ndarray, " m"], Int[np.ndarray, " m"]]


def prepare(
    image_bgr: Real[np.ndarray, "h w 3"],
    input_hw: tuple[int, int],
    normalise: Normalise = "imagenet",  # as UniTrack's YOLOX
) -> tuple[Float[np.ndarray, "3 H W"], float]:
    """The network's input, and by what the picture was scaled to fit into it.

    The picture, values from 0 to 255, lies top left; the rest is grey 114.
    """
    height, width = (int(size) for size in input_hw)
    ratio = min(height / image_bgr.shape[0], width / image_bgr.shape[1])
    size = (int(image_bgr.shape[1] * ratio), int(image_bgr.shape[0] * ratio))
    resized = cv2.resize(image_bgr, size, interpolation=cv2.INTER_LINEAR)
    padded = np.full((height, width, 3), GREY, np.float32)
    padded[: size[1], : size[0]] = resized
    if normalise != "none":
        padded = (padded[:, :, ::-1] / np.float32(255) - _MEAN) / _STD
    return np.ascontiguousarray(padded.transpose(2, 0, 1)), ratio


@functools.lru_cache(maxsize=8)
def _cells(input_hw: tuple[int, int]) -> Float[np.ndarray, "n 3"]:
    """Column, row and stride of each output: by stride, then row by row."""
    parts = []
    for stride in STRIDES:
        rows, cols = np.indices((input_hw[0] // stride, input_hw[1] // stride))
        cell = np.stack([cols, rows, np.full_like(rows, stride)], -1)
        parts.append(cell.reshape(-1, 3))
    return np.concatenate(parts).astype(np.float32)


def decode(
    raw: Float[np.ndarray, "n k"], input_hw: tuple[int, int]
) -> Float[np.ndarray, "n k"]:
    """Outputs with centre x, centre y, width, height in pixels of the input."""
    cells = _cells((int(input_hw[0]), int(input_hw[1])))
    decoded = np.array(raw, np.float32)
    decoded[:, :2] = (decoded[:, :2] + cells[:, :2]) * cells[:, 2:]
    decoded[:, 2:4] = np.exp(decoded[:, 2:4]) * cells[:, 2:]
    return decoded


def detections(
    decoded: Float[np.ndarray, "n k"], min_score: float, max_iou: float
) -> Float[np.ndarray, "m 7"]:
    """x1, y1, x2, y2, objectness, class confidence, class; the best score first.

    A box keeps its likeliest class and stays if objectness * confidence is at least
    `min_score` and no better box of that class overlaps it by more than `max_iou`.
    """
    category = decoded[:, 5:].argmax(1)
    confidence = decoded[np.arange(len(decoded)), 5 + category]
    likely = np.flatnonzero(decoded[:, 4] * confidence >= min_score)
    centre, half = decoded[likely, :2], decoded[likely, 2:4] / np.float32(2)
    rows = np.column_stack(
        [
            centre - half,
            centre + half,
            decoded[likely, 4],
            confidence[likely],
            category[likely],
        ]
    ).astype(np.float32)
    score, kept = rows[:, 4] * rows[:, 5], []
    for one in np.unique(rows[:, 6]):
        members = np.flatnonzero(rows[:, 6] == one)
        best = body_boxes.suppress(
            rows[members, :4], score[members], max_iou, max_inside=1.0
        )
        kept.append(members[best])
    kept = np.sort(np.concatenate([np.zeros(0, int), *kept]))
    return rows[kept[np.argsort(-score[kept], kind="stable")]]


class Yolox:
    """The detector of one ONNX file.

    Attributes:
      labels: the name of each class.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        classes: Sequence[str] | None = None,
        min_score: float = 0.65,  # boxes.md section 3, step 4
        max_iou: float = 0.65,
        normalise: Normalise = "none",
    ):
        """Loads the file and runs it once.

        Args:
          path: of the ONNX file.
          classes: the name of each class in the model's order; None = COCO's 80, for a
            model of 80 classes.
          min_score: of objectness * class confidence.
          max_iou: with a better box of the same class.
          normalise: how pixels are given: see `Normalise`.

        Raises:
          ValueError: if the file is not what YOLOX exports, or the names do not fit.
        """
        if normalise not in get_args(Normalise):
            known = ", ".join(get_args(Normalise))
            raise ValueError(f"normalise={normalise!r}: must be one of {known}")
        for name, value in (("min_score", min_score), ("max_iou", max_iou)):
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name}={value}: must be from 0 to 1")
        self._network = onnx_file.Network(path)
        self._min_score, self._max_iou = float(min_score), float(max_iou)
        self._normalise: Normalise = normalise
        count = self._count_classes()
        if classes is None and count != len(COCO):
            raise ValueError(
                f"{path}: expected the 80 classes of COCO, found {count}; give the"
                " names of its classes in the model's order"
            )
        self.labels = COCO if classes is None else tuple(classes)
        if len(self.labels) != count:
            raise ValueError(
                f"{path}: expected {len(self.labels)} classes, as many as there are"
                f" names, found {count}"
            )

    def settings(self) -> dict[str, Any]:
        """All that the boxes depend on, as JSON holds it."""
        return {
            "detector": "yolox",
            "sha256": self._network.sha256,
            "min_score": self._min_score,
            "max_iou": self._max_iou,
            "normalise": self._normalise,
            "labels": list(self.labels),
        }

    def detect(self, frames: Sequence[UInt8[np.ndarray, "h w 3"]]) -> list[Found]:
        """Boxes of each RGB frame, whatever the others are.

        Returns:
          for each frame (xyxy in pixels of the frame, float32, not clipped to it;
          score = objectness * class confidence; class), the best score first.
        """
        return [self._detect_one(frame) for frame in frames]

    def _detect_one(self, frame: UInt8[np.ndarray, "h w 3"]) -> Found:
        hw, wh = self._network.input_hw, (frame.shape[1], frame.shape[0])
        is_unitrack = self._normalise == "unitrack"
        picture = coordinates.letterbox(frame) if is_unitrack else frame[:, :, ::-1]
        pixels, ratio = prepare(np.ascontiguousarray(picture), hw, self._normalise)
        rows = detections(
            decode(self._network(pixels[None])[0], hw), self._min_score, self._max_iou
        )
        xyxy = rows[:, :4].astype(np.float64) / ratio
        if is_unitrack:
            xyxy = coordinates.in_resized(xyxy, coordinates.resized_wh(wh))
            xyxy = coordinates.in_video(xyxy, wh)
        return (
            xyxy.astype(np.float32),
            rows[:, 4] * rows[:, 5],
            rows[:, 6].astype(np.int64),
        )

    def _count_classes(self) -> int:
        """From the output for a grey picture, which must be of YOLOX's layout."""
        path, hw = self._network.path, self._network.input_hw
        size = f"{hw[0]} x {hw[1]}"
        if hw[0] % STRIDES[-1] or hw[1] % STRIDES[-1]:
            raise ValueError(
                f"{path}: expected an input whose height and width are multiples of"
                f" {STRIDES[-1]}, found {size}"
            )
        count = sum((hw[0] // s) * (hw[1] // s) for s in STRIDES)
        expected = f"{path}: expected YOLOX's output (1, {count}, 5 + classes)"
        raw = self._network(np.full((1, 3, *hw), GREY, np.float32))
        if raw.ndim != 3 or raw.shape[:2] != (1, count) or raw.shape[2] < 6:
            raise ValueError(f"{expected} for {size} pixels, found {raw.shape}")
        if raw[0, :, 2:4].max() > _MAX_LOG_SIZE:
            raise ValueError(
                f"{expected} with undecoded boxes, found sizes in pixels; export it"
                " without --decode_in_inference"
            )
        if raw[0, :, 4:].min() < 0 or raw[0, :, 4:].max() > 1:
            raise ValueError(f"{expected} with scores from 0 to 1, found others")
        return raw.shape[2] - 5
