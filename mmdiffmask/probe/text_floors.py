"""Floors of labels of texts: what needs no encoder."""

import collections
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Int

from mmdiffmask.probe import bag_of_words, linear
from mmdiffmask.probe.text_rows import TextRows

LARGEST = "always the largest class"
COPIED = "label of the same text, else the largest class"
WORDS = "bag of words"


def largest(labels: Sequence[str]) -> str:
    """The most frequent label; of equal ones the first by name."""
    counts = collections.Counter(labels)
    return min(counts, key=lambda name: (-counts[name], name))


def copied(labels: Sequence[str], groups: Sequence[str]) -> dict[str, str]:
    """Group -> its most frequent label, of equal ones the first by name."""
    of_group: dict[str, list[str]] = {}
    for label, group in zip(labels, groups, strict=True):
        of_group.setdefault(group, []).append(label)
    return {group: largest(names) for group, names in of_group.items()}


def predict(
    rows: TextRows, is_scored: Bool[np.ndarray, " e"], fold: Int[np.ndarray, " e"]
) -> Mapping[str, Sequence[int]]:
    """Floor -> number of the class that it names for each scored row.

    Args:
      rows: all rows.
      is_scored: those to be named.
      fold: of each row; those of a fold are named by what all other rows tell. Rows
        that are not scored are in none: -1.
    """
    bags = bag_of_words.bags(rows.texts)
    names = {
        floor: np.full(len(rows), "", object) for floor in (LARGEST, COPIED, WORDS)
    }
    for one in np.unique(fold[is_scored]):
        is_out = fold == one
        known = np.flatnonzero(~is_out)
        labels = [rows.labels[i] for i in known]
        label_of = copied(labels, [rows.groups[i] for i in known])
        most = largest(labels)
        names[LARGEST][is_out] = most
        names[COPIED][is_out] = [
            label_of.get(rows.groups[i], most) for i in np.flatnonzero(is_out)
        ]
        names[WORDS][is_out] = bag_of_words.predict(bags, rows.labels, ~is_out)
    return {
        floor: linear.class_index(list(of_row[is_scored]), rows.classes).tolist()
        for floor, of_row in names.items()
    }
