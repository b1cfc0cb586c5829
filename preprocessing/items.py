"""What is to be done: settings of a data set, and clips with their questions.

No heavy import here or in the readers of raw data: a repeated command finds out that
nothing is to be done without loading the libraries that would do it.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mmdiffmask.grid import PatchGrid

# RGB frames -> types.Boxes whose `frame` is the position among those frames.
Finder = Callable[[Sequence[np.ndarray]], Any]


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the records depend on, beside the raw files.

    `boxed_clips`: detectors run only in the first so many clips of train, by name;
    None = in all clips of all splits.
    """

    grid: PatchGrid = PatchGrid()
    segments: int = 7
    sub_segments: int = 3
    boxed_clips: int | None = None

    def __post_init__(self):
        limits = {"segments": (1, 16), "sub_segments": (1, 3)}
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(
                    f"{name}={getattr(self, name)}: must be from {low} to {high}"
                )
        if self.boxed_clips is not None and self.boxed_clips < 0:
            raise ValueError(f"boxed_clips={self.boxed_clips}: must be at least 0")


@dataclasses.dataclass(frozen=True)
class Question:
    """A question about a clip; `span_s` None = about the whole clip."""

    example_id: str
    text: str
    answers: tuple[str, ...]
    answer_index: int
    span_s: tuple[float, float] | None


@dataclasses.dataclass(frozen=True)
class Clip:
    """A work item: where a clip's raw files lie and what is asked about it.

    Paths are relative to `raw`. Without questions the clip is cut into consecutive
    windows.
    """

    raw: str
    name: str
    group: str
    footage: str
    sound: str | None
    subtitles: str | None
    questions: tuple[Question, ...]
    labels: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class Skip:
    """Something of the raw data that could not be used, and why."""

    video: str
    question: str
    file: str
    reason: str
