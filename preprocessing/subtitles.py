"""Subtitle files to the text of each segment."""

import dataclasses
import os
import pathlib

import ftfy
import pysubs2
import unidecode

from preprocessing.segments import Window

FORMATS = {".srt": "srt", ".vtt": "vtt", ".ass": "ass", ".ssa": "ssa"}


@dataclasses.dataclass(frozen=True)
class Line:
    """What is said around one moment: the middle of the time it is shown."""

    middle_s: float
    text: str


def load(path: str | os.PathLike) -> tuple[Line, ...]:
    """The lines of a file, in order of time; plain ASCII without line breaks.

    Raises:
      ValueError: if the file is not empty and yet no line can be read from it.
    """
    path = pathlib.Path(path)
    content = _decode(path.read_bytes())
    if not content.strip():
        return ()
    try:
        read = pysubs2.SSAFile.from_string(content, FORMATS[path.suffix.lower()])
    except (pysubs2.exceptions.Pysubs2Error, ValueError) as error:
        raise ValueError(f"no subtitles can be read from it ({error})") from error
    events = [event for event in read if not event.is_comment]
    if not events:
        raise ValueError("no subtitles can be read from it")
    lines = [Line((e.start + e.end) / 2000.0, clean(e.plaintext)) for e in events]
    return tuple(sorted(lines, key=lambda line: line.middle_s))


def _decode(data: bytes) -> str:
    """UTF-8, or UTF-16 by its mark, or else what Windows wrote."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def clean(text: str) -> str:
    """Repairs encoding mistakes, drops accents, joins lines (RESERVE.md section 6.3).

    >>> clean("It\u2019s a caf\u00e9\\nor not")
    "It's a cafe or not"
    """
    return " ".join(unidecode.unidecode(ftfy.fix_text(text)).split())


def by_segment(lines: tuple[Line, ...], window: Window, places: int) -> tuple[str, ...]:
    """The text of each of a record's places; "" where nothing is said.

    A line belongs to the segment of its middle time; lines outside are left out.
    """
    texts = [[] for _ in range(places)]
    for line in lines:
        place = window.place_of(line.middle_s)
        if place is not None and line.text:
            texts[place].append(line.text)
    return tuple(" ".join(parts) for parts in texts)
