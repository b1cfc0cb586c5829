"""How often words stand in texts, each distinct text once; texts come in parts."""

import collections
import hashlib
import itertools
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt64

WORD = re.compile(r"[^\W_]+")
AT_ONCE = 4096  # texts
MERGED = 1 << 18  # keys that are sorted in among all others
MOST = 1 << 20  # different words that are counted at once: some 200 MB
# Of ASCII, by which a text becomes words several times faster than by the expression.
_LOWER = {
    code: chr(code).lower() if chr(code).isalnum() else " " for code in range(128)
}


class Added(NamedTuple):
    """Of each text: its key, the same for texts of the same words; and if it counts."""

    key: UInt64[np.ndarray, " e"]
    is_new: Bool[np.ndarray, " e"]


def words(text: str) -> list[str]:
    """The words of a text: lower-cased runs of letters and digits."""
    if text.isascii():
        return text.translate(_LOWER).split()
    return WORD.findall(text.lower())


class WordCounts:
    """Counts of words over texts of which those of the same words count once.

    Of the texts only 8 bytes each are kept, of a hash: two of 10 million texts that
    differ are taken for one with a chance of 3 in a million. Of more than `MOST`
    different words the rarest half is dropped each time, which is counted in `short`.

    Attributes:
      counts: word -> how often it stands in distinct texts.
      texts_with: word -> in how many of them; None: not counted.
      distinct: how many distinct texts there are that have a word.
      short: a count may be too small by at most this: 0 unless words were dropped.
    """

    def __init__(self, is_per_text: bool = False):
        self.counts: collections.Counter[str] = collections.Counter()
        self.texts_with = collections.Counter() if is_per_text else None
        self.distinct, self.short = 0, 0
        self._old, self._recent = np.zeros(0, np.uint64), np.zeros(0, np.uint64)

    def add_all(self, texts: Iterable[str]) -> None:
        """Adds texts in parts."""
        texts = iter(texts)
        while part := list(itertools.islice(texts, AT_ONCE)):
            self.add(part)

    def add(self, texts: Sequence[str]) -> Added:
        """Adds texts; the keys are those of `Added`."""
        split = [words(text) for text in texts]
        keys = np.array([_key(of_text) for of_text in split], np.uint64)
        is_new = np.zeros(len(keys), bool)
        is_new[np.unique(keys, return_index=True)[1]] = True
        is_new &= ~(_holds(self._old, keys) | _holds(self._recent, keys))
        is_new &= np.array([bool(of_text) for of_text in split], bool)
        new = list(itertools.compress(split, is_new))
        self.counts.update(itertools.chain.from_iterable(new))
        if self.texts_with is not None:
            self.texts_with.update(itertools.chain.from_iterable(map(set, new)))
        if len(self.counts) > MOST:
            self._drop_rarest()
        self.distinct += int(is_new.sum())
        self._recent = np.sort(np.concatenate([self._recent, keys[is_new]]))
        if len(self._recent) > MERGED:
            self._old = np.sort(np.concatenate([self._old, self._recent]))
            self._recent = self._recent[:0]
        return Added(keys, is_new)

    def _drop_rarest(self) -> None:
        """Drops words until at most half of `MOST` are left, the rarest first."""
        counts = np.fromiter(self.counts.values(), np.int64, len(self.counts))
        least = int(np.partition(counts, -(MOST // 2))[-(MOST // 2)])
        self.short += least
        kept = {word: n for word, n in self.counts.items() if n > least}
        self.counts = collections.Counter(kept)
        if self.texts_with is not None:
            of_kept = {word: self.texts_with[word] for word in kept}
            self.texts_with = collections.Counter(of_kept)

    def state(self) -> dict[str, np.ndarray]:
        """All of it as arrays, for `restore`."""
        names = list(self.counts)
        having = self.texts_with or {}
        return {
            "words": np.frombuffer("\n".join(names).encode(), np.uint8),
            "counts": np.array([self.counts[name] for name in names], np.int64),
            "texts_with": np.array([having.get(name, 0) for name in names], np.int64),
            "keys": np.sort(np.concatenate([self._old, self._recent])),
            "short": np.array(self.short),
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Takes what `state` gave in place of all that was counted."""
        names = bytes(state["words"]).decode().split("\n")
        names = names if len(state["counts"]) else []
        pairs = zip(names, state["counts"].tolist(), strict=True)
        self.counts = collections.Counter(dict(pairs))
        if self.texts_with is not None:
            pairs = zip(names, state["texts_with"].tolist(), strict=True)
            self.texts_with = collections.Counter(dict(pairs))
        self._old, self._recent = state["keys"], np.zeros(0, np.uint64)
        self.distinct, self.short = len(self._old), int(state["short"])


def _key(of_text: list[str]) -> int:
    """8 bytes by which texts of the same words are known, in every process."""
    digest = hashlib.blake2b(" ".join(of_text).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _holds(
    ordered: UInt64[np.ndarray, " k"], keys: UInt64[np.ndarray, " e"]
) -> Bool[np.ndarray, " e"]:
    """Which keys stand in an ordered array."""
    if not len(ordered):
        return np.zeros(len(keys), bool)
    place = np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)
    return ordered[place] == keys
