"""Labelled texts as the probe sees them: rows of train, dev and test, and their groups.

Rows whose texts are the same but for signs around entities are one group: what is known
of one is known of all. Folds keep groups together, and intervals are over groups.
"""

import dataclasses
from collections.abc import Mapping, Sequence

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


def read(texts: Mapping[str, Sequence[corpora.Text]], label_field: str) -> TextRows:
    """The labelled rows of the files of each split.

    Args:
      texts: split -> its texts, with signs around entities and labels. Heads are fitted
        on TRAIN; DEV may be absent with folds.
      label_field: of the objects; rows without it are left out.

    Raises:
      ValueError: if a file cannot hold texts, or there is no label in train and test.
    """
    columns: list[tuple[str, ...]] = []
    for split in SPLITS:
        part = texts.get(split, ())
        for i in range(len(part)):
            one = part[i]
            if one.label:
                group = corpora.content_id(corpora.without_markers(one.text))
                name = f"{split} {i:06}"
                columns.append((name, one.text, one.label, split, group))
    for split in (TRAIN, TEST):
        if not any(row[3] == split for row in columns):
            raise ValueError(
                f"data.{split}: no text has a field {label_field!r}, so there is"
                " nothing to probe; name files of labelled texts, and the labels' field"
                " with data.label_field"
            )
    return TextRows(*map(tuple, zip(*columns, strict=True)))
