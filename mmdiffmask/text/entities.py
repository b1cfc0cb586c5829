"""Entities of texts: spans of characters, from a file or from signs in the texts."""

import json
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from mmdiffmask.data import texts as corpora
from mmdiffmask.masking.text_scores import Passage

MARKERS = "markers"  # in place of a file: << >> and [[ ]] in the texts
_SIGN = re.compile(r"<< | >>|\[\[ | \]\]")
_OPENED = {" >>": "<< ", " ]]": "[[ "}


class Unmarked(NamedTuple):
    """A text without the signs around its entities.

    Attributes:
      text: as `data.texts.without_markers` has it.
      spans: first character and end of what the signs stood around.
      position: in it, of each character of the text with signs, and of its end.
    """

    text: str
    spans: list[tuple[int, int]]
    position: Int[np.ndarray, " c"]


def unmarked(text: str, where: str) -> Unmarked:
    """Takes the signs around entities out; `where` is for messages.

    "<< a >> b" -> "a b" with the span (0, 1).

    Raises:
      ValueError: if signs stand in each other.
    """
    is_sign = np.zeros(len(text) + 1, np.int32)
    opened: dict[str, list[int]] = {"<< ": [], "[[ ": []}
    spans, removed = [], 0
    for sign in _SIGN.finditer(text):
        at = sign.start() - removed
        if sign[0] in opened:
            opened[sign[0]].append(at)
        elif opened[_OPENED[sign[0]]]:
            spans.append((opened[_OPENED[sign[0]]].pop(), at))
        removed += len(sign[0])
        is_sign[sign.start() : sign.end()] = 1
    position = np.arange(len(text) + 1) - (np.cumsum(is_sign) - is_sign)
    clean = corpora.without_markers(text)
    if len(clean) != position[-1]:
        raise ValueError(f"{where}: signs around entities stand in each other")
    return Unmarked(clean, [s for s in spans if s[0] < s[1]], position)


class Entities:
    """(passages) -> the entity that each word is of; -1: none.

    Entities are numbered as they begin; of two that overlap the first, then the longer
    one, has the words. A text has the entities of all the corpus's rows that hold it.

    Attributes:
      n_texts: how many distinct texts the corpus has.
      n_without: how many of them have no entity.
    """

    def __init__(self, spans_of_text: Mapping[str, Iterable[tuple[int, int]]]):
        """Takes the spans of each distinct text, by its `content_id`."""
        self._of_text = {
            key: np.array(sorted({*spans}, key=lambda s: (s[0], -s[1]))).reshape(-1, 2)
            for key, spans in spans_of_text.items()
        }
        self.n_texts = len(self._of_text)
        self.n_without = sum(not len(spans) for spans in self._of_text.values())

    def __call__(self, passages: Sequence[Passage]) -> list[np.ndarray]:
        """The entity of each word of each passage."""
        return [self._of_words(passage) for passage in passages]

    def _of_words(self, passage: Passage) -> Int[np.ndarray, " w"]:
        spans = self._of_text.get(corpora.content_id(passage.text), np.zeros((0, 2)))
        result = np.full(len(passage.words), -1, np.int32)
        words = word_spans(passage)
        for number in range(len(spans) - 1, -1, -1):  # earlier ones last: they stay
            start, end = spans[number]
            result[(words[:, 0] < end) & (words[:, 1] > start)] = number
        return result


def word_spans(passage: Passage) -> Int[np.ndarray, "w 2"]:
    """First character and end of each word of a passage, of its pieces in it."""
    if passage.spans is None:
        raise ValueError("where the words of a window stand in its text is not known")
    result = np.tile(np.array([1 << 40, 0]), (len(passage.words), 1))
    is_word = passage.word_of_piece >= 0
    word = passage.word_of_piece[is_word]
    np.minimum.at(result[:, 0], word, passage.spans[is_word, 0])
    np.maximum.at(result[:, 1], word, passage.spans[is_word, 1])
    return result


