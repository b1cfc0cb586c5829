"""Tables as people save them: CSV of spreadsheets and programs, to checked rows.

Cells lose blanks around them, rows and last columns without any value are left out. A
first line `sep=;` names what parts the cells; else it is the comma, semicolon or tab by
which every row has as many cells as the header (the first of these that parts it where
there is none). Line breaks within quotes belong to their cell.
"""

import csv
import dataclasses
import io
import os
import pathlib
import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

from preprocessing import files, names
from preprocessing.items import Skip
from preprocessing.readers import plans

LABELS = plans.LABELS
PARTS = (",", ";", "\t")
SEP = re.compile(r'[ \t]*"?sep=(?P<part>[^\r\n]?)"?[ \t]*(\r\n|\r|\n|$)', re.I)
END = "<end of the table>"  # a quote that is never closed swallows it

Pairs = tuple[tuple[str, str], ...]


class Row(NamedTuple):
    """A line of a table; `number` is the line of the file that it begins on, from 1."""

    number: int
    cells: list[str]


def read(path: str | os.PathLike) -> list[Row]:
    """The rows of a CSV file that hold anything, the header first, of one length.

    Raises:
      ValueError: if it cannot be read, is no table, or rows are of several lengths.
    """
    content = _text(path)
    separator = SEP.match(content)
    parts = PARTS
    if separator:
        content = "\n" + content[separator.end() :]  # lines keep their numbers
        parts = (separator["part"],) if separator["part"] else PARTS
    tables, errors = [], []
    for part in parts:  # what is an open quote to one may be a sign to another
        try:
            tables.append(_rows(path, content, part))
        except ValueError as error:
            errors.append(error)
    wide = [rows for rows in tables if rows and len(rows[0].cells) > 1]
    even = [rows for rows in wide if len({len(row.cells) for row in rows}) == 1]
    if errors and not even:
        raise errors[0]
    rows = next(iter([*even, *wide, *tables]))
    for row in rows:
        if len(row.cells) != len(rows[0].cells):
            raise ValueError(
                f"{path}: row {row.number} has {len(row.cells)} values, the header"
                f" names {len(rows[0].cells)}"
            )
    return rows


def _text(path: str | os.PathLike) -> str:
    data = plans.content(path)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):  # "Unicode text" of Excel
        return files.decode(data)[0]
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not UTF-8; write it as UTF-8") from error


def _rows(path: str | os.PathLike, content: str, part: str) -> list[Row]:
    """The rows that hold anything, without last cells beyond the header's."""
    text = io.StringIO(content.rstrip("\r\n") + f"\n{END}\n", newline="")
    rows, number = [], 1
    try:
        reader = csv.reader(text, delimiter=part, skipinitialspace=True)
        for cells in reader:
            rows.append(Row(number, [cell.strip() for cell in cells]))
            number = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path}: is no CSV table ({error})") from error
    if not rows or rows.pop().cells != [END]:
        raise ValueError(f"{path}: a quotation mark is opened and not closed; close it")
    rows = [row for row in rows if any(row.cells)]
    width = max((_width(row.cells) for row in rows[:1]), default=0)
    return [
        Row(number, [*cells[:width], *cells[width : max(width, _width(cells))]])
        for number, cells in rows
    ]


def _width(cells: list[str]) -> int:
    """How many cells there are up to the last that holds something."""
    return max((i + 1 for i, cell in enumerate(cells) if cell), default=0)


@dataclasses.dataclass(frozen=True)
class Labels:
    """Labels of videos: for each name its row's line and its labels by column."""

    path: str
    rows: names.Names[tuple[int, dict[str, str]]]

    def of(self, *spellings: str) -> Pairs:
        """((column, value), ...) by column of a video that goes by these names.

        Raises:
          ValueError: if rows of several of its names contradict one another.
        """
        merged: tuple[int, dict[str, str]] | None = None
        for name in dict.fromkeys(map(self.rows.key, spellings)):
            if name in self.rows:
                merged = _merged(self.path, name, merged, self.rows[name])
        return tuple(sorted(merged[1].items())) if merged else ()

    def unknown(self, videos: Collection[str]) -> list[Skip]:
        """A line for each video that the labels alone name.

        Raises:
          ValueError: if that is all of them.
        """
        known = set(map(names.spelled, videos))
        lost = sorted(name for name in self.rows if names.spelled(name) not in known)
        if lost and videos and len(lost) == len(self.rows):
            raise ValueError(
                f"{self.path}: names none of the clips; its first column must hold"
                f" their names as in --raw, such as {min(videos)!r}, not {lost[0]!r}"
            )
        table, reason = os.path.basename(self.path), "has labels, but there is no video"
        return [Skip(name, file=table, reason=reason) for name in lost]


def read_labels(raw: pathlib.Path, named: str | None = None) -> Labels:
    """Labels of videos; an empty cell is none.

    The first column names the video, with or without its file's ending. Where it has no
    name of its own, as a column of numbers that pandas writes, it is the one called
    `video`.

    Args:
      raw: its labels.csv is read, if there is one.
      named: the file that is read in its place.

    Raises:
      ValueError: if the file has no header, no row, a row of another length, or names a
        video twice with different labels.
    """
    path = raw / LABELS if named is None else pathlib.Path(named)
    if named is None and not os.path.lexists(path):
        return Labels(str(path), names.Names({}))
    rows = _from_video(read(path))
    header = rows[0].cells if rows else []
    if len(set(header)) < max(2, len(header)) or "" in header:
        raise ValueError(
            f"{path}: its first line must name a column video and labels, each once"
        )
    if not rows[1:]:
        raise ValueError(f"{path}: holds no row but its header; add rows or delete it")
    return Labels(str(path), _by_video(path, header, rows[1:]))


def _from_video(rows: list[Row]) -> list[Row]:
    """The rows from the column on that names the video."""
    header = rows[0].cells if rows else []
    at = [i for i, name in enumerate(header) if name.lower() == "video"]
    if not at or any(header[: at[0]]):
        return rows
    return [Row(number, cells[at[0] :]) for number, cells in rows]


def _by_video(
    path: pathlib.Path, header: list[str], rows: Iterable[Row]
) -> names.Names[tuple[int, dict[str, str]]]:
    entries: dict[str, tuple[int, dict[str, str]]] = {}
    written: dict[str, str] = {}  # name in one form -> as it was written first
    for number, (video, *values) in rows:
        if not video:
            raise ValueError(f"{path}: row {number} has values, but names no video")
        pairs = zip(header[1:], values, strict=True)
        entry = number, {column: value for column, value in pairs if value}
        key = written.setdefault(names.spelled(video), video)
        entries[key] = _merged(path, video, entries.get(key), entry)
    return names.Names(entries)


def _merged(
    path: str | os.PathLike,
    name: str,
    one: tuple[int, dict[str, str]] | None,
    other: tuple[int, dict[str, str]],
) -> tuple[int, dict[str, str]]:
    """Both rows of a video as one; refuses labels that contradict one another."""
    if one is None:
        return other
    for column, value in other[1].items():
        before = one[1].get(column, value)
        if before != value:
            raise ValueError(
                f"{path}: row {other[0]} names {name} for a second time, with {column}"
                f" {value!r}; row {one[0]} says {before!r}: leave one of them"
            )
    return min(one[0], other[0]), {**one[1], **other[1]}
