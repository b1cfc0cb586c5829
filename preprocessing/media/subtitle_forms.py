"""The text of a file of subtitles, of any known form, to lines with their times.

SubRip and WebVTT are read by `cues`, everything else by pysubs2, SubStation after its
lines were put into the order and the form of time that pysubs2 knows.
"""

import re
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pysubs2
from pysubs2 import exceptions as pysubs2_exceptions
from pysubs2.formats import substation

from preprocessing.media import cues, webvtt

FORMATS = {".srt": "srt", ".vtt": "vtt", ".ass": "ass", ".ssa": "ssa"}
NAMES = {
    "srt": "SubRip",
    "vtt": "WebVTT",
    "ass": "SubStation Alpha",
    "ssa": "SubStation Alpha",
    "microdvd": "MicroDVD",
    "mpl2": "MPL2",
    "tmp": "TMPlayer",
    "sami": "SAMI",
    "ttml": "TTML",
}
NOTHING = "no subtitles can be read from it"
STYLE = re.compile(r"< */? *[bisu] *>")
TAG = re.compile(r"< */? *[a-zA-Z][^>]*>")
BREAK = re.compile(r"\[br\]", re.I)  # of SubViewer
SUBSTATION = re.compile(
    r"^\ufeff?\s*\[(Script Info|V4\+? Styles|Events)\]", re.I | re.M
)
DIALOGUE = re.compile(r"^\s*Dialogue\s*:", re.I | re.M)
BY_LINE = {  # forms that begin each line with its times
    "microdvd": re.compile(r" *\{ *\d+ *\} *\{ *\d* *\}.+"),
    "mpl2": re.compile(r"\[-?\d+\]\[-?\d*\].+"),
    "tmp": re.compile(r"\d{1,2}:\d{2}:\d{2}[:=].*[^\d\s:.,;].*"),
}
FIELDS = "layer start end style name marginl marginr marginv effect text".split()


class Said(NamedTuple):
    """A line of subtitles: its times and its words, tags and drawings left out."""

    start_ms: int
    end_ms: int
    text: str


def read(content: str, ending: str, report: Callable[[str], None]) -> list[Said]:
    """The lines of a file, in its order; none where it is not understood.

    Args:
      content: its text, which is not empty.
      ending: of its name, such as ".srt".
      report: is told what was not read as it is written.

    Raises:
      ValueError: if it is of a form that is not read; says which.
    """
    form = form_of(content, ending)
    if form != FORMATS.get(ending) and {form, FORMATS.get(ending)} != {"ass", "ssa"}:
        report(f"is {NAMES[form]} by its content, not {ending}: read as such")
    if form in ("srt", "vtt"):
        is_webvtt = form == "vtt"
        parsed = cues.read(webvtt.plain(content) if is_webvtt else content, is_webvtt)
        if parsed.frame_rate and parsed.cues:
            how = f"{parsed.frame_rate} a second"
            report(f"its times count frames after the seconds: read as {how}")
        _tell_strange(parsed.strange, len(parsed.cues), report)
        return [
            Said(c.start_ms, c.end_ms, words(untagged(c.text))) for c in parsed.cues
        ]
    if form in ("ass", "ssa"):
        lines, strange, count = _substation(content)
        content = "\n".join(lines)
        _tell_strange(strange, count, report)
    return list(_by_library(content, form))


def form_of(content: str, ending: str) -> str:
    """The form of a file: a key of `NAMES`.

    Raises:
      ValueError: if it is of a form that is not read.
    """
    head = content.lstrip("\ufeff \t\r\n")[:200].lower()
    if head.startswith("webvtt"):
        return "vtt"
    if SUBSTATION.search(content) and DIALOGUE.search(content):
        return "ssa" if re.search(r"^\s*\[V4 Styles\]", content, re.I | re.M) else "ass"
    lines = [line for line in cues.split(content) if line.strip()]
    if any(cues.timing(line, True) for line in lines):
        return "vtt" if ending == ".vtt" else "srt"
    for form, pattern in BY_LINE.items():
        if 2 * sum(pattern.fullmatch(line.strip()) is not None for line in lines) > len(
            lines
        ):
            return form
    if head.startswith("<"):
        if "<sami" in head:
            return "sami"
        if "http://www.w3.org/ns/ttml" in content:
            return "ttml"
        raise ValueError(f"{NOTHING}: is XML of a form that is not read")
    if re.match(r"\{\s*\"|\[\s*\{", head):
        raise ValueError(f"{NOTHING}: is JSON, no form of subtitles that is read")
    return FORMATS.get(ending, "srt")


