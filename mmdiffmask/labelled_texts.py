"""Labelled texts: which labels a corpus has, and its rows with them."""

import dataclasses
import json
import logging
import os
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mmdiffmask import text_examples
from mmdiffmask.data import texts as corpora
from mmdiffmask.data.text_corpus import TextCorpus
from mmdiffmask.text_examples import Layout, Windows
from mmdiffmask.types import TextBatch


class Labelled(NamedTuple):
    """The labelled texts of a split, a window each, with the place of each label."""

    windows: Windows
    label: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.label)

    def text(self, position: int) -> corpora.Text:
        """The text of a row."""
        return self.windows.texts[int(self.windows.place[position])]

    def name(self, position: int) -> str:
        """The id of a row's text."""
        return self.text(position).id

    def make_row(self) -> Callable[..., TextBatch]:
        """(position, epoch = 0) -> the row."""
        plain = text_examples.make_row(self.windows)

        def row(position: int, epoch: int = 0) -> TextBatch:
            label = np.int32(self.label[position])
            return plain(position, epoch)._replace(label=label)

        return row


def names(corpus: TextCorpus) -> tuple[str, ...]:
    """The labels of a corpus: those of `data.label_names`, else TRAIN's, sorted.

    Raises:
      ValueError: if there are fewer than two, a row of a split has none, or one that
        is no row's of TRAIN; says where.
    """
    data = corpus.data
    of_train = dict.fromkeys(_label(text, data.label_field) for text in _of(corpus))
    labels = tuple(sorted(of_train))
    if data.label_names is not None:
        labels = _read(os.path.join(corpus.folder, data.label_names))
        for name in of_train:
            if name not in labels:
                raise ValueError(
                    f"{', '.join(corpus.paths('train'))}: has the label {name!r}, which"
                    f" {data.label_names} lacks; add it there, or set"
                    " data.label_names=none"
                )
    if len(labels) < 2:
        raise ValueError(
            f"{', '.join(corpus.paths('train'))}: {len(labels)} label(s); to tell"
            " texts apart at least 2 are needed"
        )
    for split in ("dev", "test"):
        for text in _of(corpus, split) if corpus.paths(split) else ():
            if _label(text, data.label_field) not in of_train:
                raise ValueError(
                    f"{text.where}: has the label {text.label!r}, which no row of"
                    " data.train has, so nothing can be learnt about it; correct it,"
                    " or move rows"
                )
    return labels


def _of(corpus: TextCorpus, split: str = "train") -> corpora.Texts:
    """The rows of a split, with the signs around entities."""
    return corpus.texts(split, are_marked=True)


def _label(text: corpora.Text, field: str) -> str:
    if text.label is None:
        raise ValueError(
            f"{text.where}: has no {field!r}; fine-tuning needs a label in every row:"
            " set data.label_field, or leave such rows out"
        )
    return text.label


def _read(path: str) -> tuple[str, ...]:
    """The names in a file of labels."""
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path}: cannot be read as the labels' names ({error}); name a .json list"
            " with data.label_names, or set it to none"
        ) from error
    is_list = isinstance(content, list) and all(isinstance(x, str) for x in content)
    if not is_list or len(set(content)) < len(content):
        raise ValueError(
            f"{path}: must be a JSON list of the labels' names, each once; or set"
            " data.label_names=none"
        )
    return tuple(content)


def rows(
    corpus: TextCorpus, split: str, labels: tuple[str, ...], layout: Layout
) -> Labelled:
    """The labelled texts of a split, in their order.

    Of a text that is longer than a window only its beginning is read.

    Args:
      corpus: the texts.
      split: one that has files.
      labels: `names`.
      layout: of a row.

    Raises:
      ValueError: if there is none, or one without a word piece.
    """
    source = _of(corpus, split)
    every = text_examples.windows(source, range(len(source)), layout)
    is_first = every.number == 0
    some = dataclasses.replace(
        every, place=every.place[is_first], number=every.number[is_first]
    )
    absent = sorted(set(range(len(source))) - set(some.place.tolist()))
    if absent or not len(some):
        where = source[absent[0]].where if absent else ", ".join(corpus.paths(split))
        raise ValueError(f"{where}: holds no word piece; leave such rows out")
    n_cut = int(np.sum(np.bincount(every.place) > 1))
    if n_cut:
        logging.warning(
            "%d of %d labelled texts of data.%s have more than %d pieces: only their"
            " beginning is read; raise data.length",
            n_cut,
            len(some),
            split,
            layout.length,
        )
    of_name = {name: number for number, name in enumerate(labels)}
    return Labelled(some, tuple(of_name[text.label] for text in source))
