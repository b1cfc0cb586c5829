"""Counts of a corpus's words in one pass, resumable, with a sample of its texts."""

import io
import json
import logging
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from mmdiffmask import atomic
from mmdiffmask.data import texts as corpora
from mmdiffmask.masking import word_counts

SAVED_EVERY = 1 << 26  # bytes of text
CHARACTERS = 1 << 24  # that the texts of a sample may have together


class Row(NamedTuple):
    """A text of the sample; texts of the same words have the same `key`."""

    key: int
    text: str
    label: str | None


class Counted(NamedTuple):
    """A corpus, counted.

    Attributes:
      words: counts over distinct texts.
      n_texts: how many texts there are.
      rows: a sample of them, by key: that of the same texts in any order and file.
    """

    words: word_counts.WordCounts
    n_texts: int
    rows: list[Row]


class _Progress:
    """What a pass has so far."""

    def __init__(self, is_per_text: bool, kept: int):
        self.words = word_counts.WordCounts(is_per_text)
        self.n_texts, self.file, self.offset, self.number = 0, 0, 0, 0
        self.rows: list[Row] = []
        self._kept, self._limit, self._size = kept, 1 << 64, 0

    def add(self, texts: Sequence[corpora.Text]) -> None:
        """Counts some texts and takes those of the smallest keys into the sample."""
        added = self.words.add([text.text for text in texts])
        self.n_texts += len(texts)
        if not self._kept:
            return
        for key, text in zip(added.key.tolist(), texts, strict=True):
            if key < self._limit:
                self.rows.append(Row(key, text.text, text.label))
                self._size += len(text.text)
        if len(self.rows) > 2 * self._kept or self._size > 2 * CHARACTERS:
            self._thin()

    def _thin(self) -> None:
        """Leaves the sample's share of smallest keys; all texts of a key stay or go."""
        self.rows.sort(key=lambda row: (row.key, row.text, row.label or ""))
        upto = np.cumsum([len(row.text) for row in self.rows])
        fits = min(self._kept, int(np.searchsorted(upto, CHARACTERS, "right")))
        if fits < len(self.rows):
            self._limit = self.rows[fits].key
            self.rows = [row for row in self.rows[:fits] if row.key < self._limit]
        self._size = sum(len(row.text) for row in self.rows)

    def finish(self) -> Counted:
        """The counts, with the sample in the order of its keys."""
        if self.rows:
            self._thin()
        if self.words.short:
            logging.warning(
                "more than %d different words: the rarest were dropped on the way, and"
                " a count may be too small by %d",
                word_counts.MOST,
                self.words.short,
            )
        return Counted(self.words, self.n_texts, self.rows)

    def save(self, path: pathlib.Path, claim: dict) -> None:
        note = {
            "n_texts": self.n_texts,
            "file": self.file,
            "offset": self.offset,
            "number": self.number,
            "limit": self._limit,
            "rows": self.rows,
            "claim": claim,
        }
        text = np.frombuffer(json.dumps(note).encode(), np.uint8)
        buffer = io.BytesIO()
        np.savez(buffer, note=text, **self.words.state())
        atomic.write(path, buffer.getvalue())

    def restore(self, path: pathlib.Path, claim: dict) -> bool:
        """Takes up what was saved for the same work; False: there is nothing."""
        if not path.is_file():
            return False
        try:
            with np.load(path, allow_pickle=False) as stored:
                state = dict(stored)
            note = json.loads(bytes(state.pop("note")))
        except Exception as error:
            raise ValueError(f"{path}: damaged ({error}); delete it") from error
        if note["claim"] != claim:
            return False
        self.words.restore(state)
        self.n_texts, self._limit = note["n_texts"], note["limit"]
        self.file, self.offset = note["file"], note["offset"]
        self.number = note.get("number", 0)  # a version before did not note it
        self.rows = [Row(*row) for row in note["rows"]]
        self._size = sum(len(row.text) for row in self.rows)
        return True


def count(
    paths: Sequence[str],
    label_field: str | None = None,
    *,
    is_per_text: bool = False,
    kept: int = 0,
    state: pathlib.Path | None = None,
) -> Counted:
    """Counts the words of files of texts, each distinct text once.

    Args:
      paths: as `data.texts.Texts` takes them.
      label_field: of objects.
      is_per_text: also in how many texts each word stands.
      kept: how many texts the sample may have; 0: none.
      state: where progress is saved, for a pass that is killed to go on; it is deleted
        at the end. None: nowhere.

    Raises:
      ValueError: for a file or a line that holds no text.
    """
    files = [os.stat(file.name) for file in map(corpora.open_file, paths)]
    claim = {
        "paths": [os.path.abspath(path) for path in paths],
        "files": [[status.st_size, status.st_mtime_ns] for status in files],
        "settings": [label_field, is_per_text, kept, word_counts.MOST],
    }
    progress = _Progress(is_per_text, kept)
    if state is not None and progress.restore(state, claim):
        logging.info("%s: goes on after %d texts", state, progress.n_texts)
    unsaved = 0
    for file, offset, number, part in _parts(paths, progress, label_field):
        before = progress.offset if progress.file == file else 0
        progress.add(part)
        progress.file, progress.offset, progress.number = file, offset, number
        unsaved += offset - before
        if state is not None and unsaved >= SAVED_EVERY:
            progress.save(state, claim)
            unsaved = 0
    if state is not None:
        state.unlink(missing_ok=True)
    return progress.finish()


def _parts(
    paths: Sequence[str], progress: _Progress, label_field: str | None
) -> Iterator[tuple[int, int, int, list[corpora.Text]]]:
    """What follows `progress`, a few thousand texts at a time.

    Each part: (file, offset behind it, number of its last text in the file, texts).
    """
    first, offset, number = progress.file, progress.offset, progress.number
    for i in range(first, len(paths)):
        with corpora.open_file(paths[i]) as file:
            if i == first and offset:
                file.seek(offset)
            else:
                number = 0
            part: list[corpora.Text] = []
            for offset, line in corpora.lines(file, paths[i]):
                number += 1
                part.append(corpora.parse(line, paths[i], number, label_field))
                if len(part) == word_counts.AT_ONCE:
                    yield i, offset + len(line), number, part
                    part = []
            yield i, file.tell(), number, part
