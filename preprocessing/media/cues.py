"""Cues of SubRip and WebVTT: times in every form that people's programs write.

A line that times a cue has two time stamps and an arrow. Stamps may lack hours or what
follows the seconds, have one digit or six, dots, commas or colons, as `str(timedelta)`
or a word processor leaves them. A line that wants to time something and is not
understood takes the words below it along: they have no place, and it is not speech.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import NamedTuple

_DIGITS = "[0-9]"
_AFTER = (
    rf"(?:\s*(?P<mark>[.,:;])\s*(?P<part>{_DIGITS}{{1,9}})"
    rf"|\s+(?P<milli>{_DIGITS}{{3}}))?"
)
_CLOCK = (
    rf"(?:(?P<day>{_DIGITS}{{1,3}})\s+days?,\s*)?(?P<minus>-?)"
    rf"(?:(?P<hour>{_DIGITS}{{1,4}})\s*[:hH]\s*)?(?P<minute>{_DIGITS}{{1,3}})\s*[:mM]\s*"
    rf"(?P<second>{_DIGITS}{{1,2}}){_AFTER}\s*[sS]?"
)
_DOTTED = (
    rf"(?P<hour>{_DIGITS}{{1,2}})\.(?P<minute>{_DIGITS}{{2}})\.(?P<second>{_DIGITS}{{2}})"
    rf"(?:(?P<mark>[.,:;])(?P<part>{_DIGITS}{{1,3}}))?"
)
_SECONDS = (
    rf"(?P<second>{_DIGITS}{{1,9}})(?P<mark>[.,])(?P<part>{_DIGITS}{{1,9}})\s*[sS]?"
)
STAMPS = [re.compile(pattern) for pattern in (_CLOCK, _DOTTED, _SECONDS)]
ENDS = [re.compile(rf"(?:{p.pattern})(?=[.,;]?(?:\s|$)|[\])<])") for p in STAMPS]
ARROW = re.compile(
    r"(?:(?:[-\u2010-\u2015\u2212=]\s?){1,8}(?:>|&gt;)|[\u2192\u27f6\u2794])"
)
PAIR = re.compile(  # of SubViewer and YouTube's editor: no arrow between
    r"\s*(\d{1,2}:\d{1,2}:\d{1,2}(?:[.,]\d{1,6})?)\s*(?:[,;/|]|[-\u2010-\u2015]+|\s)\s*"
    r"(\d{1,2}:\d{1,2}:\d{1,2}(?:[.,]\d{1,6})?)\s*"
)
LONE = re.compile(r"\s*(?:\d{1,2}:)?\d{1,2}:\d{2}[.,]\d{1,6}\s*")
CLOCK, LONG = re.compile(r"\d\s*[:.,;]\s*\d"), re.compile(r"\d:\d+[.,:]\d")
NUMBER = re.compile(r"\s*([0-9]{1,9})\s*")
BEFORE = re.compile(r"(?:#?[0-9]{1,9}[.):]?\s+)?[\[(]?\s*")
SETTING = r"(?:(?:vertical|line|position|size|align|region|[xy][12])\s*:\s*\S*|\S+:\S+)"
SETTINGS = re.compile(rf"(?:{SETTING}(?:\s+|$))*", re.I)
WIDE = str.maketrans(  # of East Asian fonts; marks that nobody sees
    "\uff1a\uff0c\uff0e\uff1b\uff1e", ":,.;>", "\ufeff\u200b\u200e\u200f\u202a\u202c"
)
WORD_TIME = re.compile(r"<[0-9:.]+>")
FRAME_RATES = (25, 30, 60, 100)  # of the last two digits; 100: they are hundredths
SHOWN = 60  # characters of a line in a message


class Stamp(NamedTuple):
    """A moment: milliseconds, and frames beyond them where the stamp counts those."""

    ms: int
    frames: int = 0


class Timing(NamedTuple):
    """A line that times a cue; `text` is what is said on the line itself."""

    start: Stamp
    end: Stamp
    text: str


@dataclasses.dataclass
class Cue:
    """What is shown between two times; `text` has the lines as they are."""

    start_ms: int
    end_ms: int
    text: str


class Cues(NamedTuple):
    """The cues in the file's order, and what was not read as it is written.

    `strange`: the lines that time something and are not understood. `frame_rate`: of
    times that count frames, as it was guessed; 0 = there are none.
    """

    cues: list[Cue]
    strange: list[str]
    frame_rate: int


def stamp(text: str) -> Stamp | None:
    """A time of any known form; None for what is none.

    >>> [stamp(text).ms for text in ("0:00:01.250000", "00:13,25", "1:02:03")]
    [1250, 13250, 3723000]
    """
    text = text.translate(WIDE).strip(" \t\xa0.,;")
    match = next((m for pattern in STAMPS if (m := pattern.fullmatch(text))), None)
    return _read(match) if match else None


def _read(match: re.Match) -> Stamp:
    """The moment of a match of one of `STAMPS`."""
    fields = {name: value for name, value in match.groupdict().items() if value}
    day, hour, minute, second = (
        int(fields.get(name, 0)) for name in ("day", "hour", "minute", "second")
    )
    ms = 1000 * (second + 60 * (minute + 60 * (hour + 24 * day)))
    part, frames = fields.get("part", fields.get("milli", "0")), 0
    if fields.get("mark", ".") in ":;" and len(part) < 3:
        frames = int(part)
    else:
        ms += round(int(part) * 1000 / 10 ** len(part))
    return Stamp(-ms if "minus" in fields else ms, frames)


def _narrow(line: str) -> str:
    """A line with single blanks and plain signs: quick to match however long it is."""
    return " ".join(line.translate(WIDE).split())


def timing(line: str, is_head: bool = False) -> Timing | None:
    """The times of a line; None for one that times nothing or is not understood.

    Args:
      line: of a file.
      is_head: nothing or a number stands above it: two times need no arrow then.
    """
    line = _narrow(line)
    pair = PAIR.fullmatch(line)
    if pair and (is_head or all(re.search("[.,]", part) for part in pair.groups())):
        start, end = map(stamp, pair.groups())
        return Timing(start, end, "")
    arrow = ARROW.search(line)
    if not arrow:
        return None
    before, after = line[: arrow.start()].strip(), line[arrow.end() :].strip()
    is_plain = is_head or "--" in arrow[0]  # "12:30 -> 13:00" may be said
    if not is_plain and not all(LONG.search(part) for part in (before, after)):
        return None
    start = stamp(before) or stamp(before[BEFORE.match(before).end() :])
    end = next((m for pattern in ENDS if (m := pattern.match(after))), None)
    if start is None or end is None:
        return None
    remainder = after[end.end() :].lstrip(".,;").strip()
    is_said = remainder.startswith(("]", ")")) or not (
        SETTINGS.fullmatch(remainder) or re.search(r"\d:\d", remainder)
    )
    return Timing(start, _read(end), remainder.lstrip("]) \t") if is_said else "")


def is_strange(line: str, is_head: bool) -> bool:
    """Whether a line that is no `timing` wants to time something all the same."""
    line = _narrow(line)
    if LONE.fullmatch(line):
        return True
    arrow = ARROW.search(line)
    if not arrow:
        return False
    before, after = line[: arrow.start()], line[arrow.end() :]
    is_near = re.search(r"\d[\s\])smh]*$", before) or re.match(
        r"[\s\[(]*[-+]?\d", after
    )
    clock = CLOCK if is_head or "--" in arrow[0] else LONG
    is_clock = clock.search(before + " " + after)
    return bool(is_near and (is_head or is_clock))


def times_something(line: str) -> bool:
    """Whether a line times a cue, understood or not; for one below an empty line."""
    return timing(line, True) is not None or is_strange(line, True)


def split(content: str) -> list[str]:
    """The lines of a file, with any ends: also those that were doubled on the way."""
    return re.sub("\r+\n|\r", "\n", content).split("\n")


def read(content: str, is_webvtt: bool = False) -> Cues:
    """The cues of a SubRip file, or of what `webvtt.plain` leaves of another.

    What follows the times on their line is said, but for settings; in WebVTT it is all
    taken for settings, unless the times stand in brackets.

    A number above a timing line is the cue's own, not the last line of the cue before,
    if an empty line is above it or it follows the number of the cue before.
    """
    blocks: list[tuple[Timing | None, list[str]]] = []
    strange, number = [], None
    lines = split(content)
    for i, line in enumerate(lines):
        is_head = i == 0 or not lines[i - 1].strip() or _is_number(lines[i - 1])
        times = timing(line, is_head)
        if times is None and not is_strange(line, is_head):
            if blocks:
                blocks[-1][1].append(line)
            elif _is_number(line):
                number = int(line)
            continue
        if blocks:
            number = _take_number(blocks[-1][1], number)
        if times is None:
            strange.append(line.strip()[:SHOWN])
        is_said = times and times.text and (not is_webvtt or "]" in line)
        blocks.append((times, [times.text] if is_said else []))
    if blocks:
        _take_number(blocks[-1][1], number, is_last=True)
    return _cues(blocks, strange)


def _is_number(line: str) -> bool:
    return NUMBER.fullmatch(line) is not None


def _take_number(
    lines: list[str], before: int | None, is_last: bool = False
) -> int | None:
    """Takes the next cue's number from the end of a cue's lines; gives it back."""
    at = len(lines)
    while at and not lines[at - 1].strip():
        at -= 1
    if not at or not _is_number(lines[at - 1]):
        return None
    number = int(lines[at - 1])
    is_next = before is not None and number == before + 1
    is_alone = at == 1 or not lines[at - 2].strip()
    is_above = at == len(lines) and not is_last
    if not (is_next and (is_alone or is_above)) and not (
        is_above and at > 1 and is_alone
    ):
        return None
    del lines[at - 1 :]
    return number


def _cues(
    blocks: Sequence[tuple[Timing | None, list[str]]], strange: list[str]
) -> Cues:
    known = [(times, lines) for times, lines in blocks if times is not None]
    most = max([f.frames for times, _ in known for f in times[:2]], default=0)
    rate = next(rate for rate in FRAME_RATES if most < rate) if most else 0
    cues = []
    for times, lines in known:
        start, end = (
            at.ms + (round(1000 * at.frames / rate) if rate else 0) for at in times[:2]
        )
        cues.append(Cue(start, end, WORD_TIME.sub("", "\n".join(lines)).strip()))
    return Cues(cues, strange, rate)
