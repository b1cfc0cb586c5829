"""Text without a video, some of it hidden: Reserve's fourth kind of sequence."""

import functools
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from mmdiffmask.data.pieces import Piece, word_ids
from mmdiffmask.tokens import MASK


@functools.lru_cache(maxsize=4)
def paragraphs(path: str) -> tuple[str, ...]:
    """The lines of a UTF-8 text file that are not blank; read once.

    Raises:
      ValueError: if there is no such file, it is no text, or it says nothing.
    """
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"reserve.random_text={path}: is not UTF-8 text; give a text file with one"
            " paragraph a line, or none"
        ) from error
    except OSError as error:
        raise ValueError(
            f"reserve.random_text={path}: cannot be read ({error.strerror}); give a"
            " text file with one paragraph a line, or none"
        ) from error
    kept = tuple(" ".join(line.split()) for line in text.splitlines())
    kept = tuple(line for line in kept if line)
    if not kept:
        raise ValueError(
            f"reserve.random_text={path}: is empty; give a text file with one paragraph"
            " a line, or none"
        )
    return kept


def hide(
    rng: np.random.Generator,
    paragraph: str,
    encode: Callable[[str], Sequence[int]],
    length: int,
    share: float,
    spans: int,
) -> list[Piece]:
    """A paragraph with runs of whole words hidden, evenly strewn over it.

    The words are dealt into as many stretches of equal length as there are runs, and
    a run lies at random in each: with 640 tokens and 38 runs a run is about 3 words,
    as Reserve's are. Of a long paragraph a part from a random word on is taken.
    reserve.md section 4.1.

    Args:
      rng: draws.
      paragraph: its words are parted by single spaces.
      encode: text -> token ids.
      length: tokens at most, before hiding.
      share: of the words that is hidden, in [0, 0.5].
      spans: most runs.

    Returns:
      One piece for each word seen and for each run. A text of one word is not hidden.
    """
    words = paragraph.split(" ")
    start = int(rng.integers(0, max(1, len(words) - length + 1)))
    ids = [word_ids(encode, word) for word in words[start : start + length]]
    ids = [word for word in ids if word]
    total = np.cumsum([len(word) for word in ids], dtype=int)
    ids = ids[: int(np.searchsorted(total, length, side="right"))]
    count = min(spans, max(1, round(share * len(ids)))) if len(ids) > 1 else 0
    pieces, seen = [], 0
    edges = (np.arange(count + 1) * len(ids) // max(1, count)).tolist()
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        size = max(1, min(round(share * (high - low)), high - low - 1))
        first = int(rng.integers(low, high - size + 1))
        pieces += [Piece(word) for word in ids[seen:first]]
        seen = first + size
        hidden = tuple(token for word in ids[first:seen] for token in word)
        pieces.append(Piece((MASK,), hidden=hidden))
    return pieces + [Piece(word) for word in ids[seen:]]
