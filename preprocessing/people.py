"""People in frames: bodies and faces of both detectors, joined into one `Boxes`.

Where the body detector saw nobody, a face stands for the body below it (DESIGN
section 9): three face widths wide, from 0.4 face heights above the face to 5 below.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

from mmdiffmask.types import Boxes
from preprocessing import body_boxes, face_boxes

BODY_WIDTHS = 1.5  # to each side of the face's centre, in face widths
BODY_ABOVE, BODY_BELOW = 0.4, 5.0  # from the face's top and bottom, in face heights


def find(frames: Sequence[UInt8[np.ndarray, "h w 3"]]) -> Boxes:
    """Bodies and faces of RGB frames; a box's frame is its position in `frames`.

    A frame's boxes do not depend on the other frames.

    Raises:
      ValueError: if a weight file is missing; says how to install it.
    """
    sizes = [(frame.shape[1], frame.shape[0]) for frame in frames]
    return join(body_boxes.detect(frames), face_boxes.detect(frames), sizes)


def join(
    bodies: Sequence[body_boxes.Found],
    faces: Sequence[face_boxes.Found],
    sizes: Sequence[tuple[int, int]],
) -> Boxes:
    """One `Boxes` of what the two detectors found, frame by frame.

    In each frame: detected bodies, bodies derived from faces that no detected body
    explains, faces. A derived body has its face's score and the source "face".

    Args:
      bodies: of each frame, as `body_boxes.detect` gives them.
      faces: of each frame, as `face_boxes.detect` gives them.
      sizes: (width, height) of each frame in pixels.
    """
    parts = []
    each = enumerate(zip(bodies, faces, sizes, strict=True))
    for frame, ((body, body_score), (face, face_score, _), size) in each:
        lone = ~is_explained(face, body)
        derived = body_of_face(face[lone], *size)
        parts.append((frame, "body", "ssdlite", body, body_score))
        parts.append((frame, "body", "face", derived, face_score[lone]))
        parts.append((frame, "face", "mtcnn", face, face_score))
    return _to_boxes(parts)


def is_explained(
    face_px: Float[np.ndarray, "m 4"], body_px: Float[np.ndarray, "n 4"]
) -> np.ndarray:
    """(m,): faces whose centre lies in the upper half of some body box."""
    centre = (face_px[:, None, :2] + face_px[:, None, 2:]) / 2
    low, high = body_px[None, :, :2], body_px[None, :, 2:].copy()
    high[..., 1] = (low[..., 1] + high[..., 1]) / 2
    return ((centre >= low) & (centre < high)).all(-1).any(1)


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


def _to_boxes(parts: list[tuple[int, str, str, np.ndarray, np.ndarray]]) -> Boxes:
    """From (frame, kind, source, xyxy, score) of groups of boxes."""
    counts = [len(score) for *_, score in parts]
    kinds = np.repeat([kind for _, kind, *_ in parts], counts).tolist()
    label = {"body": "person", "face": "face"}
    none = np.zeros((0, 4), np.float32)
    return Boxes(
        frame=np.repeat([frame for frame, *_ in parts], counts).astype(np.int64),
        xyxy_px=np.concatenate([none, *(xyxy for *_, xyxy, _ in parts)]),
        kind=tuple(kinds),
        label=tuple(label[kind] for kind in kinds),
        score=np.concatenate([none[:, 0], *(score for *_, score in parts)]),
        track=np.full(sum(counts), -1),
        source=tuple(np.repeat([part[2] for part in parts], counts).tolist()),
    )
