"""Compares this project's functions with recorded outputs of their references.

    python -m benchmarks.parity reserve DIR [--vocab FILE]
    python -m benchmarks.parity mtcnn DIR --media MEDIA_DIR
    python -m benchmarks.parity unitrack DIR

print, for each array of a golden folder, the largest difference and its tolerance.
Exit status 1 if an array is beyond its tolerance or if one that is no input was not
compared; 2 if the folder is missing or not of the form. Any folder of that form will
do: what differs is read from the folder.
"""

import argparse
import json
import pathlib
import sys
from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from benchmarks.golden import compare, files, folder, unitrack
from preprocessing import face_boxes, mtcnn, resizing

Row = tuple[str, float, float]  # array, largest difference, tolerance

# The first network's numbers: OpenCV's fast convolutions round more than torch's.
_FIRST = 2e-5
# Boxes and landmarks in pixels; the README of the golden folder states 1e-3.
_TOLERANCE = {"boxes": 1e-3, "probs": 1e-4, "landmarks": 1e-3}


_MTCNN_INPUTS = {
    "batch320/pixels",
    "stages/pixels_index",
    "stages/rnet_in",
    "stages/onet_in",
}


def mtcnn_rows(golden: pathlib.Path, media: pathlib.Path) -> Iterator[Row]:
    """Every array of the MTCNN folder but its inputs."""
    with np.load(golden / "mtcnn_golden.npz") as arrays:
        yield from mtcnn_stages(arrays)
        yield from mtcnn_batch(arrays)
        for entry in json.loads((golden / "index.json").read_text())["images"]:
            yield from mtcnn_picture(arrays, golden, media, entry["key"])


def mtcnn_stages(arrays) -> Iterator[Row]:
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


def _first_stage(arrays, name: str, sums: np.ndarray) -> Iterator[Row]:
    resized = np.moveaxis(arrays[f"{name}/resized"], 0, -1)
    size = sums.shape[0] - 1, sums.shape[1] - 1
    ours = resizing.shrink(sums, resizing.shrinking(size, resized.shape[:2]))
    yield _row(f"{name}/resized", ours, resized, 1e-3)
    offsets, probability = mtcnn.pnet(ours)
    yield _row(f"{name}/pnet_reg", offsets, arrays[f"{name}/pnet_reg"], _FIRST)
    yield _row(f"{name}/pnet_prob", probability, arrays[f"{name}/pnet_prob"], _FIRST)


def mtcnn_batch(arrays) -> Iterator[Row]:
    """Six small pictures in one call, in both orders."""
    found = face_boxes.detect(list(arrays["batch320/pixels"]))
    for j, one in enumerate(found):
        yield from _faces(arrays, f"batch320/{j}", one)
        order = np.argsort(-one[1])
        by_probability = tuple(array[order] for array in one)
        yield from _faces(arrays, f"batch320/{j}/by_probability", by_probability)


def mtcnn_picture(
    arrays, golden: pathlib.Path, media: pathlib.Path, key: str
) -> Iterator[Row]:
    """One picture in both settings."""
    index = json.loads((golden / "index.json").read_text())
    entry = next(entry for entry in index["images"] if entry["key"] == key)
    pixels = cv2.imread(str(media / entry["image"]), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError(f"{media / entry['image']} is missing or no picture")
    pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    for run in ("default", "strict"):
        settings = face_boxes.Settings(
            min_face_px=index[run]["min_face_size"],
            thresholds=tuple(index[run]["thresholds"]),
            factor=index[run]["factor"],
        )
        (found,) = face_boxes.detect([pixels], settings)
        yield from _faces(arrays, f"{key}/{run}", found)


def _faces(arrays, name: str, found: tuple) -> Iterator[Row]:
    for ours, (part, tolerance) in zip(found, _TOLERANCE.items(), strict=True):
        yield _row(f"{name}/{part}", ours, arrays[f"{name}/{part}"], tolerance)


def _row(name: str, ours, theirs: np.ndarray, tolerance: float) -> Row:
    """Arrays of different shapes differ by infinity."""
    if np.shape(ours) != theirs.shape:
        return name, float("inf"), tolerance
    return name, float(np.abs(ours - theirs).max(initial=0.0)), tolerance


def _print_mtcnn(options: argparse.Namespace) -> int:
    is_close, compared = True, set()
    try:
        for name, difference, tolerance in mtcnn_rows(options.golden, options.media):
            is_over = not difference <= tolerance
            is_close &= not is_over
            compared.add(name)
            mark = "  OVER" if is_over else ""
            print(f"{name:40} {difference:.1e}  tolerance {tolerance:.0e}{mark}")
    except KeyError as error:
        raise ValueError(f"{options.golden}: {error.args[0]}") from error
    with np.load(options.golden / "mtcnn_golden.npz") as arrays:
        left_out = set(arrays.files) - compared - _MTCNN_INPUTS
    for name in sorted(left_out):
        print(f"{name:40} NOT COMPARED")
    return 0 if is_close and not left_out else 1


def _print_reserve(options: argparse.Namespace) -> int:
    golden = folder.Golden(options.golden, options.vocab)
    return _print_all(options.golden, files.Checker(golden).all())


def _print_unitrack(options: argparse.Namespace) -> int:
    return _print_all(options.golden, unitrack.rows(options.golden))


def _print_all(
    golden: pathlib.Path, verdicts: Iterable[tuple[str, list[compare.Row]]]
) -> int:
    """A line per verdict, and the arrays without one."""
    over, left_out, count = [], [], 0
    for name, rows in verdicts:
        count += 1
        if not rows:
            left_out.append(name)
        for row in rows:
            print(_line(row), flush=True)
        if any(row.is_over for row in rows):
            over.append(name)
    if not count:
        raise ValueError(f"{golden}: holds no array to compare")
    for name in left_out:
        print(f"{name:80} NOT COMPARED")
    print(
        f"{count - len(left_out)} arrays compared, {len(over)} beyond tolerance,"
        f" {len(left_out)} not compared"
    )
    return 1 if over or left_out else 0


def _line(row: compare.Row) -> str:
    measure = f"  ({row.measure})" if row.measure else ""
    mark = "  OVER" if row.is_over else ""
    numbers = f"{row.difference:.1e}  tolerance {row.tolerance:.1e}"
    return f"{row.name:80} {numbers}{measure}{mark}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parity")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("mtcnn", help="the face detector")
    command.add_argument("golden", type=pathlib.Path, metavar="DIR")
    command.add_argument("--media", type=pathlib.Path, required=True)
    command.set_defaults(run=_print_mtcnn)
    command = commands.add_parser("reserve", help="MERLOT-Reserve and its training")
    command.add_argument("golden", type=pathlib.Path, metavar="DIR")
    command.add_argument(
        "--vocab",
        type=pathlib.Path,
        default=folder.VOCABULARY,
        metavar="FILE",
        help="MERLOT-Reserve's lowercase_encoder.json (default: the one in ../shared)",
    )
    command.set_defaults(run=_print_reserve)
    command = commands.add_parser("unitrack", help="the tracker of boxes")
    command.add_argument("golden", type=pathlib.Path, metavar="DIR")
    command.set_defaults(run=_print_unitrack)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Prints a line per array; the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except (OSError, ValueError) as error:
        print(f"python -m benchmarks.parity: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
