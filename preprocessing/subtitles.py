"""Subtitle files to the text of each segment, and to lines with their times."""

import dataclasses
import itertools
import math
import os
import pathlib
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import ftfy
import numpy as np
import pysubs2
import unidecode

from preprocessing import files, webvtt
from preprocessing.segments import Window

FORMATS = {".srt": "srt", ".vtt": "vtt", ".ass": "ass", ".ssa": "ssa"}


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
      path: its ending says what it is.
      report: is told what was mended.

    Raises:
      OSError: if the file can not be read.
      ValueError: if the file is not empty and yet no line can be read from it.
    """
    path = pathlib.Path(path)
    content, repair = _decode(files.read(path))
    if not content.strip():
        report("is empty")
        return ()
    events = [event for event in _parse(path, content) if not event.is_comment]
    if not events:
        raise ValueError("no subtitles can be read from it")
    if repair:
        report(repair)
    lines = [Line(e.start, e.end, clean(e.plaintext)) for e in events]
    return tuple(sorted(lines, key=lambda line: line.middle_s))


def _parse(path: pathlib.Path, content: str) -> pysubs2.SSAFile:
    form = FORMATS[path.suffix.lower()]
    content = webvtt.plain(content) if form == "vtt" else content
    try:
        with warnings.catch_warnings(action="ignore"):  # of styles that nobody sees
            return pysubs2.SSAFile.from_string(content, form)
    # Its parsers fail in whatever a damaged line meets: an index, a number, a key.
    except Exception as error:
        raise ValueError("no subtitles can be read from it") from error


def _decode(data: bytes) -> tuple[str, str]:
    """The text and how it was guessed: UTF-8, or UTF-16 by its mark, needs no guess."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace"), ""
    # Every other byte of western text is 0 in UTF-16, none is in the others.
    for encoding, zeros in {"utf-16-le": data[1::2], "utf-16-be": data[::2]}.items():
        if zeros.count(0) > len(data) / 4:
            text = data.decode(encoding, errors="replace")
            return text, "is UTF-16 without its mark: read as such"
    try:
        return data.decode("utf-8-sig"), ""
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
        return text, "is not UTF-8: read as Windows-1252"


def clean(text: str) -> str:
    """Repairs encoding mistakes, drops accents, joins lines (RESERVE.md section 6.3).

    >>> clean("It\u2019s a caf\u00e9\\nor not")
    "It's a cafe or not"
    """
    return " ".join(unidecode.unidecode(ftfy.fix_text(text)).split())


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
    found = []
    length_s = window.end_s - window.start_s
    is_consecutive = window.is_consecutive
    for line in lines:
        if not line.text or not math.isfinite(line.start_ms):
            continue
        if not is_consecutive:
            found += _in_segments(line, window)
            continue
        start, end = (time - window.start_s for time in line.span_s)
        if start < length_s and (end > 0.0 or start >= 0.0):
            found.append((start, end, line.text))
    found.sort(key=lambda row: row[0])
    return {
        "line_text": tuple(text for _, _, text in found),
        "line_start_s": np.array([start for start, _, _ in found], np.float32),
        "line_end_s": np.array([end for _, end, _ in found], np.float32),
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
