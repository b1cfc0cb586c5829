"""One picture of a film, and its JPEG as a record holds it."""

import dataclasses
import functools

import cv2
import numpy as np
from jaxtyping import UInt8

MAX_SHORT_SIDE_PX = 450  # larger frames are stored smaller (design.md section 10)
JPEG_QUALITY = 95


@dataclasses.dataclass(frozen=True)
class Frame:
    """One picture: for the detectors as it was, for the record as it is stored.

    `own_jpeg` holds the file's bytes if it came as a JPEG.
    """

    time_s: float
    image: UInt8[np.ndarray, "h w 3"]
    own_jpeg: bytes | None = None

    @property
    def stored_size_px(self) -> tuple[int, int]:
        """Width and height of the frame as stored: shorter side 450 at most."""
        width, height = self.source_size_px
        short = min(width, height)
        if short <= MAX_SHORT_SIDE_PX:
            return width, height
        scale = MAX_SHORT_SIDE_PX / short
        return round(width * scale), round(height * scale)

    @functools.cached_property
    def jpeg(self) -> bytes:
        """As stored: its own bytes if it has some and is small enough.

        Made when asked for: frames between the sampled ones are only looked at.
        """
        size = self.stored_size_px
        stored = self.image
        if size != self.source_size_px:
            stored = cv2.resize(stored, size, interpolation=cv2.INTER_AREA)
        elif self.own_jpeg is not None:
            return self.own_jpeg
        bgr = cv2.cvtColor(stored, cv2.COLOR_RGB2BGR)
        options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        return cv2.imencode(".jpg", bgr, options)[1].tobytes()

    @property
    def source_size_px(self) -> tuple[int, int]:
        """Width and height of the source frame."""
        return self.image.shape[1], self.image.shape[0]
