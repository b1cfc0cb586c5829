"""The texts of a file whose words are counted: questions, subtitles, lines."""

import json
import os
import pathlib
from collections.abc import Iterator

from preprocessing import files
from preprocessing.media import subtitles
from preprocessing.readers import plans, question_lines

FIELDS = ("q", "question", "text")  # of an object: the first of these that it has
SUBTITLES = (".srt", ".vtt", ".ass", ".ssa", ".sub")


def read(path: str | os.PathLike) -> tuple[str, ...]:
    """The texts of a file, in its order.

    Of .jsonl and .json (an object a line, or one list of objects, as TVQA, TVQA+ and
    Social-IQ 2.0 have) the question of each, or its `text`; never an answer. Of a file
    of subtitles what is said. Of any other file its lines.

    Raises:
      ValueError: naming the file, and the line that is no such object.
    """
    ending = pathlib.Path(path).suffix.lower()
    if ending in (".jsonl", ".json"):
        return tuple(_of_objects(path))
    content = plans.content(path)
    if ending in SUBTITLES:
        try:
            return tuple(line.text for line in subtitles.load(path))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    if b"\0" in content[:1024] and not content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError(f"{path}: is no text; name .txt, .jsonl, .json or subtitles")
    lines = files.decode(content)[0].splitlines()
    return tuple(line for line in lines if line.strip())


def _of_objects(path: str | os.PathLike) -> Iterator[str]:
    content = plans.content(path)
    if content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        rows = enumerate(_list(path, content), 1)
        kind = "entry"
    else:
        rows, kind = question_lines.read(path), "line"
    for number, row in rows:
        try:
            entry = question_lines.read_row(row) if isinstance(row, bytes) else row
            if not isinstance(entry, dict):
                raise ValueError("is no object")
            field = next((name for name in FIELDS if name in entry), None)
            if field is None:
                raise ValueError(f"has none of {', '.join(map(repr, FIELDS))}")
            yield question_lines.text(entry, field)
        except ValueError as error:
            raise ValueError(f"{path}, {kind} {number}: {error}") from error


def _list(path: str | os.PathLike, content: bytes) -> list:
    try:
        return json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is no JSON that can be read ({error})") from error
