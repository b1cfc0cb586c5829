"""Detectors of bodies and other things behind one interface.

A detector is a function of a clip's name and a few looks that gives what it sees in
each; what it gives for a frame does not depend on the others in the call.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int

from preprocessing.boxes import box_files, box_words
from preprocessing.boxes.finders import People
from preprocessing.items import Look


@dataclasses.dataclass(frozen=True)
class Detected:
    """What is seen in one frame; corners in its pixels, `track` -1 = not known."""

    xyxy_px: Float[np.ndarray, "m 4"]
    score: Float[np.ndarray, " m"]
    kind: tuple[str, ...]
    label: tuple[str, ...]
    track: Int[np.ndarray, " m"]
    source: str

    def __len__(self) -> int:
        return len(self.score)

    def take(self, index: np.ndarray) -> "Detected":
        """The boxes at the integer positions `index`, in that order."""
        return Detected(
            xyxy_px=self.xyxy_px[index],
            score=self.score[index],
            kind=tuple(self.kind[i] for i in index),
            label=tuple(self.label[i] for i in index),
            track=self.track[index],
            source=self.source,
        )


Detector = Callable[[str, Sequence[Look]], list[Detected]]


@functools.lru_cache(maxsize=4)
def load(search: People) -> Detector:
    """The detector that is asked for.

    Raises:
      ValueError: if a file that it needs is missing or is none.
    """
    kinds = {"ssdlite": _ssdlite, "nanodet": _nanodet, "yolox": _yolox}
    kinds |= {"file": _file, "none": _nobody}
    return kinds[search.bodies](search)


def forget() -> None:
    """Has `load` and `boxes_of` read their files again."""
    load.cache_clear()
    boxes_of.cache_clear()


def seen(
    xyxy_px: np.ndarray,
    score: np.ndarray,
    source: str,
    label: Sequence[str] = (),
    person_labels: Sequence[str] = (),
) -> Detected:
    """Boxes without tracks, of the kinds of their labels. No label = person."""
    labels = tuple(label) or ("person",) * len(score)
    return Detected(
        xyxy_px=np.asarray(xyxy_px, np.float32).reshape(-1, 4),
        score=np.asarray(score, np.float32),
        kind=tuple(box_words.kind_of(name, person_labels) for name in labels),
        label=labels,
        track=np.full(len(score), -1, np.int32),
        source=source,
    )


def _ssdlite(search: People) -> Detector:
    from preprocessing.boxes import body_boxes

    def detect(clip: str, looks: Sequence[Look]) -> list[Detected]:
        detections = body_boxes.detect([look.image for look in looks])
        return [seen(xyxy, score, "ssdlite") for xyxy, score in detections]

    return detect


def _nanodet(search: People) -> Detector:
    from preprocessing.boxes import nanodet, nanodet_boxes

    nanodet.load(search.nanodet)

    def detect(clip: str, looks: Sequence[Look]) -> list[Detected]:
        images = [look.image for look in looks]
        return [
            seen(
                xyxy,
                score,
                "nanodet",
                label=[nanodet_boxes.LABELS[i] for i in index],
            )
            for xyxy, score, index in nanodet_boxes.detect(images, search.nanodet)
        ]

    return detect


def _yolox(search: People) -> Detector:
    from preprocessing.boxes import yolox

    model = yolox.Yolox(search.yolox, normalise=search.normalise)

    def detect(clip: str, looks: Sequence[Look]) -> list[Detected]:
        detections = model.detect([look.image for look in looks])
        return [
            seen(
                xyxy,
                score,
                "yolox",
                label=[model.labels[i] for i in index],
                person_labels=search.person_labels,
            )
            for xyxy, score, index in detections
        ]

    return detect


@functools.lru_cache(maxsize=1)
def boxes_of(search: People) -> box_files.BoxFile:
    """The user's file of boxes.

    Raises:
      ValueError: if it cannot be read.
    """
    return box_files.read(
        search.boxes,
        mot_pixels=search.boxes_pixels,
        mot_labels=search.boxes_labels,
        unit=search.boxes_unit,
        person_labels=search.person_labels,
    )


def _file(search: People) -> Detector:
    boxes = boxes_of(search)

    def one(clip: str, look: Look) -> Detected:
        size = look.image.shape[1], look.image.shape[0]
        detected = boxes.boxes_at(
            clip,
            look.time_s,
            search.boxes_fps,
            frame_wh=size,
            within_s=search.boxes_within,
        )
        return Detected(
            xyxy_px=detected.xyxy_px,
            score=detected.score,
            kind=detected.kind,
            label=detected.label,
            track=detected.track,
            source="file",
        )

    return lambda clip, looks: [one(clip, look) for look in looks]


def _nobody(search: People) -> Detector:
    return lambda clip, looks: (
        [seen(np.zeros((0, 4)), np.zeros(0), "none")] * len(looks)
    )
