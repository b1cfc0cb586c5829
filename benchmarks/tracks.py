"""Scores how well identities last, with and without the looks of boxes.

    python -m benchmarks.tracks MEDIA_DIR [--clips NAME ...] [--appearance FILE]

detects persons in every frame of MEDIA_DIR/videos and tracks them with each kind of
looks: "colours" (the default describer), "none" (all boxes look alike, motion alone
decides), "network" (the user's ONNX file). `benchmarks.golden_tracks` does so with
the detections that the reference tracker was given.

No clip has true tracks, so what is told is what can be seen without them:

* ids: tracks reported, and how many frames the median one lasts;
* started inside: tracks that begin after the first frames and away from the picture's
  border. Nobody appears there unless from behind something, so most are the second
  piece of a broken track, or the first sight of somebody missed before;
* switches: points inside a detection are followed into the next frame by optical flow
  (there and back). Where nearly all land in one box, it is the same person, and two
  different ids are a switch. That the tracker knows nothing of the flow makes it an
  independent witness, but of single steps alone: a person who is lost behind a post
  and comes back under a new id counts among "started inside".
"""

import argparse
import collections
import pathlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from benchmarks import boxes, commands, flow
from preprocessing.boxes import appearance, body_boxes
from preprocessing.boxes.unitrack import tracker

BORDER = 0.05  # share of the picture's side that counts as its border
FIRST_FRAMES = 2  # a track is reported from its second detection on

Ids = list[np.ndarray]  # of each frame: (m,) the id of each detection, -1 = none


class Frame(NamedTuple):
    """A frame's detections, xyxy (m, 4) in its pixels, and their looks."""

    xyxy: np.ndarray
    score: np.ndarray
    category: np.ndarray
    feature: np.ndarray


class Counts(NamedTuple):
    """What can be told of a clip without true tracks."""

    ids: int
    median_length: float
    started_inside: int
    switches: int
    links: int

    def __str__(self) -> str:
        rate = boxes.share(self.switches, self.links)
        return (
            f"{self.ids:3} ids of {self.median_length:5.1f} frames,"
            f" {self.started_inside:3} started inside,"
            f" switches {self.switches}/{self.links} {rate}"
        )


def follow(frames: Iterable[Frame], settings: tracker.Settings) -> Ids:
    """Which id each detection is reported under."""
    machine, ids = tracker.Tracker(settings), []
    for frame in frames:
        ids_here = np.full(len(frame.score), -1)
        if len(ids_here):  # else the tracker is not called, as upstream
            tlwh = frame.xyxy.astype(np.float64)
            tlwh[:, 2:] -= tlwh[:, :2]
            reported = machine.update(
                tracker.Detections(tlwh, frame.score, frame.category, frame.feature)
            )
            took = reported.detection >= 0
            ids_here[reported.detection[took]] = reported.id[took]
        ids.append(ids_here)
    return ids


def count(
    detected: Sequence[np.ndarray],
    ids: Ids,
    links: Sequence[np.ndarray],
    size: tuple[int, int],
) -> Counts:
    """Counts of one clip.

    Args:
      detected: of each frame, (m, 4).
      ids: of each frame, (m,).
      links: of each frame but the last, (k, 2): detections of it and of the next frame
        that are the same person.
      size: width and height of the picture.
    """
    length: dict[int, int] = collections.Counter()
    inside = switches = checked = 0
    for number, (xyxy, ids_here) in enumerate(zip(detected, ids, strict=True)):
        for box, one in zip(xyxy, ids_here, strict=True):
            is_new = one >= 0 and one not in length
            inside += is_new and number >= FIRST_FRAMES and not at_border(box, size)
            if one >= 0:
                length[one] += 1
    for before, after, pairs in zip(ids, ids[1:], links, strict=False):
        pair = np.stack([before[pairs[:, 0]], after[pairs[:, 1]]])
        known = (pair >= 0).all(0)
        checked += int(known.sum())
        switches += int((known & (pair[0] != pair[1])).sum())
    median = float(np.median(list(length.values()))) if length else 0.0
    return Counts(len(length), median, int(inside), switches, checked)


