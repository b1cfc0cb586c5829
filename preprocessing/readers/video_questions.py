"""Questions about any videos: JSON lines {video, start, end, q, candidates, answer}."""

import collections
import json
import os
from collections.abc import Mapping
from typing import Any

from preprocessing.items import Question, Skip
from preprocessing.names import Names
from preprocessing.readers import plans, question_lines

FIELDS = frozenset("video start end q candidates answer".split())


def read(
    path: str, names: Mapping[str, str], skipped: list[Skip], repaired: list[Skip]
) -> dict[str, list[Question]]:
    """Clip -> its questions in the file's order.

    Args:
      path: of the file.
      names: clip -> its file; a question may name either.
      skipped: grows by lines that are no question, or about no clip.
      repaired: grows by a line for each field that no question has.

    Raises:
      ValueError: if the file cannot be read.
    """
    by_clip: dict[str, list[Question]] = {}
    unused: collections.Counter[str] = collections.Counter()
    by_file = {file: name for name, file in names.items()}
    name_of = Names(by_file | {name: name for name in names})
    source = os.path.basename(path)
    for number, line in question_lines.read(path):
        video = ""
        try:
            row = question_lines.read_row(line)
            unused.update(row.keys() - FIELDS)
            video = question_lines.text(row, "video")
            name = name_of.get(video.strip(), video)
            question = _question(row, f"{name}~q{number:06d}")
            if name not in names:
                raise ValueError("no video of this name")
        except ValueError as error:
            skipped.append(
                Skip(video, f"line {number}", file=source, reason=str(error))
            )
            continue
        by_clip.setdefault(name, []).append(question)
    for field, count in sorted(unused.items()):
        shown = json.dumps(field)  # a name may hold anything
        reason = f"{shown} is no field of a question: not used in {count} lines"
        repaired.append(Skip(file=source, reason=reason))
    return by_clip


def _question(row: dict[str, Any], example_id: str) -> Question:
    """A line of the questions.

    Raises:
      ValueError: if it is none.
    """
    candidates = row.get("candidates")
    is_texts = isinstance(candidates, list) and len(candidates) > 1
    if not is_texts or not all(
        isinstance(text, str) and plans.is_text(text) for text in candidates
    ):
        raise ValueError("'candidates' is no list of at least two texts")
    times = [row.get(end) for end in ("start", "end") if row.get(end) is not None]
    span = question_lines.span((times[0], times[-1])) if times else None
    index = -1 if row.get("answer") is None else _answer(row, candidates)
    return Question(
        example_id, question_lines.text(row, "q"), tuple(candidates), index, span
    )


def _answer(row: dict[str, Any], candidates: list[str]) -> int:
    """The right candidate's position.

    Raises:
      ValueError: if `answer` is no position and not one candidate alone.
    """
    if isinstance(row["answer"], str):
        answer, texts = row["answer"].strip(), [text.strip() for text in candidates]
        if texts.count(answer) != 1:
            raise ValueError(
                "'answer' is a text, but not that of one candidate alone; give its"
                " position from 0"
            )
        return texts.index(answer)
    index = question_lines.whole(row, "answer")
    if not 0 <= index < len(candidates):
        raise ValueError(f"answer {index}, but {len(candidates)} candidates, from 0")
    return index
