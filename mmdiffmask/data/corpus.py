"""The records of a folder: opened once, read through once, split from what was seen."""

import dataclasses
import functools
import os

from mmdiffmask.data.records import manifest as manifests
from mmdiffmask.data.records import shards, splits


@dataclasses.dataclass(frozen=True)
class Entry:
    """What choosing among records needs of one.

    Attributes:
      example_id: its id.
      clip: the clip that it is about.
      group: what the split goes by: its clip, or the episode that it is from.
      is_boxed: whether detectors have looked at it.
      labels: name -> value, of its clip.
      question: "" where it has none.
      answers: the candidates.
      answer_index: the right one; -1 where that is not known.
      span_percent: the part of the clip that the question is about.
    """

    example_id: str
    clip: str
    group: str
    is_boxed: bool
    labels: dict[str, str]
    question: str
    answers: tuple[str, ...]
    answer_index: int
    span_percent: tuple[int, int]


FIELDS = tuple(field.name for field in dataclasses.fields(Entry))


class Corpus:
    """A folder of records, made once and handed on; `Corpus.of` finds it again.

    Each split is opened and verified when it is first asked for, and read through at
    most once in a process, when something is first chosen from it.
    """

    def __init__(self, records_dir: str | os.PathLike):
        self.folder = str(records_dir)
        self.manifest = manifests.read(records_dir)
        self._sources: dict[str, shards.Source] = {}
        self._entries: dict[str, tuple[Entry, ...]] = {}
        self._train: dict[tuple[float, bool], splits.Split] = {}

    @classmethod
    def of(cls, records_dir: str | os.PathLike) -> "Corpus":
        """The corpus of a folder: the same one while the folder holds the same records.

        Raises:
          ValueError: if there are no finished records.
        """
        return _of(str(records_dir), manifests.identity(records_dir))

    @property
    def split_names(self) -> tuple[str, ...]:
        """Names of the splits, sorted."""
        return tuple(sorted(self.manifest.shards))

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
          ValueError: as `source`.
        """
        if split not in self._entries:
            source = self.source(split)
            self._entries[split] = tuple(
                Entry(**{name: getattr(record, name) for name in FIELDS})
                for record in (source[i] for i in range(len(source)))
            )
        return self._entries[split]

    def split_train(self, dev_share: float, boxed_only: bool) -> splits.Split:
        """Train's examples without dev's, and dev's: see `splits.split_train`."""
        asked = (dev_share, boxed_only)
        if asked not in self._train:
            found = splits.split_train(self.entries("train"), *asked)
            self._train[asked] = found
        return self._train[asked]

    def first_of_clips(self, split: str) -> list[int]:
        """Positions of the first record of each clip of a split."""
        clips = [entry.clip for entry in self.entries(split)]
        return splits.first_of_clips(clips, range(len(clips)))

    def groups(self, split: str) -> dict[str, str]:
        """Clip -> its group."""
        return {entry.clip: entry.group for entry in self.entries(split)}


@functools.lru_cache(maxsize=4)
def _of(records_dir: str, identity: str) -> Corpus:
    """`identity` tells other records in the same folder apart."""
    del identity
    return Corpus(records_dir)
