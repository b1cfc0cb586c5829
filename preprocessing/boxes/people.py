"""People in frames: bodies and faces of both detectors, joined into one `Boxes`.

Where the body detector saw nobody, a face stands for the body below it (design.md
section 9): three face widths wide, from 0.4 face heights above the face to 5 below.
"""

import collections
import contextlib
import dataclasses
import itertools
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from mmdiffmask.types import Boxes
from preprocessing.boxes import box_files, detectors, face_boxes
from preprocessing.boxes.detectors import Detected
from preprocessing.boxes.finders import People
from preprocessing.items import Finder, Look, Search

BODY_WIDTHS = 1.5  # to each side of the face's centre, in face widths
BODY_ABOVE, BODY_BELOW = 0.4, 5.0  # from the face's top and bottom, in face heights
CHUNK = 8  # looks that are detected in one call: bounds memory
TRACKS = "tracks"  # in `PeopleFinder.seconds`


def finder_of(search: Search) -> Finder:
    """What looks for people, or what was given if that looks itself.

    Raises:
      ValueError: if a file of weights or boxes is missing; says what to do.
    """
    return PeopleFinder(search) if isinstance(search, People) else search


class PeopleFinder:
    """Finds people (an `items.Finder`): made where the work is done.

    Its files are read at once: that one is missing is no clip's fault.

    Attributes:
      seconds: detector, or `TRACKS` -> processor seconds that it has taken so far.

    Raises:
      ValueError: if a file of weights or boxes is missing; says what to do.
    """

    def __init__(self, search: People):
        detectors.load(search)
        _face_finder(search)
        self._search, self.fps, self.settings = search, search.fps, search.settings
        self.seconds: collections.Counter[str] = collections.Counter()

    def __call__(self, clip: str, looks: Iterable[Look]) -> Boxes:
        """Boxes of a clip's sampled frames; `frame` counts those."""
        return _find(self._search, clip, looks, self.seconds)

    def lost(
        self, clip: str, duration_s: float, size_px: tuple[int, int]
    ) -> list[tuple[str, str]]:
        """See `items.Finder`."""
        if self._search.boxes is None:
            return []
        boxes = detectors.boxes_of(self._search)
        counts = boxes.lost(clip, duration_s, self._search.boxes_fps, size_px)
        name = pathlib.Path(self._search.boxes).name
        return [(name, reason) for reason in box_files.tell(counts)]


def _find(
    search: People, clip: str, looks: Iterable[Look], seconds: collections.Counter[str]
) -> Boxes:
    """`seconds` grows by what it takes."""
    detect, find_faces = detectors.load(search), _face_finder(search)
    follower, is_tracked = _follower(search, clip), search.tracks == "tracked"
    bodies, faces, sizes = [], [], []
    for chunk in _chunks(looks):
        sampled = [look for look in chunk if look.is_sampled]
        wanted = chunk if follower else sampled
        with _timed(seconds, search.bodies):
            seen = detect(clip, wanted)
        for look, detected in zip(wanted, seen, strict=True):
            if follower:
                with _timed(seconds, TRACKS):
                    detected = follower.update(look.image, detected)[is_tracked]
            elif is_tracked:
                detected = detected.take(np.flatnonzero(detected.track >= 0))
            if look.is_sampled:
                bodies.append(detected)
                sizes.append((look.image.shape[1], look.image.shape[0]))
        with _timed(seconds, search.faces):
            faces += find_faces([look.image for look in sampled])
    if follower:
        bodies = [follower.settle(detected) for detected in bodies]
    return join(bodies, faces, sizes, search.faces, is_derived=not is_tracked)


@contextlib.contextmanager
def _timed(seconds: collections.Counter[str], name: str) -> Iterator[None]:
    """Adds what is done to the seconds of a detector; a file or none is no detector."""
    began = time.process_time()
    yield
    if name not in ("file", "none"):
        seconds[name] += time.process_time() - began


def _chunks(looks: Iterable[Look]) -> Iterator[list[Look]]:
    looks = iter(looks)
    while chunk := list(itertools.islice(looks, CHUNK)):
        yield chunk


def _follower(search: People, clip: str) -> Any:
    """A fresh `tracking.Follower`; None where nothing is followed, or a file did it."""
    if search.fps is None:
        return None
    if search.bodies == "file" and detectors.boxes_of(search).has_tracks(clip):
        return None
    from preprocessing.boxes import appearance, tracking

    return tracking.Follower(appearance.load(search.appearance))


