"""Outlines and tags of boxes, drawn into a picture from their corners."""

import cv2
import numpy as np
from jaxtyping import Bool, Int, UInt8

from mmdiffmask import types
from mmdiffmask.report import paper, pictures

_TAG = 0.42  # scale of the font
_DASH_PX = 7


def outline(
    image: UInt8[np.ndarray, "H W 3"],
    corners: Int[np.ndarray, " 4"],
    colour: pictures.Colour,
    is_dashed: bool,
) -> None:
    """Draws a box on a dark edge, so that it shows on any ground."""
    left, top, right, bottom = (int(side) for side in corners)
    ends = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    for (x0, y0), (x1, y1) in zip(ends[:-1], ends[1:], strict=True):
        length = max(abs(x1 - x0), abs(y1 - y0))
        step = _DASH_PX if is_dashed else max(length, 1)
        for width, ink in ((4, paper.INK), (2, colour)):
            for begin in range(0, length, 2 * step):
                share = begin / length, min(begin + step, length) / length
                a, b = (
                    (round(x0 + s * (x1 - x0)), round(y0 + s * (y1 - y0)))
                    for s in share
                )
                cv2.line(image, a, b, ink, width)


def tag(boxes: types.Boxes, k: int) -> str:
    """Label of an object, number of a track; empty where neither is needed."""
    parts = [boxes.label[k]] if boxes.kind[k] == "object" else []
    # A face has its body's number: once is enough where both are drawn.
    twins = (boxes.track == boxes.track[k]) & (np.array(boxes.kind) == "body")
    if boxes.track[k] >= 0 and (boxes.kind[k] != "face" or not twins.any()):
        parts.append(str(int(boxes.track[k])))
    return " ".join(parts)


def write_tag(
    image: UInt8[np.ndarray, "H W 3"],
    is_taken: Bool[np.ndarray, "H W"],
    text: str,
    corners: Int[np.ndarray, " 4"],
    colour: pictures.Colour,
) -> None:
    """Writes beside the box where nothing else stands, else on its corner."""
    text = pictures.printable(text)
    (width, height), _ = cv2.getTextSize(text, paper.FONT, _TAG, 1)
    width, height = width + 5, height + 6
    low, high = (corners[:2] - 2).tolist(), (corners[2:] + 3).tolist()
    upper_left = [  # of the text, the best first
        (low[0], low[1] - height),
        (low[0], high[1]),
        (high[0], low[1]),
        (low[0] - width, low[1]),
        (high[0] - width, low[1] - height),
        (high[0], high[1] - height),
    ]
    free = [xy for xy in upper_left if _is_free(is_taken, *xy, width, height)]
    limit = max(0, image.shape[1] - width), max(0, image.shape[0] - height)
    left, top = (int(x) for x in np.clip((free or [low])[0], 0, limit))
    is_taken[top : top + height, left : left + width] = True
    image[top : top + height, left : left + width] = colour
    is_light = np.dot(colour, (0.299, 0.587, 0.114)) > 110  # of 255, to the eye
    ink, at = paper.INK if is_light else paper.PAPER, (left + 2, top + height - 3)
    cv2.putText(image, text, at, paper.FONT, _TAG, ink, 1, cv2.LINE_AA)


def _is_free(
    is_taken: Bool[np.ndarray, "H W"], left: int, top: int, width: int, height: int
) -> bool:
    bottom, right = top + height, left + width
    if min(left, top) < 0 or bottom > len(is_taken) or right > is_taken.shape[1]:
        return False
    return not is_taken[top:bottom, left:right].any()
