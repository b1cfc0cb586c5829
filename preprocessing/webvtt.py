"""WebVTT as players show it: what pysubs2 takes for words or times and is neither.

pysubs2 reads a line with two times in it as a cue's timing. YouTube's automatic
captions have a time in front of every word, and show each line again below the next.
"""

import re

TIMING = "-->"
WORD_TIME = re.compile(r"<[0-9:.]+>")
NO_CUE = re.compile(r"(NOTE|STYLE|REGION)(\s|$)")


def plain(content: str) -> str:
    """The file with cues alone, without names of cues and times of words.

    A block without a timing line stays: it is the rest of a cue that has an empty line
    in it. Where words have times, a line that the cue before showed is left out.
    """
    content, word_times = WORD_TIME.subn("", re.sub("\r\n?", "\n", content))
    shown: list[str] = []
    parts = []
    for block in re.split(r"\n{2,}", content):
        if NO_CUE.match(block):
            continue
        lines = block.split("\n")
        at = next((i for i, line in enumerate(lines) if TIMING in line), None)
        if at is not None:
            before, shown = shown, [_said(line) for line in lines[at + 1 :]]
            fresh = [line for line in lines[at + 1 :] if _said(line) not in before]
            lines = [lines[at], *(fresh if word_times else lines[at + 1 :])]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _said(line: str) -> str:
    return re.sub(r"<[^>]*>", "", line).strip()
