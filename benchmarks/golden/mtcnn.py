"""MTCNN's arrays of a golden folder against ours."""

import json
import pathlib
from collections.abc import Iterator, Mapping

import cv2
import numpy as np
import numpy.typing as npt
from jaxtyping import UInt8

from benchmarks.golden.compare import Row
from preprocessing.boxes import face_boxes, mtcnn, resizing

# The first network's numbers: OpenCV's fast convolutions round more than torch's.
_FIRST = 2e-5
# Boxes and landmarks in pixels; the README of the golden folder states 1e-3.
_TOLERANCE = {"boxes": 1e-3, "probs": 1e-4, "landmarks": 1e-3}


_INPUTS = {
    "batch320/pixels",
    "stages/pixels_index",
    "stages/rnet_in",
    "stages/onet_in",
}


def rows(golden: pathlib.Path, media: pathlib.Path) -> Iterator[tuple[str, list[Row]]]:
    """The verdict on every array of the folder but its inputs; none if not compared.

    Raises:
      ValueError: if an array or a picture that is needed is missing.
      OSError: if a file of the folder is.
    """
    compared = set()
    with np.load(golden / "mtcnn_golden.npz") as arrays:
        try:
            for row in _all(arrays, golden, media):
                compared.add(row.name)
                yield row.name, [row]
        except KeyError as error:
            raise ValueError(f"{golden}: {error.args[0]}") from error
        left_out = set(arrays.files) - compared - _INPUTS
    yield from ((name, []) for name in sorted(left_out))


def _all(
    arrays: Mapping[str, np.ndarray], golden: pathlib.Path, media: pathlib.Path
) -> Iterator[Row]:
    yield from stages(arrays)
    yield from batch(arrays)
    for entry in json.loads((golden / "index.json").read_text())["images"]:
        yield from picture(arrays, golden, media, entry["key"])


def stages(arrays: Mapping[str, np.ndarray]) -> Iterator[Row]:
    """The pyramid, the first stage at each of its levels, and the other networks."""
    pixels = arrays["batch320/pixels"][arrays["stages/pixels_index"]]
    height, width = pixels.shape[:2]
    sums = resizing.integral(pixels)
    scales = face_boxes.pyramid(width, height, face_boxes.Settings())
    yield _row("stages/scales", scales, arrays["stages/scales"], 1e-12)
    for level, scale in enumerate(scales):
        name = f"stages/scale{level}"
        cells = face_boxes.candidates(sums, width, height, scale, 0.6)
        yield _row(f"{name}/candidates", cells, arrays[f"{name}/candidates"], _FIRST)
        if f"{name}/resized" in arrays:
            yield from _first_stage(arrays, name, sums)
    crops = _pixels(arrays["stages/rnet_in"])
    offsets, probability = mtcnn.rnet(crops)
    yield _row("stages/rnet_reg", offsets, arrays["stages/rnet_reg"], 1e-5)
    both = np.stack([1 - probability, probability], 1)
    yield _row("stages/rnet_prob", both, arrays["stages/rnet_prob"], 1e-5)
    crops = _pixels(arrays["stages/onet_in"])
    offsets, points, probability = mtcnn.onet(crops)
    yield _row("stages/onet_reg", offsets, arrays["stages/onet_reg"], 1e-5)
    yield _row("stages/onet_landmarks", points, arrays["stages/onet_landmarks"], 1e-5)
    both = np.stack([1 - probability, probability], 1)
    yield _row("stages/onet_prob", both, arrays["stages/onet_prob"], 1e-5)


def _pixels(normalised: np.ndarray) -> np.ndarray:
    """What the reference's networks are given, as crops of pixels from 0 to 255."""
    return np.moveaxis(normalised, 1, -1) * np.float32(128) + np.float32(127.5)


def _first_stage(
    arrays: Mapping[str, np.ndarray], name: str, sums: np.ndarray
) -> Iterator[Row]:
    resized = np.moveaxis(arrays[f"{name}/resized"], 0, -1)
    size = sums.shape[0] - 1, sums.shape[1] - 1
    ours = resizing.shrink(sums, resizing.shrinking(size, resized.shape[:2]))
    yield _row(f"{name}/resized", ours, resized, 1e-3)
    offsets, probability = mtcnn.pnet(ours)
    yield _row(f"{name}/pnet_reg", offsets, arrays[f"{name}/pnet_reg"], _FIRST)
    yield _row(f"{name}/pnet_prob", probability, arrays[f"{name}/pnet_prob"], _FIRST)


def batch(arrays: Mapping[str, np.ndarray]) -> Iterator[Row]:
    """Six small pictures in one call, in both orders."""
    faces = face_boxes.detect(list(arrays["batch320/pixels"]))
    for j, one in enumerate(faces):
        yield from _faces(arrays, f"batch320/{j}", one)
        order = np.argsort(-one[1])
        by_probability = tuple(array[order] for array in one)
        yield from _faces(arrays, f"batch320/{j}/by_probability", by_probability)


def read_picture(media: pathlib.Path, entry: dict) -> UInt8[np.ndarray, "h w 3"]:
    """The RGB picture of an entry of the index, at the size the reference saw.

    `resized_to` is its width and height, None where the picture was taken as it is.

    Raises:
      ValueError: if there is no such picture, or `resized_to` is no size.
    """
    pixels = cv2.imread(str(media / entry["image"]), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError(f"{media / entry['image']} is missing or no picture")
    size = entry.get("resized_to")
    if size is not None:
        try:
            width, height = (int(side) for side in size)
            pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        except (TypeError, ValueError, cv2.error) as error:
            raise ValueError(
                f"{entry['image']}: resized_to is {size!r}, but must be [width, height]"
            ) from error
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def picture(
    arrays: Mapping[str, np.ndarray],
    golden: pathlib.Path,
    media: pathlib.Path,
    key: str,
) -> Iterator[Row]:
    """One picture in both settings."""
    index = json.loads((golden / "index.json").read_text())
    entry = next(entry for entry in index["images"] if entry["key"] == key)
    pixels = read_picture(media, entry)
    for run in ("default", "strict"):
        settings = face_boxes.Settings(
            min_face_px=index[run]["min_face_size"],
            thresholds=tuple(index[run]["thresholds"]),
            factor=index[run]["factor"],
        )
        (faces,) = face_boxes.detect([pixels], settings)
        yield from _faces(arrays, f"{key}/{run}", faces)


def _faces(arrays: Mapping[str, np.ndarray], name: str, faces: tuple) -> Iterator[Row]:
    for ours, (part, tolerance) in zip(faces, _TOLERANCE.items(), strict=True):
        yield _row(f"{name}/{part}", ours, arrays[f"{name}/{part}"], tolerance)


def _row(name: str, ours: npt.ArrayLike, theirs: np.ndarray, tolerance: float) -> Row:
    """Arrays of different shapes differ by infinity."""
    if np.shape(ours) != theirs.shape:
        return Row(name, float("inf"), tolerance)
    return Row(name, float(np.abs(ours - theirs).max(initial=0.0)), tolerance)
