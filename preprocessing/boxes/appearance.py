"""Features of boxes' pixels, 4 x 10 positions each, which the tracker compares.

Both describers make a map of features of the whole frame and cut each box out of it
with RoIAlign, as UniTrack does (boxes.md section 4); they differ
in the features alone. A describer is a function

    (RGB frame (h, w, 3) uint8, xyxy (m, 4) in its pixels) -> (m, channels, 4, 10)

and the channels' scale does not matter to the tracker, their mixture does.
"""

import os
from collections.abc import Callable, Iterator

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from preprocessing.boxes import onnx_file
from preprocessing.boxes.unitrack import coordinates, roi_align

Features = Float[np.ndarray, "m c 4 10"]
Describe = Callable[[UInt8[np.ndarray, "h w 3"], Float[np.ndarray, "m 4"]], Features]

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32)
STAGE_STRIDE = 8  # of UniTrack's ResNet-18 stage, on 640 x 480

MAX_SIDE_PX, CELL_PX = 640, 4  # frame and cell of the map of colours and gradients
ORIENTATIONS, STEP_DEG = 6, 2  # directions of edges, and how finely they are told
# Of 8-bit Lab, so that lightness, colour and edges have about equal say.
_LAB_CENTRE = np.array([127.5, 128.0, 128.0], np.float32)
_LAB_RANGE = np.array([63.75, 12.0, 12.0], np.float32)
_EDGE_RANGE = 15.3  # lightness per pixel
_LEVELS = np.arange(256, dtype=np.float32)  # of an 8-bit plane


def load(path: str | os.PathLike | None = None) -> Describe:
    """The describer of an ONNX file, or `colour_gradient` where there is none."""
    return colour_gradient if path is None else OnnxFeatures(path)


def colour_gradient(
    frame: UInt8[np.ndarray, "h w 3"], xyxy: Float[np.ndarray, "m 4"]
) -> Features:
    """Lab colour, its spread, and edges by direction: 12 channels, no weights.

    Departs: UniTrack has a ResNet-18's features; see `OnnxFeatures`.
    """
    scale = min(1.0, MAX_SIDE_PX / max(frame.shape[:2]))
    size = [max(1, round(side * scale / CELL_PX)) for side in frame.shape[1::-1]]
    # Whole cells: means over whole numbers of pixels are several times quicker.
    small_wh = [side * CELL_PX for side in size]
    small = cv2.resize(frame, small_wh, interpolation=cv2.INTER_AREA)
    cells = [
        cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
        for plane in _planes(small)
    ]
    factor = [size[0] / frame.shape[1], size[1] / frame.shape[0]]
    boxes = np.asarray(xyxy, np.float64) * (factor * 2)
    feature = roi_align.roi_align(np.stack(cells), boxes)
    variance = feature[:, 3:6] - feature[:, :3] ** 2
    feature[:, 3:6] = np.sqrt(np.maximum(variance, 0.0))
    return feature


def _planes(frame: UInt8[np.ndarray, "h w 3"]) -> Iterator[Float[np.ndarray, "h w"]]:
    """Lab, its squares and the edges of each direction: 3 + 3 + 6 planes.

    From 8-bit tables and one plane after another: memory bounds the speed.
    """
    lab = cv2.split(cv2.cvtColor(frame, cv2.COLOR_RGB2LAB))
    for table in (_COLOURS, _COLOURS**2):
        yield from map(cv2.LUT, lab, table)
    across = cv2.Sobel(lab[0], cv2.CV_32F, 1, 0, scale=1 / 8 / _EDGE_RANGE)
    down = cv2.Sobel(lab[0], cv2.CV_32F, 0, 1, scale=1 / 8 / _EDGE_RANGE)
    strength, degrees = cv2.cartToPolar(across, down, angleInDegrees=True)
    steps = cv2.convertScaleAbs(degrees, alpha=1 / STEP_DEG)
    for share in _SHARES:
        yield cv2.LUT(steps, share) * strength


def _shares() -> Float[np.ndarray, "k 256"]:
    """What each orientation has of an edge, by the edge's direction in steps.

    An edge is shared between the two nearest ones; opposite directions are one.
    """
    turn = _LEVELS * (STEP_DEG / 180 * ORIENTATIONS)
    apart = np.abs(turn % ORIENTATIONS - np.arange(ORIENTATIONS)[:, None])
    apart = np.minimum(apart, ORIENTATIONS - apart)
    return np.clip(1.0 - apart, 0.0, None).astype(np.float32)


_COLOURS = (_LEVELS - _LAB_CENTRE[:, None]) / _LAB_RANGE[:, None]
_SHARES = _shares()


class OnnxFeatures:
    """Features of a user's ONNX network, such as a ResNet-18 stage.

    UniTrack's is torchvision's ResNet-18 up to `layer3` with stride 1 in that: 256
    channels at stride 8 of a 640 x 480 picture, RGB with ImageNet's mean and deviation.

    Raises:
      ValueError: if the file is no network from (1, 3, 480, 640) to (1, c, 60, 80).
    """

    def __init__(self, path: str | os.PathLike):
        self._network = onnx_file.Network(path)
        width, height = coordinates.TEST_WH
        if self._network.input_hw != (height, width):
            actual = " x ".join(map(str, self._network.input_hw))
            raise ValueError(
                f"{path}: expected a network of {height} x {width} pixels (height x"
                f" width), found {actual}"
            )
        shape = self._network(np.zeros((1, 3, height, width), np.float32)).shape
        cells = (height // STAGE_STRIDE, width // STAGE_STRIDE)
        if len(shape) != 4 or shape[0] != 1 or shape[2:] != cells:
            raise ValueError(
                f"{path}: expected features (1, channels, {cells[0]}, {cells[1]}),"
                f" which is stride {STAGE_STRIDE}, found {shape}"
            )

    def __call__(
        self, frame: UInt8[np.ndarray, "h w 3"], xyxy: Float[np.ndarray, "m 4"]
    ) -> Features:
        """See the module."""
        picture = coordinates.letterbox(frame) / np.float32(255)
        picture = (picture - IMAGENET_MEAN) / IMAGENET_STD
        (features,) = self._network(picture.transpose(2, 0, 1)[None])
        wh = (frame.shape[1], frame.shape[0])
        return roi_align.roi_align(features, _on_letterbox(xyxy, wh) / STAGE_STRIDE)


def _on_letterbox(
    xyxy: Float[np.ndarray, "m 4"], wh: coordinates.Size
) -> Float[np.ndarray, "m 4"]:
    """Boxes of the frame in pixels of the letterboxed picture.

    The way back is `coordinates.in_resized` and `in_video`, which are affine: two
    points give it.
    """
    resized = coordinates.resized_wh(wh)
    points = np.array([[0.0, 0.0, 1.0, 1.0]])
    low, high = np.split(
        coordinates.in_video(coordinates.in_resized(points, resized), wh), 2, axis=1
    )
    return (np.asarray(xyxy, np.float64) - np.tile(low, 2)) / np.tile(high - low, 2)
