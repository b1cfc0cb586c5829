"""Settings of a data set, and its work items: clips with their questions.

No heavy import here or in the readers of raw data: a repeated command finds out that
nothing is to be done without loading the libraries that would do it.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

import numpy as np

from mmdiffmask.data.records import manifest
from mmdiffmask.grid import PatchGrid


class Look(NamedTuple):
    """A frame that a finder is shown.

    Attributes:
      image: RGB, uint8 (h, w, 3).
      time_s: when it is shown in its clip.
      is_sampled: a record holds it; the others lie between and help to track.
    """

    image: np.ndarray
    time_s: float
    is_sampled: bool


class Search(Protocol):
    """What is to be looked for: a `finders.People`, or a finder of one's own.

    `fps` is how many frames a second it wants to see between the first and the last
    that are sampled; None = the sampled ones alone. It travels to worker processes.
    """

    fps: float | None

    def settings(self) -> dict[str, Any]:
        """All that its boxes depend on, as JSON holds it; cheap."""


class Finder(Search, Protocol):
    """Looks for boxes in the frames of one clip, or of one window of a loose video."""

    def __call__(self, clip: str, looks: Iterable[Look]) -> Any:
        """The `types.Boxes`; a box's `frame` counts the sampled looks.

        `looks` come in order of time, one by one: nobody holds a whole clip.
        """

    def lost(
        self, clip: str, duration_s: float, size_px: tuple[int, int]
    ) -> list[tuple[str, str]]:
        """(file, reason) for what a user's file says of a clip and it cannot show.

        `size_px`: width and height of the clip's frames.
        """


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the records depend on, beside the raw files.

    `boxed_clips`: detectors run only in the first so many clips of train, by name;
    None = in all clips of all splits. `sound_track`: of files with several, its number
    from 1 or its language; None = the one that the file says is its sound.
    """

    grid: PatchGrid = PatchGrid()
    segments: int = 7
    sub_segments: int = 3
    boxed_clips: int | None = None
    sound_track: str | None = None

    def __post_init__(self):
        for name, (low, high) in manifest.LIMITS.items():
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

    Paths are relative to `raw`. `more_sound` stands in where `sound` has none that can
    be used. Without questions the clip is cut into consecutive windows. `placement` of
    a question's segments: "centre" = around the middle of its time span, "even" =
    spread over the whole clip.
    """

    raw: str
    name: str
    group: str
    footage: str
    sound: str | None
    subtitles: str | None
    questions: tuple[Question, ...]
    labels: tuple[tuple[str, str], ...]
    placement: str = "centre"
    more_sound: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Skip:
    """Something of the raw data that could not be used or was mended, and why.

    `video` and `question` are empty where it concerns no single one.
    """

    video: str = ""
    question: str = ""
    file: str = dataclasses.field(kw_only=True)
    reason: str = dataclasses.field(kw_only=True)


@dataclasses.dataclass
class Losses:
    """What of the raw data did not get into the records as it should.

    Attributes:
      skipped: one for each question without a record, or for each video without one
        where nothing is asked.
      repaired: one for each thing that was mended by a rule, of what has records.
    """

    skipped: list[Skip] = dataclasses.field(default_factory=list)
    repaired: list[Skip] = dataclasses.field(default_factory=list)

    def skip(self, clip: Clip, reason: str) -> None:
        """The whole clip yields no record: each of its questions is listed."""
        for example_id in [question.example_id for question in clip.questions] or [""]:
            self.skipped.append(
                Skip(clip.name, example_id, file=clip.footage, reason=reason)
            )