def _face_finder(
    search: People,
) -> Callable[[list[np.ndarray]], list[face_boxes.Found]]:
    if search.faces == "none":
        none = np.zeros((0, 4), np.float32)
        nobody = none, none[:, 0], np.zeros((0, 5, 2), np.float32)
        return lambda images: [nobody] * len(images)
    if search.faces == "facenet":
        from preprocessing.boxes import facenet

        return facenet.detect
    return face_boxes.detect


def join(
    bodies: Sequence[Detected],
    faces: Sequence[face_boxes.Found],
    sizes: Sequence[tuple[int, int]],
    face_source: str = "mtcnn",
    is_derived: bool = True,
) -> Boxes:
    """One `Boxes` of what was detected, frame by frame.

    In each frame: detections, bodies derived from faces that no detected body
    explains, faces. A derived body has its face's score and the source "face". A face
    has the track of the body that explains it.

    Args:
      bodies: of each frame; objects among them are kept as they are.
      faces: of each frame, as `face_boxes.detect` gives them.
      sizes: (width, height) of each frame in pixels.
      face_source: name of the detector of faces.
      is_derived: False = no derived bodies.
    """
    parts = []
    every = zip(bodies, faces, sizes, strict=True)
    for body, (face, face_score, _), (width, height) in every:
        people = body.take(np.flatnonzero([kind == "body" for kind in body.kind]))
        owner = owner_of(face, people.xyxy_px)
        lone = (owner < 0) & is_derived
        derived = body_of_face(face[lone], width, height)
        shown = dataclasses.replace(
            detectors.seen(face, face_score, face_source),
            kind=("face",) * len(face),
            label=("face",) * len(face),
            track=np.append(people.track, -1)[owner].astype(np.int32),
        )
        parts.append([body, detectors.seen(derived, face_score[lone], "face"), shown])
    return _to_boxes(parts)


def owner_of(
    face_px: Float[np.ndarray, "m 4"], body_px: Float[np.ndarray, "n 4"]
) -> Int[np.ndarray, " m"]:
    """The body whose upper half holds each face's centre; -1 = none.

    Of several it is the one whose middle line is nearest.
    """
    if not len(body_px):
        return np.full(len(face_px), -1)
    centre = (face_px[:, None, :2] + face_px[:, None, 2:]) / 2
    low, high = body_px[None, :, :2], body_px[None, :, 2:].copy()
    away = np.abs(centre[..., 0] - (low[..., 0] + high[..., 0]) / 2)
    high[..., 1] = (low[..., 1] + high[..., 1]) / 2
    is_inside = ((centre >= low) & (centre < high)).all(-1)
    nearest = np.where(is_inside, away, np.inf).argmin(1)
    return np.where(is_inside.any(1), nearest, -1)


def body_of_face(
    face_px: Float[np.ndarray, "m 4"], width: int, height: int
) -> Float[np.ndarray, "m 4"]:
    """The body that is likely below each face, clipped to the frame."""
    size = face_px[:, 2:] - face_px[:, :2]
    middle = (face_px[:, 0] + face_px[:, 2]) / 2
    body = np.stack(
        [
            middle - BODY_WIDTHS * size[:, 0],
            face_px[:, 1] - BODY_ABOVE * size[:, 1],
            middle + BODY_WIDTHS * size[:, 0],
            face_px[:, 3] + BODY_BELOW * size[:, 1],
        ],
        axis=1,
    )
    return np.clip(body, 0, np.array([width, height] * 2)).astype(np.float32)


def _to_boxes(frames: list[list[Detected]]) -> Boxes:
    """The boxes of all frames, in the order given."""
    parts = [(i, part) for i, frame in enumerate(frames) for part in frame]
    none = detectors.seen(np.zeros((0, 4)), np.zeros(0), "none")
    every = [none, *(part for _, part in parts)]
    counts = [len(part) for _, part in parts]
    return Boxes(
        frame=np.repeat([i for i, _ in parts], counts).astype(np.int64),
        xyxy_px=np.concatenate([part.xyxy_px for part in every]),
        kind=tuple(itertools.chain.from_iterable(part.kind for part in every)),
        label=tuple(itertools.chain.from_iterable(part.label for part in every)),
        score=np.concatenate([part.score for part in every]),
        track=np.concatenate([part.track for part in every]).astype(np.int64),
        source=tuple(part.source for _, part in parts for _ in part.score),
    )
