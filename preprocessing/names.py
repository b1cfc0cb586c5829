"""Names of videos and files, whichever way Unicode writes them.

An accented letter is one sign (NFC) or a letter and an accent (NFD): macOS writes names
of files the second way, most programs the first. To people they are the same name.
"""

import collections
import unicodedata
from collections.abc import Iterator, Mapping
from typing import TypeVar

V = TypeVar("V")


def spelled(name: str) -> str:
    """The form in which names are compared: NFC.

    >>> spelled("cafe\u0301") == spelled("caf\u00e9") == "caf\u00e9"
    True
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)


class Names(Mapping[str, V]):
    """A mapping by names that finds one in either form; as it is written goes first."""

    def __init__(self, values: Mapping[str, V]):
        self._values = dict(values)
        self._key_of = {spelled(key): key for key in self._values}

    def __getitem__(self, name: str) -> V:
        return self._values[self.key(name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def key(self, name: str) -> str:
        """How the mapping writes a name; the name itself where it has none."""
        if name in self._values:
            return name
        return self._key_of.get(spelled(name), name)


def twins(names: Mapping[str, V]) -> list[str]:
    """Names that differ from another in their form alone, but for the first of each."""
    count = collections.Counter(map(spelled, names))
    seen: set[str] = set()
    odd = []
    for name in sorted(names):
        if count[spelled(name)] > 1 and spelled(name) in seen:
            odd.append(name)
        seen.add(spelled(name))
    return odd
