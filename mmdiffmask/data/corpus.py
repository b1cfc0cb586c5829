"""The records of a folder: their index, the splits made from it, and the records."""

import functools
import hashlib
import os
import pathlib

from mmdiffmask.data.records import index, shards, splits, verified
from mmdiffmask.data.records import manifest as manifests
from mmdiffmask.data.records.index import Entry


class Corpus:
    """A folder of records, made once and handed on; `Corpus.of` finds it again.

    What is chosen among records is chosen from the index alone. Each split is opened
    and verified when its first record is asked for.
    """

    def __init__(self, records_dir: str | os.PathLike):
        self.folder = str(records_dir)
        self.manifest = manifests.read(records_dir)
        self._sources: dict[str, shards.Source] = {}
        self._entries: dict[str, tuple[Entry, ...]] = {}
        self._train: dict[tuple[float, bool], splits.Split] = {}

    @classmethod
    def of(cls, records_dir: str | os.PathLike) -> "Corpus":
        """The corpus of a folder: the same one while the folder holds the same files.

        Raises:
          ValueError: if there are no finished records.
        """
        text = manifests.to_json(manifests.read(records_dir))
        return _of(str(records_dir), hashlib.sha256(text.encode()).hexdigest())

    @property
    def split_names(self) -> tuple[str, ...]:
        """Names of the splits, sorted."""
        return tuple(sorted(self.manifest.shards))

    def verify(self) -> None:
        """Checks that every split can be read, as `shards.open_split` does.

        Raises:
          ValueError: naming the first file that is missing, cut short or changed.
        """
        manifests.verify_sizes(self.folder, tuple(self.manifest.index.values()))
        for split in self.split_names:
            verified.verify(self.folder, self.manifest.shards[split])

    def source(self, split: str) -> shards.Source:
        """The records of a split.

        Raises:
          ValueError: as `shards.open_split`.
        """
        if split not in self._sources:
            self._sources[split] = shards.open_split(self.folder, split)
        return self._sources[split]

    def entries(self, split: str) -> tuple[Entry, ...]:
        """What every record of a split says of itself, in order.

        Raises:
          ValueError: as `index.load`, or if there is no such split.
        """
        if split not in self._entries:
            folder = pathlib.Path(self.folder)
            shards.require_split(folder, split, self.manifest)
            self._entries[split] = index.load(folder, self.manifest, split)
        return self._entries[split]

    def split_train(self, dev_share: float, boxed_only: bool) -> splits.Split:
        """Train's examples without dev's, and dev's: see `splits.split_train`."""
        key = (dev_share, boxed_only)
        if key not in self._train:
            self._train[key] = splits.split_train(self.entries("train"), *key)
        return self._train[key]

    def first_of_clips(self, split: str) -> list[int]:
        """Positions of the first record of each clip of a split."""
        clips = [entry.clip for entry in self.entries(split)]
        return splits.first_of_clips(clips, range(len(clips)))

    def groups(self, split: str) -> dict[str, str]:
        """Clip -> its group."""
        return {entry.clip: entry.group for entry in self.entries(split)}


@functools.lru_cache(maxsize=4)
def _of(records_dir: str, content: str) -> Corpus:
    """`content` tells other records in the same folder apart."""
    del content
    return Corpus(records_dir)
