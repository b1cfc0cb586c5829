"""Scores the person and face detectors against hand-drawn boxes.

    python -m benchmarks.boxes MEDIA_DIR [--nanodet PATH] [--yolox FILE]
    python -m benchmarks.boxes --tvqa-plus FILE --frames DIR [--yolox FILE]

MEDIA_DIR holds `ground_truth.json`, the pictures that it names, and
`patch_coverage.npz` (share of each 12x20 patch that the labelled boxes cover). TVQA+
labels persons on frames of TVQA, but not all of them: only recall can be told there.
NanoDet is scored where its weight file is (`make labels`, or --nanodet PATH).

Each detector and kind of picture is a line, shares with Wilson's 95 % interval; boxes
of a picture are not independent, so true intervals are wider.

A detection is found if it overlaps a label enough (IoU 0.5 for bodies, 0.4 for
faces), one detection per label, the best score first. One that finds no label and
lies mostly inside an ignore region counts neither way; every other one is false, also
where faces were too small to be labelled. Patches: those that detections touch
against those that labels touch; a patch that only an ignore region touches is left
out.
"""

import argparse
import collections
import functools
import pathlib
import sys
from collections.abc import Callable, Iterable
from typing import NamedTuple, get_args

import numpy as np

from benchmarks import commands, labelled, tvqa_plus
from mmdiffmask import grid, statistics
from preprocessing.boxes import (
    body_boxes,
    detectors,
    face_boxes,
    nanodet,
    nanodet_boxes,
    nanodet_file,
    people,
    yolox,
)

MIN_IOU = {"body": 0.5, "face": 0.4}
MAX_IGNORED = 0.5  # share of a detection inside an ignore region

DetectLabelled = Callable[[list[np.ndarray]], list[nanodet_boxes.Found]]


class Score(NamedTuple):
    """Counts over pictures."""

    hits: int = 0
    labelled: int = 0
    false: int = 0
    patches_both: int = 0
    patches_any: int = 0

    def plus(self, other: "Score") -> "Score":
        """The counts of both."""
        return Score(*(a + b for a, b in zip(self, other, strict=True)))

    def __str__(self) -> str:
        precision = share(self.hits, self.hits + self.false)
        each = self.patches_both, self.patches_any
        patches = f"{each[0] / each[1]:.3f}" if each[1] else "-"
        return (
            f"{self.recall()}  precision {precision} ({self.false} false)"
            f"  patch IoU {patches}"
        )

    def recall(self) -> str:
        """Which share of the labels are found."""
        recall = share(self.hits, self.labelled)
        return f"recall {recall} ({self.hits}/{self.labelled})"


def share(part: int, whole: int) -> str:
    """A share and its 95 % interval."""
    if not whole:
        return "-"
    low, high = statistics.wilson(part, whole)
    return f"{part / whole:.3f} [{low:.3f}, {high:.3f}]"


def score_picture(
    boxes: np.ndarray,
    confidence: np.ndarray,
    labels: labelled.Labels,
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
        hits=int(is_found.sum()),
        labelled=len(labels.boxes),
        false=int((~is_found & ~is_left_out).sum()),
        patches_both=int((covered & labels.is_covered).sum()),
        patches_any=int(((covered & counts) | labels.is_covered).sum()),
    )


def _match(boxes: np.ndarray, labels: labelled.Labels, min_iou: float):
    """(m,) each: detections that find a label, and those that count neither way."""
    is_free = np.ones(len(labels.boxes), bool)
    is_found, is_left_out = np.zeros((2, len(boxes)), bool)
    for i, box in enumerate(boxes):
        shared, area = body_boxes.shared_area(box, labels.boxes)
        box_area = body_boxes.box_area(box)
        iou = np.where(
            is_free, shared / np.maximum(box_area + area - shared, 1e-6), 0.0
        )
        if iou.max(initial=0.0) >= min_iou:
            is_free[iou.argmax()] = False
            is_found[i] = True
            continue
        shared, _ = body_boxes.shared_area(box, labels.ignored)
        is_left_out[i] = shared.max(initial=0.0) > MAX_IGNORED * box_area
    return is_found, is_left_out


