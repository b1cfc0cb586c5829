"""WebVTT text to the cues that players show, without what is not said.

YouTube's automatic captions have a time in front of every word, and show each line
again below the next. Names of cues, notes and styles are nobody's words.
"""

import re

from preprocessing.media import cues

HEADER = re.compile(r"\ufeff?WEBVTT(\s|$)")  # again where parts were joined
NO_CUE = re.compile(r"(NOTE|STYLE|REGION)(\s|$)")


def plain(content: str) -> str:
    """The file with cues alone, without names of cues and times of words.

    A block without a timing line stays: it is the rest of a cue that has an empty line
    in it. Where words have times, a line that the cue before showed is left out.
    """
    content, word_times = cues.WORD_TIME.subn("", "\n".join(cues.split(content)))
    shown: list[str] = []
    parts = []
    for block in re.split(r"\n{2,}", content):
        lines = block.split("\n")
        at = next((i for i, line in enumerate(lines) if _is_timing(i, line)), None)
        if NO_CUE.match(block) or (at is None and HEADER.match(block)):
            continue
        if at is not None:
            before, shown = shown, [_said(line) for line in lines[at + 1 :]]
            fresh = [line for line in lines[at + 1 :] if _said(line) not in before]
            lines = [lines[at], *(fresh if word_times else lines[at + 1 :])]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _is_timing(place: int, line: str) -> bool:
    """Whether a line of a block times it; only a name may stand above."""
    if place < 2:
        return cues.times_something(line)
    return cues.timing(line) is not None or cues.is_strange(line, False)


def _said(line: str) -> str:
    return re.sub(r"<[^>]*>", "", line).strip()
