"""Texts of a corpus, one a line: read by their offsets, never a file as a whole."""

import array
import bisect
import hashlib
import itertools
import json
import os
import pathlib
import threading
from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np

from mmdiffmask.tokens import name_hash

OBJECTS = (".jsonl", ".ndjson")  # an object a line; other files: a text a line
LONGEST = 1 << 24  # bytes of a line: more is no text but a file without line ends
_MARKERS = ("<< ", " >>", "[[ ", " ]]")


class Text(NamedTuple):
    """A text of a corpus.

    `id` is the one of its line, or that of its content (`content_id`); `label` is None
    where none is asked for or the line has none; `where` names file and line.
    """

    id: str
    text: str
    label: str | None
    where: str


def content_id(text: str) -> str:
    """The id of a text that has none: 16 digits of its content's sha256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def window_hash(text: str, window: int) -> np.uint32:
    """The key of a window's masks: no id, file or order enters it.

    Args:
      text: the whole text.
      window: which of its windows; the first one's key is that of the text.
    """
    return name_hash(f"{text}\n#{window}" if window else text)


def without_markers(text: str) -> str:
    """The text without the signs around its entities: << ... >>, [[ ... ]]."""
    for marker in _MARKERS:
        text = text.replace(marker, "")
    return text


def lines(file: BinaryIO, path: str) -> Iterator[tuple[int, bytes]]:
    """(offset, line) of all lines that hold something, from where the file stands.

    Raises:
      ValueError: for a line that cannot be one.
    """
    offset = file.tell()
    while line := file.readline(LONGEST + 1):
        if len(line) > LONGEST:
            raise ValueError(
                f"{path}: has a line of more than {LONGEST >> 20} MiB; write one text a"
                " line"
            )
        if line.strip():
            yield offset, line
        offset += len(line)


class Texts(Sequence[Text]):
    """The texts of files, in their order; a text is read when it is asked for.

    Of .jsonl the `text` of each object, with its `id` and a label; of any other file
    its lines. Lines without anything are no texts.
    """

    def __init__(
        self,
        paths: Sequence[str | os.PathLike],
        label_field: str | None = None,
        are_marked: bool = True,
        text_field: str = "text",
    ):
        """Looks where the lines of the files begin.

        Args:
          paths: UTF-8 files.
          label_field: of the objects; a text without it has no label.
          are_marked: False: signs around entities are taken out (`without_markers`).
          text_field: of the objects.

        Raises:
          ValueError: if a file is missing or cannot hold texts.
        """
        self.paths = tuple(str(path) for path in paths)
        if not self.paths:
            raise ValueError("no file of texts is named")
        self._label_field, self._text_field = label_field, text_field
        self._are_marked = are_marked
        self._files = [open_file(path) for path in self.paths]
        self._offsets = [
            array.array("q", (offset for offset, _ in lines(file, path)))
            for file, path in zip(self._files, self.paths, strict=True)
        ]
        self._reading = threading.Lock()
        self._first = list(
            itertools.accumulate((len(x) for x in self._offsets), initial=0)
        )

    def __len__(self) -> int:
        return self._first[-1]

    def __getitem__(self, index: int) -> Text:
        if not 0 <= index < len(self):
            raise IndexError(index)
        i = bisect.bisect_right(self._first, index) - 1
        number = index - self._first[i]
        file, path = self._files[i], self.paths[i]
        with self._reading:  # rows of a batch are made by several threads
            file.seek(self._offsets[i][number])
            line = file.readline()
        text = parse(line, path, number + 1, self._label_field, self._text_field)
        if self._are_marked:
            return text
        clean = without_markers(text.text)
        is_hash = text.id == content_id(text.text)
        return text._replace(text=clean, id=content_id(clean) if is_hash else text.id)

    def fingerprint(self) -> str:
        """sha256 of what the files hold, in their order."""
        digest = hashlib.sha256()
        for file in self._files:
            file.seek(0)
            while block := file.read(1 << 20):
                digest.update(block)
            digest.update(b"\0")
        return digest.hexdigest()


def open_file(path: str) -> BinaryIO:
    """A file of texts, where its first one begins.

    Raises:
      ValueError: if it is missing or cannot hold texts.
    """
    kind = pathlib.Path(path)
    if not kind.is_file():
        verb = "is a folder, not a file" if kind.is_dir() else "is missing"
        raise ValueError(f"{path}: {verb}; name files of texts (.txt or .jsonl)")
    if kind.suffix.lower() == ".json":
        raise ValueError(
            f"{path}: is one JSON document, which cannot be read by the line; write an"
            " object a line (.jsonl)"
        )
    file = open(path, "rb")
    head = file.read(1024)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in head:
        raise ValueError(
            f"{path}: is no UTF-8 text; convert it (iconv -f utf-16 -t utf-8)"
        )
    file.seek(3 if head.startswith(b"\xef\xbb\xbf") else 0)
    return file


def parse(
    line: bytes,
    path: str,
    number: int,
    label_field: str | None = None,
    text_field: str = "text",
) -> Text:
    """The text of a line.

    Args:
      line: with or without its end.
      path: its file, whose ending says what a line is.
      number: of the line among those that hold something, for messages.
      label_field: of an object.
      text_field: of an object.

    Raises:
      ValueError: naming file and line, if it holds no text.
    """
    where = f"{path}, text {number}"
    try:
        if not path.lower().endswith(OBJECTS):
            text = line.decode().strip("\r\n")
            return Text(content_id(text), text, None, where)
        row = json.loads(line)
        if not isinstance(row, dict):
            raise ValueError("is JSON, but no object")
        text, name = row.get(text_field), row.get("id")
        if not isinstance(text, str):
            lacking = f"lacks {text_field!r}"
            is_other = f"has a {text_field!r} that is no text"
            raise ValueError(lacking if text is None else is_other)
        text.encode()  # a lone surrogate is no Unicode
        if name is not None and not isinstance(name, str | int):
            raise ValueError("has an 'id' that is neither text nor a whole number")
        label = None if label_field is None else row.get(label_field)
        return Text(
            content_id(text) if name is None else str(name),
            text,
            None if label is None else str(label),
            where,
        )
    except UnicodeError:
        raise ValueError(f"{where}: is no valid UTF-8; convert the file") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: is no JSON ({error.msg})") from None
    except RecursionError:
        raise ValueError(f"{where}: is no JSON that can be read") from None
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