def patches_touched(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    """(240,): patches of the fitted picture that any box overlaps at all."""
    fit = grid.fit_frame(labelled.GRID, width, height)
    share = grid.covered_share(labelled.GRID, grid.fit_boxes(fit, boxes))
    return (share > 0).any(0)


def detections(
    pixels: np.ndarray,
    network: yolox.Yolox | None = None,
    detect_labelled: DetectLabelled | None = None,
) -> dict[tuple[str, str], tuple]:
    """(detector, kind of box) -> (boxes, confidence) in one picture.

    Args:
      pixels: RGB.
      network: YOLOX, where there is a file of it.
      detect_labelled: NanoDet, where there is its file.
    """
    ((xyxy, score),) = body_boxes.detect([pixels])
    (face,) = face_boxes.detect([pixels])
    size = (pixels.shape[1], pixels.shape[0])
    joined = people.join([detectors.seen(xyxy, score, "ssdlite")], [face], [size])
    bodies = joined.take(np.flatnonzero([kind == "body" for kind in joined.kind]))
    by_kind = {
        ("ssdlite", "body"): (xyxy, score),
        ("mtcnn", "face"): face[:2],
        ("joined", "body"): (bodies.xyxy_px, bodies.score),
    }
    if detect_labelled is not None:
        ((xyxy, score, index),) = detect_labelled([pixels])
        is_person = index == nanodet_boxes.LABELS.index("person")
        by_kind["nanodet", "body"] = xyxy[is_person], score[is_person]
    if network is not None:
        ((xyxy, score, index),) = network.detect([pixels])
        is_person = index == network.labels.index("person")
        by_kind["yolox", "body"] = xyxy[is_person], score[is_person]
    return by_kind


def score_all(
    pictures: Iterable[labelled.Picture],
    detect: Callable[[np.ndarray], dict] = detections,
) -> dict[tuple[str, str, str], Score]:
    """(detector, kind of box, kind of picture) -> counts.

    Kinds of box that a picture has no labels of are left out.
    """
    total: dict = collections.defaultdict(Score)
    for picture in pictures:
        height, width = picture.pixels.shape[:2]
        for (name, kind), (boxes, confidence) in detect(picture.pixels).items():
            if kind not in picture.labels:
                continue
            one = score_picture(
                boxes,
                confidence,
                labels=picture.labels[kind],
                min_iou=MIN_IOU[kind],
                width=width,
                height=height,
            )
            key = (name, kind, picture.kind)
            total[key] = total[key].plus(one)
    return dict(total)


def read_tvqa_plus(frames: Iterable[tvqa_plus.Labelled]) -> Iterable[labelled.Picture]:
    """TVQA+'s labelled frames as pictures with bodies alone."""
    none = np.zeros((0, 4), np.float32)
    for pixels, boxes in frames:
        touched = patches_touched(boxes, pixels.shape[1], pixels.shape[0])
        yield labelled.Picture(
            pixels, "tvqa+", {"body": labelled.Labels(boxes, none, touched)}
        )


def _network(options: argparse.Namespace) -> yolox.Yolox | None:
    if options.yolox is None:
        return None
    network = yolox.Yolox(options.yolox, normalise=options.normalise)
    if "person" not in network.labels:
        raise ValueError(f"{options.yolox}: has no class person to score")
    return network


def _nanodet(options: argparse.Namespace) -> DetectLabelled | None:
    """NanoDet, if its file is named or lies in the cache.

    Raises:
      ValueError: if a named file is missing, or a file is not what it should be.
    """
    kept = nanodet_file.folder() / nanodet_file.NAME
    if options.nanodet is None and not kept.exists():
        return None
    nanodet.load(options.nanodet)
    return functools.partial(nanodet_boxes.detect, place=options.nanodet)


def _print(options: argparse.Namespace) -> int:
    detect = functools.partial(
        detections, network=_network(options), detect_labelled=_nanodet(options)
    )
    if options.media is not None:
        for key, score in sorted(
            score_all(labelled.read_media(options.media), detect).items()
        ):
            print(_name(key), score)
    if options.tvqa_plus is not None:
        source = tvqa_plus.Source(options.tvqa_plus, options.frames)
        total = score_all(read_tvqa_plus(source), detect)
        print(source.summary())
        for key, score in sorted(total.items()):
            print(_name(key), score.recall())
    return 0


def _name(key: tuple[str, str, str]) -> str:
    detector, kind, pictures = key
    return f"{detector:8} {kind:5} {pictures:12}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.boxes")
    path = pathlib.Path
    parser.add_argument("media", type=path, nargs="?", metavar="MEDIA_DIR")
    text = "NanoDet's weights (default: where make labels puts them, if they are there)"
    parser.add_argument("--nanodet", metavar="PATH", help=text)
    parser.add_argument("--yolox", type=path, metavar="FILE", help="an ONNX file")
    ways = get_args(yolox.Normalise)
    parser.add_argument("--normalise", choices=ways, default="none")
    parser.add_argument("--tvqa-plus", type=path, metavar="FILE", help="its JSON file")
    text = "folder that holds <vid_name>/00001.jpg, directly or by show"
    parser.add_argument("--frames", type=path, metavar="DIR", help=text)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Scores one folder; the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if (options.tvqa_plus is None) != (options.frames is None):
        parser.error("--tvqa-plus FILE and --frames DIR go together")
    if options.media is None and options.tvqa_plus is None:
        parser.error("give MEDIA_DIR or --tvqa-plus FILE --frames DIR")
    return commands.status(parser.prog, lambda: _print(options))


if __name__ == "__main__":
    sys.exit(main())