def load(source: str, texts: corpora.Texts, are_marked: bool) -> Entities:
    """The entities of a corpus.

    Args:
      source: `MARKERS`, or a file of `id`, `start`, `end` (characters of the text as
        its file has it, the end not in it): .jsonl, or .tsv.
      texts: as their files have them.
      are_marked: False: signs around entities are taken out of the texts.

    Raises:
      ValueError: if the file and the texts do not fit, or texts have no signs.
    """
    if source == MARKERS:
        return Entities(_of_signs(texts, are_marked))
    return Entities(_of_file(pathlib.Path(source), texts, are_marked))


def _of_signs(texts: corpora.Texts, are_marked: bool) -> dict[str, set]:
    if are_marked:
        raise ValueError(
            "--spans markers: the signs must not be in what is hidden; take them out"
            " with --without-markers"
        )
    spans_of_text: dict[str, set] = {}
    for text in texts:
        clean = unmarked(text.text, text.where)
        key = corpora.content_id(clean.text)
        spans_of_text.setdefault(key, set()).update(clean.spans)
    if not any(spans_of_text.values()):
        raise ValueError(
            f"--spans markers: {', '.join(texts.paths)} has no << >> or [[ ]] around an"
            " entity; name a file of spans"
        )
    return spans_of_text


def _of_file(
    path: pathlib.Path, texts: corpora.Texts, are_marked: bool
) -> dict[str, set]:
    of_id: dict[str, list[tuple[int, int, int]]] = {}
    for number, name, start, end in _rows(path):
        of_id.setdefault(name, []).append((number, start, end))
    spans_of_text: dict[str, set] = {}
    text_of_id: dict[str, str] = {}
    for text in texts:
        clean = None if are_marked else unmarked(text.text, text.where)
        content = text.text if clean is None else clean.text
        spans = spans_of_text.setdefault(corpora.content_id(content), set())
        rows = of_id.get(text.id, ())
        if rows and text_of_id.setdefault(text.id, text.text) != text.text:
            raise ValueError(
                f"{text.where}: another text has its id {text.id!r} too, so {path} does"
                " not say whose entities it holds"
            )
        for number, start, end in rows:
            if not 0 <= start < end <= len(text.text):
                raise ValueError(
                    f"{path}, line {number}: {start} to {end} is no stretch of"
                    f" {text.id!r}, which has {len(text.text)} characters"
                )
            if clean is not None:
                start, end = clean.position[[start, end]].tolist()
            if start < end:  # else it holds nothing but signs
                spans.add((start, end))
    unknown = sorted(of_id.keys() - text_of_id.keys())
    if unknown:
        raise ValueError(
            f"{path}: {len(unknown)} ids are of no text, {unknown[0]!r} for one; ids"
            " are those of the texts' lines, else the first 16 digits of a text's"
            " sha256"
        )
    return spans_of_text


def _rows(path: pathlib.Path) -> Iterator[tuple[int, str, int, int]]:
    """(line, id, start, end) of a file of spans."""
    if not path.is_file():
        raise ValueError(
            f"--spans {path}: is missing; name a .jsonl or .tsv file of id, start and"
            f" end, or {MARKERS}"
        )
    is_objects = path.suffix.lower() in corpora.OBJECTS
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip() or (number == 1 and line.split()[:2] == _HEAD):
                continue
            try:
                if is_objects:
                    row = json.loads(line)
                    values = [row[name] for name in ("id", "start", "end")]
                else:
                    values = line.rstrip("\r\n").split("\t")[:3]
                yield number, str(values[0]), *_whole(values[1:])
            except (ValueError, KeyError, TypeError, IndexError):
                form = "objects" if is_objects else "tabs, as its name has no .jsonl"
                raise ValueError(
                    f"{path}, line {number}: needs id, start and end, the last two"
                    f" whole numbers (read as {form}); it is {line.strip()[:60]!r}"
                ) from None


_HEAD = ["id", "start"]


def _whole(values: Sequence[object]) -> tuple[int, int]:
    """Two whole numbers, or ValueError."""
    start, end = (int(str(value)) for value in values)
    return start, end
