"""Labelled texts as the probe sees them: rows of train, dev and test, and their groups.

Rows whose texts are the same but for signs around entities are one group: what is known
of one is known of all. Folds keep groups together, and intervals are over groups.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from mmdiffmask.data import texts as corpora

TRAIN, DEV, TEST = SPLITS = ("train", "dev", "test")


@dataclasses.dataclass(frozen=True)
class TextRows:
    """The rows that have a label, in the order of their files.

    Attributes:
      names: of each row, by split and place; no two are the same.
      texts: as the encoder reads them, with signs around entities.
      labels: of each row.
      splits: TRAIN, DEV or TEST.
      groups: id of the text without signs around entities.
    """

    names: tuple[str, ...]
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    splits: tuple[str, ...]
    groups: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def classes(self) -> tuple[str, ...]:
        """All labels, sorted."""
        return tuple(sorted(set(self.labels)))

    def of(self, *splits: str) -> Bool[np.ndarray, " e"]:
        """Which rows are of these splits."""
        return np.isin(np.array(self.splits), splits)

    def some(self, is_taken: Bool[np.ndarray, " e"]) -> "TextRows":
        """Some of the rows."""
        kept = np.flatnonzero(is_taken)
        columns = (getattr(self, field.name) for field in dataclasses.fields(self))
        return TextRows(*(tuple(column[i] for i in kept) for column in columns))

    @property
    def is_in_train(self) -> Bool[np.ndarray, " e"]:
        """Which rows have a text that stands in TRAIN."""
        pairs = zip(self.groups, self.splits, strict=True)
        of_train = {group for group, split in pairs if split == TRAIN}
        return np.array([group in of_train for group in self.groups], bool)


def read(
    train: Sequence[str], dev: Sequence[str], test: Sequence[str], label_field: str
) -> TextRows:
    """The labelled rows of the files of each split.

    Args:
      train: files whose rows heads are fitted on.
      dev: files whose rows choose a penalty; () with folds.
      test: files whose rows are scored.
      label_field: of the objects; rows without it are left out.

    Raises:
      ValueError: if a file cannot hold texts, or there is no label in train and test.
    """
    columns: list[tuple[str, str, str, str, str]] = []
    for split, paths in zip(SPLITS, (train, dev, test), strict=True):
        texts = corpora.Texts(paths, label_field) if paths else ()
        for i in range(len(texts)):
            one = texts[i]
            if one.label:
                group = corpora.content_id(corpora.without_markers(one.text))
                name = f"{split} {i:06}"
                columns.append((name, one.text, one.label, split, group))
    counts = {split: sum(row[3] == split for row in columns) for split in SPLITS}
    for split, paths in ((TRAIN, train), (TEST, test)):
        if not counts[split]:
            names = ", ".join(paths) or f"no file of {split} is named"
            raise ValueError(
                f"data.{split}: {names}: no text has a field {label_field!r}, so there"
                " is nothing to probe; name the labels' field with data.label_field"
            )
    return TextRows(*map(tuple, zip(*columns, strict=True)))
