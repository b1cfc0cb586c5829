"""The closed vocabulary of the grounding terms: texts by word class.

A JSON file {class: {"is_content": true|false, "texts": [...]}}. Content is what
pictures show; only content is hidden in narrations. "toy" is the shipped one
(`python -m preprocessing.toy.vocabulary` writes it again).
"""

import dataclasses
import json
import os
import pathlib
import re
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Int

from mmdiffmask.tokens import N_SPECIAL, SPAN_LENGTH

TOY = pathlib.Path(__file__).with_name("toy_words.json")


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Entries in the file's order, with the class of each."""

    texts: tuple[str, ...]
    word_class: tuple[str, ...]
    is_content: Bool[np.ndarray, " v"]

    def __len__(self) -> int:
        return len(self.texts)

    def index(self, text: str) -> int:
        """Position of a text, whatever its case; -1 if it is no entry."""
        low = text.lower()
        return next((i for i, t in enumerate(self.texts) if t.lower() == low), -1)

    def find(self, text: str) -> list[tuple[int, int, int]]:
        """(start, end, entry) of the content that a text mentions, longest first.

        Whole words only, no two that overlap, in the order of the text.
        """
        mentions: list[tuple[int, int, int]] = []
        order = [i for i in range(len(self)) if self.is_content[i]]
        for entry in sorted(order, key=lambda i: -len(self.texts[i])):
            pattern = rf"(?<!\w){re.escape(self.texts[entry])}(?!\w)"
            for match in re.finditer(pattern, text, re.IGNORECASE):
                start, end = match.span()
                if all(end <= a or b <= start for a, b, _ in mentions):
                    mentions.append((start, end, entry))
        return sorted(mentions)

    def spans(self, encode: Callable[[str], Sequence[int]]) -> Int[np.ndarray, "v 15"]:
        """The tokens of every entry, 0 = padding.

        Raises:
          ValueError: for an entry that is longer than a span, or the same as another.
        """
        rows = np.zeros((len(self), SPAN_LENGTH), np.int32)
        for row, text in zip(rows, self.texts, strict=True):
            ids = encode(text)
            if not 0 < len(ids) <= SPAN_LENGTH:
                raise ValueError(
                    f"vocabulary entry {text!r} has {len(ids)} tokens; a span has 1 to"
                    f" {SPAN_LENGTH}: shorten it"
                )
            row[: len(ids)] = ids
        if len(np.unique(rows, axis=0)) < len(rows):
            raise ValueError("two vocabulary entries have the same tokens: drop one")
        return rows


def load(name_or_path: str | os.PathLike) -> Vocabulary:
    """The vocabulary named "toy", or of a JSON file.

    Raises:
      ValueError: if the file is missing or has another form.
    """
    path = TOY if name_or_path == "toy" else pathlib.Path(name_or_path)
    if not path.is_file():
        raise ValueError(f"reserve.words={path}: no such vocabulary file")
    try:
        classes = json.loads(path.read_text(encoding="utf-8"))
        rows = [
            (str(text), name, bool(entry["is_content"]))
            for name, entry in classes.items()
            for text in entry["texts"]
        ]
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: no vocabulary ({error!r}); it must be"
            ' {class: {"is_content": true or false, "texts": [...]}}'
        ) from error
    if not rows:
        raise ValueError(f"{path}: has no entry")
    texts, word_class, is_content = zip(*rows, strict=True)
    return Vocabulary(texts, word_class, np.array(is_content))


def tokens_of(
    parts: Sequence[str | int], encode: Callable[[str], Sequence[int]]
) -> list[int]:
    """Token ids of texts with special ids between them; no text spells one out."""
    ids: list[int] = []
    for part in parts:
        if isinstance(part, int):
            ids.append(part)
        elif part.strip():
            text = encode(part.strip())
            ids += [i for i in text if i >= N_SPECIAL]
    return ids
