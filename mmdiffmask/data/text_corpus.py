"""A corpus of texts: files of its splits, its distinct texts, those that are held out.

Texts that differ by signs around entities alone are one text (`texts.without_markers`):
continued pretraining sees it once an epoch, however many labelled rows have it.
"""

import functools
import hashlib
import logging
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mmdiffmask import config
from mmdiffmask.data import texts as corpora

SPLITS = ("train", "dev", "test")
_SHARES = 1 << 32  # a hash of 32 bits decides which share of the texts is held out


class Chosen(NamedTuple):
    """Which texts serve continued pretraining, as their places in their files.

    Attributes:
      train: of the texts of `train` that are trained on, each distinct one once.
      dev: of those whose hidden pieces are predicted and never trained on.
      dev_split: the split that `dev` are places in.
    """

    train: tuple[int, ...]
    dev: tuple[int, ...]
    dev_split: str


class TextCorpus:
    """The files that settings name, in a folder; nothing is read until it is needed."""

    def __init__(self, data: config.Texts, folder: str | os.PathLike):
        """Names the files.

        Args:
          data: which.
          folder: that their names begin from.

        Raises:
          ValueError: if the folder or a file is missing.
        """
        self.data, self.folder = data, str(folder)
        if not pathlib.Path(folder).is_dir():
            raise ValueError(
                f"{folder}: no such folder; name the one that holds"
                f" {', '.join(data.train)} with --data or data.folder"
            )
        for split in SPLITS:
            for path in self.paths(split):
                if not pathlib.Path(path).is_file():
                    raise ValueError(
                        f"{path}: no such file, which data.{split} names; name its"
                        " folder with --data, or other files"
                    )

    @classmethod
    def of(cls, data: config.Texts, folder: str | os.PathLike) -> "TextCorpus":
        """The corpus of a folder: the same one while the files hold the same.

        Raises:
          ValueError: as `TextCorpus`.
        """
        corpus = cls(data, folder)
        return _of(data, corpus.folder, corpus.fingerprint())

    def paths(self, split: str) -> tuple[str, ...]:
        """The files of a split."""
        return _paths(getattr(self.data, split), self.folder)

    def texts(self, split: str, are_marked: bool) -> corpora.Texts:
        """The texts of a split.

        Args:
          split: one that has files.
          are_marked: with the signs around entities.

        Raises:
          ValueError: if it has no file, or one cannot hold texts.
        """
        paths = self.paths(split)
        if not paths:
            raise ValueError(f"data.{split}: names no file")
        return corpora.Texts(
            paths, self.data.label_field, are_marked, self.data.text_field
        )

    def trained_on(self, split: str) -> corpora.Texts:
        """The texts of a split as continued pretraining sees them."""
        return self.texts(split, are_marked=self.data.markers == "kept")

    def fingerprint(self) -> str:
        """sha256 of what the files hold."""
        named = {s: getattr(self.data, s) for s in SPLITS}
        return fingerprint(named, self.data.label_names, self.folder)

    @functools.cached_property
    def chosen(self) -> Chosen:
        """Which texts are trained on, and which are held out.

        Neither their files nor their order enter that: a text goes by its content.

        Raises:
          ValueError: if there is none to train on, or none held out.
        """
        first = _distinct(self.trained_on("train"))
        share = self.data.dev_share
        held = {d for d in first if int(d[:8], 16) < share * _SHARES}
        if share:
            held = held or {min(first, default="")}
            dev, split = [first[d] for d in sorted(held & first.keys())], "train"
        else:
            if not self.data.dev:
                raise ValueError(
                    "data.dev_share=0, and data.dev names no file: there is nothing to"
                    " score held-out masks on; set one of them"
                )
            of_dev, split = _distinct(self.trained_on("dev")), "dev"
            dev = [of_dev[d] for d in sorted(of_dev) if d not in first]
            if len(dev) < len(of_dev):
                logging.info(
                    "%d of %d texts of data.dev stand in data.train too: these are no"
                    " held-out ones",
                    len(of_dev) - len(dev),
                    len(of_dev),
                )
        train = [first[digest] for digest in sorted(first.keys() - held)]
        if not train or not dev:
            lacking = "to train on" if not train else "held out"
            raise ValueError(
                f"{', '.join(self.paths('train'))}: {len(first)} distinct texts leave"
                f" none {lacking}; add texts, or set data.dev_share otherwise"
            )
        return Chosen(tuple(train), tuple(dev), split)


@functools.lru_cache(maxsize=4)
def _of(data: config.Texts, folder: str, content: str) -> TextCorpus:
    """`content` tells other texts in the same folder apart."""
    del content
    return TextCorpus(data, folder)


def _paths(names: Sequence[str], folder: str) -> tuple[str, ...]:
    return tuple(os.path.join(folder, name) for name in names)


def _distinct(source: corpora.Texts) -> dict[str, int]:
    """Id of the content -> the first place where it stands; blank texts are none."""
    first: dict[str, int] = {}
    for place in range(len(source)):
        text = source[place].text
        if text.strip():
            first.setdefault(corpora.content_id(text), place)
    return first


def fingerprint(
    files: Mapping[str, Sequence[str]], label_names: str | None, folder: str
) -> str:
    """sha256 of what the files of a corpus hold, split by split.

    Args:
      files: split -> names of its files.
      label_names: the file of labels, or none.
      folder: that names begin from.

    Raises:
      OSError: if one cannot be read.
    """
    named = {**files, "labels": [] if label_names is None else [label_names]}
    digest = hashlib.sha256()
    for split, names in sorted(named.items()):
        for path in _paths(names, folder):
            with open(path, "rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{split} {content}\n".encode())
    return digest.hexdigest()


def identity(settings: Mapping[str, Any], folder: str) -> str | None:
    """`fingerprint` by a run's settings; None where a file is not there."""
    files = {split: settings[f"data.{split}"] for split in SPLITS}
    try:
        return fingerprint(files, settings["data.label_names"], folder)
    except OSError:
        return None