def words(
    text: str,
    style: pysubs2.SSAStyle = pysubs2.SSAStyle.DEFAULT_STYLE,
    styles: dict[str, pysubs2.SSAStyle] | None = None,
) -> str:
    r"""A line's text without tags in braces; its drawings are no words.

    >>> words(r"{\p1}m 0 0 l 9 9{\p0}{\i1}hi{\i0}")
    'hi'
    """
    if re.search(r"\\p\d", text):
        parts = substation.parse_tags(text, style, styles)
        text = "".join(part for part, drawn in parts if not drawn.drawing)
    return pysubs2.SSAEvent(text=text).plaintext


def untagged(text: str) -> str:
    """A text without tags such as <i> and <font ...>."""
    return TAG.sub("", STYLE.sub("", BREAK.sub("\n", text)))


def _tell_strange(
    strange: list[str], understood: int, report: Callable[[str], None]
) -> None:
    if strange:
        every, first = len(strange) + understood, strange[0]
        is_one = len(strange) == 1
        report(
            f"{len(strange)} of its {every} lines with times"
            f" {'is' if is_one else 'are'} not understood, such as {first!r}: what"
            f" {'it times' if is_one else 'they time'} is left out"
        )


def _by_library(content: str, form: str) -> Iterator[Said]:
    try:
        with warnings.catch_warnings(action="ignore"):  # of styles that nobody sees
            document = pysubs2.SSAFile.from_string(content, form)
    except pysubs2_exceptions.UnknownFPSError as error:
        raise ValueError(
            f"{NOTHING}: it counts frames ({NAMES[form]}) and does not say how many a"
            " second has"
        ) from error
    # Its parsers fail in whatever a damaged line meets: an index, a number, a key.
    except Exception as error:
        raise ValueError(NOTHING) from error
    for event in document:
        if not event.is_comment:
            style = document.styles.get(event.style, pysubs2.SSAStyle.DEFAULT_STYLE)
            yield Said(
                event.start, event.end, words(event.text, style, document.styles)
            )


def _substation(content: str) -> tuple[list[str], list[str], int]:
    """The file's lines as pysubs2 reads them, those not understood, how many are."""
    kept, strange, count, names = [], [], 0, FIELDS
    for line in cues.split(content):
        kind, _, text = line.partition(":")
        kind = kind.strip().lower()
        if kind == "format" and "start" in (listed := _format(text)):
            names = listed
        if kind != "dialogue":
            kept += [line] if kind != "comment" else []  # its times may be anything
            continue
        values = text.strip().split(",", len(names) - 1)
        fields = dict(zip(names, values, strict=False))
        times = [cues.stamp(fields.get(name, "")) for name in ("start", "end")]
        if None in times:
            strange.append(line.strip()[: cues.SHOWN])
            continue
        count += 1
        fields |= {
            name: _clock(at, fields[name])
            for name, at in zip(("start", "end"), times, strict=True)
        }
        kept.append("Dialogue: " + ",".join(fields.get(name, "") for name in FIELDS))
    return kept, strange, count


def _format(text: str) -> list[str]:
    """The names of a line's fields; the first, of either version, is the layer."""
    names = [name.strip().lower() for name in text.split(",")]
    return ["layer" if name == "marked" else name for name in names]


def _clock(at: cues.Stamp, written: str) -> str:
    """A time as pysubs2 reads it; as it is written where that is such a form."""
    if substation.TIMESTAMP.fullmatch(written.strip()):
        return written
    seconds, ms = divmod(at.ms + 10 * at.frames, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}.{ms:03}"
