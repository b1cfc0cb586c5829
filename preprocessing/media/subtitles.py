"""Subtitle files to the text of each segment, and to lines with their times."""

import dataclasses
import itertools
import math
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import ftfy
import numpy as np
import unidecode

from preprocessing import files
from preprocessing.media import subtitle_forms
from preprocessing.media.segments import Window

HOUR_S = 3600


@dataclasses.dataclass(frozen=True)
class Line:
    """What is said, and the time it is shown, in milliseconds as files hold it."""

    start_ms: float
    end_ms: float
    text: str

    @property
    def middle_s(self) -> float:
        """The moment that puts the line into a segment."""
        return (self.start_ms + self.end_ms) / 2000.0

    @property
    def span_s(self) -> tuple[float, float]:
        """Start and end; an end that is NaN or before the start is the start."""
        is_ordered = self.end_ms >= self.start_ms  # False for NaN
        end_ms = self.end_ms if is_ordered else self.start_ms
        return self.start_ms / 1000.0, end_ms / 1000.0


def load(
    path: str | os.PathLike, report: Callable[[str], None] = lambda reason: None
) -> tuple[Line, ...]:
    """The lines of a file, in order of time; plain ASCII without line breaks.

    Args:
      path: of SubRip, WebVTT, SubStation, ...: its content says what it is.
      report: is told what was mended, and what was not understood.

    Raises:
      OSError: if the file cannot be read.
      ValueError: if the file is not empty and yet no line can be read from it.
    """
    path = pathlib.Path(path)
    content, repair = files.decode(files.read(path))
    if not content.strip():
        report("is empty")
        return ()
    said = subtitle_forms.read(content, path.suffix.lower(), report)
    if not said:
        raise ValueError(subtitle_forms.NOTHING)
    if repair:
        report(repair)
    return in_order(Line(row.start_ms, row.end_ms, clean(row.text)) for row in said)


def in_order(lines: Iterable[Line]) -> tuple[Line, ...]:
    """The lines in order of time."""
    return tuple(sorted(lines, key=lambda line: line.middle_s))


def clean(text: str) -> str:
    """Repairs encoding mistakes, drops accents, joins lines (reserve.md section 6.3).

    >>> clean("It\u2019s a caf\u00e9\\nor not")
    "It's a cafe or not"
    """
    return " ".join(unidecode.unidecode(ftfy.fix_text(text)).split())


def in_film(lines: tuple[Line, ...], duration_s: float) -> tuple[tuple[Line, ...], str]:
    """The lines on the film's clock, and what is to be told of it ("" = nothing).

    Where every line starts after the film's end and all lie within it without the whole
    hours of the first (01:00:00 or 10:00:00 is where tapes begin), these are taken off.
    Else lines outside are left out.
    """
    spans = [line.span_s for line in lines if line.text]
    starts = [start for start, _ in spans if math.isfinite(start)]
    outside = [span[0] for span in spans if _is_outside(span, duration_s)]
    if not outside:
        return lines, ""
    hours = math.floor(min(starts) / HOUR_S)
    is_tape = hours > 0 and len(outside) == len(starts)
    if is_tape and max(starts) - hours * HOUR_S < duration_s:
        off_ms = 1000 * HOUR_S * hours
        moved = tuple(
            Line(line.start_ms - off_ms, line.end_ms - off_ms, line.text)
            for line in lines
        )
        return moved, f"its times count from {hours:02}:00:00: that is taken off"
    kept = tuple(line for line in lines if not _is_outside(line.span_s, duration_s))
    return kept, (
        f"{len(outside)} of its {len(spans)} lines are left out: outside the film of"
        f" {duration_s:.1f} s, the first at {min(outside):.1f} s"
    )


def _is_outside(span_s: tuple[float, float], duration_s: float) -> bool:
    return span_s[0] >= duration_s or (span_s[0] < 0 and span_s[1] <= 0)


def by_segment(lines: tuple[Line, ...], window: Window, places: int) -> tuple[str, ...]:
    """The text of each of a record's places; "" where nothing is said.

    A line belongs to the segment of its middle time; lines outside are left out, but
    for windows with gaps: what is said in those goes to the nearest segment, or half of
    a clip of Social-IQ would be left without words.
    """
    texts = [[] for _ in range(places)]
    find = window.place_of if window.is_consecutive else window.nearest_place
    for line in lines:
        place = find(line.middle_s)
        if place is not None and line.text:
            texts[place].append(line.text)
    return tuple(" ".join(parts) for parts in texts)


def in_window(lines: tuple[Line, ...], window: Window) -> dict[str, Any]:
    """The lines of a record with their times: every one that overlaps the window.

    A line without length counts where it stands; one whose start is no number is left
    out. Times are whole, also of lines that reach past the window. Where segments do
    not follow one another only the words within them are left (`_in_segments`).

    Returns:
      line_text, line_start_s, line_end_s of `records.Record`, in order of start:
      seconds after the window's start, float32.
    """
    kept = []
    length_s = window.end_s - window.start_s
    is_consecutive = window.is_consecutive
    for line in lines:
        if not line.text or not math.isfinite(line.start_ms):
            continue
        if not is_consecutive:
            kept += _in_segments(line, window)
            continue
        start, end = (time - window.start_s for time in line.span_s)
        if start < length_s and (end > 0.0 or start >= 0.0):
            kept.append((start, end, line.text))
    kept.sort(key=lambda row: row[0])
    return {
        "line_text": tuple(text for _, _, text in kept),
        "line_start_s": np.array([start for start, _, _ in kept], np.float32),
        "line_end_s": np.array([end for _, end, _ in kept], np.float32),
    }


def _in_segments(line: Line, window: Window) -> Iterator[tuple[float, float, str]]:
    """The words of a line that each segment holds: their start, end and text.

    In record time, where segments stand end to end: a line that reaches into a gap is
    cut, or its words would be taken for those of the next segment. A word's time is its
    characters' share of its line's, and its middle says where it belongs.
    """
    start_s, end_s = line.span_s
    rate_s = (end_s - start_s) / len(line.text)
    words = list(re.finditer(r"\S+", line.text))
    places = (window.place_of(start_s + rate_s * sum(w.span()) / 2) for w in words)
    by_place = itertools.groupby(zip(places, words, strict=True), lambda pair: pair[0])
    for place, group in by_place:
        if place is None:
            continue
        pieces = [word for _, word in group]
        first, last = pieces[0].start(), pieces[-1].end()
        shift_s = place * window.length_s - window.segments[place].start_s
        yield (
            start_s + rate_s * first + shift_s,
            start_s + rate_s * last + shift_s,
            line.text[first:last],
        )
