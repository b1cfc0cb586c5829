"""Lines of JSON, whose values may be anything, to checked questions."""

import json
import math
import os
import re
from collections.abc import Iterator
from typing import Any

from preprocessing import files
from preprocessing.items import Question
from preprocessing.readers import plans

DIGITS = re.compile(r"-?[0-9]{1,18}")
ANSWER = re.compile(r"a[0-9]{1,3}")


def read(path: str | os.PathLike) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that are not empty, with their numbers from 1.

    Raises:
      ValueError: if it cannot be read.
    """
    data = plans.content(path)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):  # UTF-16, as PowerShell writes
        text, _ = files.decode(data)
        data = text.encode() if text.lstrip().startswith("{") else data
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip():
            yield number, line


def read_row(line: bytes) -> dict[str, Any]:
    """A line of JSON that holds an object.

    Raises:
      ValueError: if it is none.
    """
    try:
        row = json.loads(line)
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"is no JSON ({error.msg})") from None
    except (ValueError, RecursionError):  # a number or a nesting without end
        raise ValueError("is no JSON that can be read") from None
    if not isinstance(row, dict):
        raise ValueError("is JSON, but no object")
    return row


def text(row: dict[str, Any], name: str) -> str:
    """A value that is text.

    Raises:
      ValueError: if it is missing, something else, or no valid Unicode.
    """
    value = _value(row, name)
    if not isinstance(value, str):
        raise ValueError(f"{name!r} is no text")
    if not plans.is_text(value):
        raise ValueError(f"{name!r} is no valid Unicode")
    return value


def whole(row: dict[str, Any], name: str) -> int:
    """A value that is a whole number, or its digits.

    Raises:
      ValueError: if it is missing or something else.
    """
    value = _value(row, name)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if not is_number and not (isinstance(value, str) and DIGITS.fullmatch(value)):
        raise ValueError(f"{name!r} is no whole number")
    return int(value)


def span(ts: Any) -> tuple[float, float]:
    """TVQA's "81.6-90.67", TVQA+'s [81.6, 90.67]; NaN for "NaN-NaN" and nonsense."""
    parts = ts.split("-") if isinstance(ts, str) else ts
    try:
        start, end = (float(part) for part in parts)
    except (TypeError, ValueError, OverflowError):
        return math.nan, math.nan
    return start, end


def _value(row: dict[str, Any], name: str) -> Any:
    if name not in row:
        raise ValueError(f"lacks {name!r}")
    return row[name]


def question(row: dict[str, Any], example_id: str) -> Question:
    """A question of TVQA or Social-IQ: q, a0, a1, ..., answer_idx, ts.

    The number of answers is the line's; without answer_idx (or null) it is not told.
    Without ts it is as with one that holds no numbers.

    Raises:
      ValueError: if it is none.
    """
    last = max([1, *(int(key[1:]) for key in row if ANSWER.fullmatch(key))])
    answers = [text(row, f"a{place}") for place in range(last + 1)]
    index = whole(row, "answer_idx") if row.get("answer_idx") is not None else -1
    if not -1 <= index < len(answers):
        raise ValueError(f"answer_idx {index}, but {len(answers)} answers")
    return Question(
        example_id=example_id,
        text=text(row, "q"),
        answers=tuple(answers),
        answer_index=index,
        span_s=span(row.get("ts")),
    )
