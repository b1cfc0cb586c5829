"""Scores body and face detectors on the toy set, whose true boxes are known.

    python -m benchmarks.toy_boxes RAW_DIR [--clips 30] [--frames 4]

Prints for bodies that are at least 60 % visible (IoU 0.5) and for faces at least 24 px
high with both eyes drawn (IoU 0.4) the recall with its 95 % interval over clips, and
the precision of all detections. A detection on a true box that need not be found
(a smaller face, a body more hidden) is neither right nor wrong.
"""

import argparse
import json
import pathlib
from collections.abc import Callable

import cv2
import numpy as np

from mmdiffmask import statistics
from preprocessing.boxes import body_boxes, face_boxes

MIN_VISIBLE, MIN_FACE_PX = 0.6, 24
MIN_IOU = {"person": 0.5, "face": 0.4}
RESAMPLES = 2000

Counts = tuple[int, int, int, int]  # found, to find, right detections, wrong ones


def main() -> None:
    """Prints a line per detector."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("raw", type=pathlib.Path, metavar="RAW_DIR")
    parser.add_argument("--clips", type=int, default=30, help="the first ones")
    parser.add_argument("--frames", type=int, default=4, help="of each clip")
    args = parser.parse_args()
    if not (args.raw / "boxes.jsonl").is_file():
        parser.error(f"{args.raw}: no boxes.jsonl; render with preprocessing toy")
    clips = read_boxes(args.raw / "boxes.jsonl", args.clips)
    detectors = {"person": body_boxes.detect, "face": face_boxes.detect}
    for label, detect in detectors.items():
        counts = [
            score_clip(args.raw, boxes, label, detect, args.frames)
            for boxes in clips.values()
        ]
        print(summary(label, np.array(counts)))


def read_boxes(path: pathlib.Path, count: int) -> dict[str, list[dict]]:
    """The true boxes of the first `count` videos."""
    clips: dict[str, list[dict]] = {}
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            box = json.loads(line)
            if box["video"] not in clips and len(clips) == count:
                break
            clips.setdefault(box["video"], []).append(box)
    return clips


def score_clip(
    raw: pathlib.Path, boxes: list[dict], label: str, detect: Callable, frames: int
) -> Counts:
    """The counts of one clip, over `frames` frames spread evenly."""
    video = boxes[0]["video"]
    show = video.split("_")[0]
    folder = raw / "tvqa_frames" / "frames_hq" / f"{show}_frames" / video
    names = sorted(folder.glob("*.jpg"))
    step = len(names) / frames
    total = np.zeros(4, int)
    for path in (names[int((i + 0.5) * step)] for i in range(frames)):
        true = [
            box
            for box in boxes
            if box["label"] == label and box["frame"] == int(path.stem)
        ]
        picture = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        detected = detect([picture])[0]
        order = np.argsort(-detected[1], kind="stable")
        total += match(detected[0][order], true, label)
    return tuple(total)


def match(detected: np.ndarray, true: list[dict], label: str) -> Counts:
    """Gives each detection, the best first, the true box it overlaps most."""
    must = [is_required(box, label) for box in true]
    free = set(range(len(true)))
    n_found = right = wrong = 0
    for box in detected:
        best = max(free, key=lambda j: iou(box, true[j]["xyxy"]), default=None)
        if best is None or iou(box, true[best]["xyxy"]) < MIN_IOU[label]:
            wrong += 1
            continue
        free.remove(best)
        n_found += must[best]
        right += must[best]
    return n_found, sum(must), right, wrong


def is_required(box: dict, label: str) -> bool:
    """Whether a detector is expected to find the box."""
    if label == "face":
        return box["xyxy"][3] - box["xyxy"][1] >= MIN_FACE_PX
    return box["visible"] >= MIN_VISIBLE


def iou(a: np.ndarray, b: list[int]) -> float:
    """Intersection over union of two xyxy boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return shared / (area - shared)


def summary(label: str, counts: np.ndarray) -> str:
    """One line: recall with its bootstrap interval over clips, and precision."""
    hit, wanted, right, wrong = counts.sum(0)
    if not wanted:
        return f"{label}: nothing to find in {len(counts)} clips ({wrong} wrong)"
    recall = statistics.ratio(counts[:, 0], counts[:, 1], 0, RESAMPLES)
    return (
        f"{label}: found {hit} of {wanted}, recall {recall.value:.3f}"
        f" [{recall.low:.3f}, {recall.high:.3f}],"
        f" precision {right / max(right + wrong, 1):.3f} ({wrong} wrong),"
        f" {len(counts)} clips"
    )


if __name__ == "__main__":
    main()