def at_border(box: np.ndarray, size: tuple[int, int]) -> bool:
    """Whether a box touches the picture's border."""
    side = np.array(size, float)
    return bool(
        (box[:2] < BORDER * side).any() or (box[2:] > side * (1 - BORDER)).any()
    )


def looks_of(network: pathlib.Path | None) -> dict[str, appearance.Describe]:
    """Name -> describer."""
    describers = {"none": alike, "colours": appearance.colour_gradient}
    if network is not None:
        describers["network"] = appearance.OnnxFeatures(network)
    return describers


def alike(frame: np.ndarray, xyxy: np.ndarray) -> np.ndarray:
    """Looks that are all the same."""
    return np.ones((len(xyxy), 1, 4, 10), np.float32)


def read_video(path: pathlib.Path) -> tuple[list[np.ndarray], float]:
    """RGB frames and frames a second.

    Raises:
      ValueError: if it is no video.
    """
    video, frames = cv2.VideoCapture(str(path)), []
    while True:
        is_there, frame = video.read()
        if not is_there:
            break
        frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    if not frames:
        raise ValueError(f"{path}: is no video that OpenCV can read")
    return frames, round(video.get(cv2.CAP_PROP_FPS)) or 25


def media_lines(
    media: pathlib.Path,
    clips: Sequence[str],
    looks: dict[str, appearance.Describe],
    detect: Callable = body_boxes.detect,
) -> Iterator[str]:
    """One line per clip and kind of looks."""
    paths = sorted((media / "videos").glob("*.mp4"))
    chosen = [path for path in paths if not clips or path.stem in clips]
    if not chosen or len(chosen) < len(clips):
        names = ", ".join(path.stem for path in paths) or "none"
        raise ValueError(f"{media}: its videos are {names}; asked for {clips or 'any'}")
    for path in chosen:
        frames, fps = read_video(path)
        detected = [detect([frame])[0] for frame in frames]
        settings = tracker.Settings(conf_thres=0.0, frame_rate=fps)
        yield from clip_lines(path.stem, frames, detected, settings, looks)


def clip_lines(
    name: str,
    frames: Sequence[np.ndarray],
    detected: Sequence[tuple[np.ndarray, np.ndarray]],
    settings: tracker.Settings,
    looks: dict[str, appearance.Describe],
) -> Iterator[str]:
    """One line per kind of looks; (xyxy, score) are those of the frames."""
    size = (frames[0].shape[1], frames[0].shape[0])
    xyxy = [box for box, _ in detected]
    links = flow.links(frames, xyxy)
    for kind, describe in looks.items():
        described = (
            Frame(box, score, np.zeros(len(score), int), describe(frame, box))
            for frame, (box, score) in zip(frames, detected, strict=True)
        )
        ids = follow(described, settings)
        yield f"{name:22} {kind:9} {count(xyxy, ids, links, size)}"


def tell(prog: str, lines: Callable[[], Iterable[str]]) -> int:
    """Prints lines as they come; the exit status, 2 for what a user can mend."""

    def work() -> int:
        for line in lines():
            print(line, flush=True)
        return 0

    return commands.status(prog, work)


def main(arguments: list[str] | None = None) -> int:
    """Prints the lines; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tracks")
    parser.add_argument("media", type=pathlib.Path, metavar="MEDIA_DIR")
    parser.add_argument("--clips", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--appearance", type=pathlib.Path, metavar="FILE")
    options = parser.parse_args(arguments)

    def lines() -> Iterator[str]:
        looks = looks_of(options.appearance)
        return media_lines(options.media, options.clips, looks)

    return tell(parser.prog, lines)


if __name__ == "__main__":
    sys.exit(main())
