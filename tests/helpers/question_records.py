"""Small records with questions, for the tests of the question read-outs."""

import dataclasses
import types

import cv2
import numpy as np


def picture(seed: int) -> bytes:
    """A noisy JPEG of 64 x 96 pixels."""
    image = np.random.default_rng(seed).integers(0, 255, (64, 96, 3), np.uint8)
    return cv2.imencode(".jpg", image)[1].tobytes()


def record(number=0, window=0, segments=2, **changes) -> types.SimpleNamespace:
    """A question on a window of two segments, one piece of sound each."""
    rng = np.random.default_rng(window)
    fields = {
        "example_id": f"q{number}",
        "clip": f"clip{window}",
        "group": f"clip{window}",
        "question": "Who is walking?",
        "answers": ("red", "the blue man", "a dog"),
        "answer_index": number % 3,
        "span_percent": (10, 40),
        "subtitles": ("Hello there.", "A red ball."),
        "frames": tuple(picture(10 * window + i) for i in range(segments)),
        "is_frame_valid": np.ones(segments, bool),
        "is_audio_valid": np.ones(segments, bool),
        "spectrogram": rng.random((segments, 1, 60, 65)).astype(np.float16),
    }
    return types.SimpleNamespace(**(fields | changes))


@dataclasses.dataclass
class Source:
    """A split of the records."""

    rows: list

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int):
        return self.rows[index]
