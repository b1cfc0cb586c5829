"""Joins pictures to a contact sheet: captions, headings, rows of tiles."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

from mmdiffmask.report import pictures

WIDTH_PX, COLUMNS, GAP_PX, MARGIN_PX = 1400, 4, 6, 8  # a laptop shows it unscaled
PAPER, INK, GREY = (255, 255, 255), (34, 34, 34), (110, 114, 124)  # RGB
FONT = cv2.FONT_HERSHEY_SIMPLEX


def tile_px(cols: int) -> int:
    """Pixels of a drawn patch, so that COLUMNS frames of `cols` patches fill a row."""
    return max(6, (WIDTH_PX - (COLUMNS - 1) * GAP_PX) // COLUMNS // cols)


def captioned(
    image: UInt8[np.ndarray, "H W 3"], text: str
) -> UInt8[np.ndarray, "H2 W 3"]:
    """The tile with a caption below."""
    band = np.full((18, image.shape[1], 3), PAPER, np.uint8)
    cv2.putText(band, text, (2, 13), FONT, 0.42, GREY, 1, cv2.LINE_AA)
    return np.concatenate([image, band])


def rows(tiles: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Rows of COLUMNS tiles."""
    joined = []
    for first in range(0, len(tiles), COLUMNS):
        row = []
        for tile in tiles[first : first + COLUMNS]:
            row += [tile, np.full((tile.shape[0], GAP_PX, 3), PAPER, np.uint8)]
        joined.append(np.concatenate(row[:-1], axis=1))
    return joined


def text_line(
    text: str, scale: float = 0.55, ink: tuple[int, int, int] = INK
) -> UInt8[np.ndarray, "H W 3"]:
    """A line as wide as the sheet; what does not fit is cut."""
    text = pictures.printable(text)
    width = WIDTH_PX - 2 * MARGIN_PX
    while cv2.getTextSize(text, FONT, scale, 1)[0][0] > width:
        text = text.removesuffix("...")[:-4] + "..."
    band = np.full((round(20 + 20 * scale), WIDTH_PX, 3), PAPER, np.uint8)
    at = (2, band.shape[0] - 9)
    cv2.putText(band, text, at, FONT, scale, ink, 1, cv2.LINE_AA)
    return band


def stack(parts: Sequence[np.ndarray]) -> UInt8[np.ndarray, "H W 3"]:
    """The parts below one another, with paper around them."""
    width = max(part.shape[1] for part in parts)
    padded = [
        np.pad(part, ((0, 0), (0, width - part.shape[1]), (0, 0)), constant_values=255)
        for part in parts
    ]
    image = np.concatenate(padded)
    around = (MARGIN_PX, MARGIN_PX)
    return np.pad(image, (around, around, (0, 0)), constant_values=255)
