"""Times NanoDet (80 labels) against the person detector, on whole frames.

    python -m benchmarks.nanodet_speed MEDIA_DIR [--rounds N] [--nanodet PATH]

Both take turns in one process, one thread each, on frames of MEDIA_DIR/videos that are
stretched to each size; resizing, decoding and suppression are included. It prints CPU
milliseconds a frame (medians over the rounds), `x`, the median of the rounds' ratios
(below 1: NanoDet is faster), what the first frame of a size costs NanoDet (compiling),
and how many people and other things were found. Exit status 2 if a file is missing.
"""

import argparse
import os
import pathlib
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from preprocessing.work import workers

if __name__ == "__main__":  # before the libraries are loaded that read it
    os.environ.update(workers.ONE_THREAD)  # as in a worker

import cv2  # noqa: E402
import numpy as np  # noqa: E402

from benchmarks import commands, face_speed  # noqa: E402
from preprocessing.boxes import body_boxes, nanodet, nanodet_boxes  # noqa: E402

FRAMES = 4
SIZES = (*face_speed.SIZES, (640, 480))


class Result(NamedTuple):
    """CPU milliseconds a frame, the ratio, the first frame's, and what was found."""

    nanodet: float
    ssdlite: float
    ratio: float
    first: float
    persons: int
    others: int
    bodies: int


def _seconds(detect: Callable[..., object], frames: Sequence[np.ndarray]) -> float:
    start = time.process_time()
    detect(frames)
    return time.process_time() - start


def compare(
    frames: Sequence[np.ndarray], rounds: int, place: str | None = None
) -> Result:
    """Both on the frames, `rounds` times; first calls are not among them.

    Args:
      frames: RGB, of one size.
      rounds: how often.
      place: of NanoDet's file, as `nanodet_file.read` takes it.

    Raises:
      ValueError: if a weight file is missing.
    """

    def detect(several: Sequence[np.ndarray]) -> list[nanodet_boxes.Found]:
        return nanodet_boxes.detect(several, place)

    nanodet.load(place)
    first = _seconds(detect, frames[:1])
    labels = np.concatenate([label for _, _, label in detect(frames)])
    bodies = sum(len(score) for _, score in body_boxes.detect(frames))
    pairs = [
        (_seconds(detect, frames), _seconds(body_boxes.detect, frames))
        for _ in range(rounds)
    ]
    scale = 1e3 / len(frames)
    ours, theirs = (
        scale * statistics.median(side) for side in zip(*pairs, strict=True)
    )
    ratio = statistics.median(one / two for one, two in pairs)
    persons = int((labels == 0).sum())
    return Result(
        ours, theirs, ratio, 1e3 * first, persons, len(labels) - persons, bodies
    )


def run(options: argparse.Namespace) -> int:
    """Prints a line per size; the exit status."""
    cv2.setNumThreads(1)
    print(f"{'size':>9}  NanoDet ms  SSDLite ms  x     first ms  found")
    for width, height in SIZES:
        frames = face_speed.read_frames(options.media, (width, height), FRAMES)
        result = compare(frames, options.rounds, options.nanodet)
        print(
            f"{width:>4}x{height:<4}  {result.nanodet:10.1f}  {result.ssdlite:10.1f}"
            f"  {result.ratio:.2f}  {result.first:8.0f}  {result.persons} persons,"
            f" {result.others} others; SSDLite {result.bodies} persons",
            flush=True,
        )
    return 0


def main(arguments: list[str] | None = None) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nanodet_speed")
    parser.add_argument("media", type=pathlib.Path, metavar="MEDIA_DIR")
    parser.add_argument("--rounds", type=int, default=9)
    text = "NanoDet's weights (default: where make labels puts them)"
    parser.add_argument("--nanodet", metavar="PATH", help=text)
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return commands.status(parser.prog, lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
