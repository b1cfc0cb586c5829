"""Windows of segments: which stretches of a clip a record is made of."""

import bisect
import dataclasses
import math
from collections.abc import Sequence

import numpy as np

SUB_SEGMENT_S = 14.0 / 9.0  # 60 spectrogram frames; three make 4.6667 s


@dataclasses.dataclass(frozen=True)
class Segment:
    """A stretch [start_s, start_s + length) and the time its frame is taken at."""

    start_s: float
    frame_time_s: float


@dataclasses.dataclass(frozen=True)
class Window:
    """Segments of one length in order, at most t, none outside the clip.

    A record has t places; those past the last segment are absent. Segments follow one
    another, but for windows of `even`, which leave out what lies between.
    """

    segments: tuple[Segment, ...]
    length_s: float

    @property
    def start_s(self) -> float:
        """Where the first segment starts; may be negative."""
        return self.segments[0].start_s

    @property
    def end_s(self) -> float:
        """Where the last segment ends; may lie past the clip's end."""
        return self.segments[-1].start_s + self.length_s

    @property
    def is_consecutive(self) -> bool:
        """Whether each segment begins where the one before ends."""
        starts = np.array([segment.start_s for segment in self.segments])
        return bool((np.diff(starts) < self.length_s * (1 + 1e-6)).all())

    def place_of(self, time_s: float) -> int | None:
        """Which segment a time lies in; None outside all of them."""
        starts = [segment.start_s for segment in self.segments]
        place = bisect.bisect_right(starts, time_s) - 1
        is_inside = place >= 0 and time_s < starts[place] + self.length_s
        return place if is_inside else None

    def nearest_place(self, time_s: float) -> int | None:
        """The segment whose middle is nearest to a time; None for NaN."""
        middles = np.array([s.start_s for s in self.segments]) + self.length_s / 2
        away = np.abs(middles - time_s)
        return int(away.argmin()) if np.isfinite(time_s) else None


def usable_span(
    span_s: tuple[float, float] | None, duration_s: float
) -> tuple[float, float]:
    """The question's time span within the clip.

    None, NaN, a reversed span and one that starts after the clip's end say nothing:
    the whole clip then.
    """
    if span_s is None or not all(math.isfinite(x) for x in span_s):
        return 0.0, duration_s
    start, end = max(span_s[0], 0.0), min(span_s[1], duration_s)
    return (start, end) if start <= end else (0.0, duration_s)


def centred(
    span_s: tuple[float, float], duration_s: float, segments: int, sub_segments: int
) -> Window:
    """The window around the middle of a span, rounded to 1/3 s (TVQA's frames).

    Then up to `segments // 2` more each way, nearest first, while their middles lie
    in the clip: so a window at a clip's end has fewer. reserve.md section 6.3.
    """
    length = sub_segments * SUB_SEGMENT_S
    middle = math.floor(3.0 * (span_s[0] + span_s[1]) / 2.0 + 0.5) / 3.0
    middle = max(0.0, min(middle, duration_s - 1.0 / 3.0))
    reach = segments // 2
    nearest_first = sorted(range(-reach, reach + 1), key=lambda k: (abs(k), k))
    steps = [k for k in nearest_first if 0.0 <= middle + k * length < duration_s]
    return Window(
        segments=tuple(
            Segment(middle + (k - 0.5) * length, middle + k * length)
            for k in sorted(steps[:segments])
        ),
        length_s=length,
    )


def even(duration_s: float, segments: int, sub_segments: int) -> Window:
    """Segments spread evenly over the whole clip (design.md section 3: Social-IQ).

    As many as fit without overlap: their middles part the clip into equal stretches.
    No frame is taken later than where the last one of a folder stands.
    """
    length = sub_segments * SUB_SEGMENT_S
    count = max(1, min(segments, int(duration_s / length + 1e-9)))  # 98 frames hold 7
    middles = [(i + 0.5) * duration_s / count for i in range(count)]
    last = max(0.0, duration_s - 1.0 / 3.0)
    return Window(tuple(Segment(t - length / 2, min(t, last)) for t in middles), length)


def consecutive(duration_s: float, segments: int, sub_segments: int) -> list[Window]:
    """The windows that follow one another through a loose video.

    A segment whose middle lies past the end is left out; a video shorter than half a
    segment still gives one, with the frame in the middle of what there is.
    """
    length = sub_segments * SUB_SEGMENT_S
    every = []
    while (len(every) + 0.5) * length < duration_s:
        every.append(Segment(len(every) * length, (len(every) + 0.5) * length))
    every = every or [Segment(0.0, duration_s / 2.0)]
    return [
        Window(tuple(every[first : first + segments]), length)
        for first in range(0, len(every), segments)
    ]


def span_percent(span_s: tuple[float, float], window: Window) -> tuple[int, int]:
    """Where in the window the span lies: two whole numbers from 0 to 100.

    Truncated, as Reserve prepares TVQA.
    """
    share = [(t - window.start_s) / (window.end_s - window.start_s) for t in span_s]
    start, end = (min(100, max(0, int(100 * x))) for x in share)
    return start, end


def with_between(
    times_s: Sequence[float], fps: float | None
) -> list[tuple[float, bool]]:
    """Sampled times and, between the first and the last of them, `fps` a second.

    A time between that is nearer than half a step to a sampled one is left out.

    Args:
      times_s: ascending.
      fps: of the whole; None = nothing between.

    Returns:
      (seconds, whether sampled), ascending.

    >>> with_between([0.4, 1.0], 3)
    [(0.4, True), (0.6666666666666666, False), (1.0, True)]
    """
    sampled = np.array(times_s, float)
    marked = [(float(t), True) for t in sampled]
    if fps is not None and len(sampled):
        steps = np.arange(math.ceil(sampled[0] * fps), sampled[-1] * fps) / fps
        right = np.searchsorted(sampled, steps).clip(1, len(sampled) - 1)
        if len(sampled) > 1:
            near = np.minimum(
                np.abs(steps - sampled[right - 1]), np.abs(sampled[right] - steps)
            )
            steps = steps[near > 0.5 / fps - 1e-9]
            marked += [(float(t), False) for t in steps]
    return sorted(marked)
