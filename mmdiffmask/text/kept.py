"""What takes an encoder to work out of windows, kept on this machine by its content."""

import io
import pathlib
import zipfile
import zlib
from collections.abc import Callable, Sequence

import numpy as np
import tqdm

from mmdiffmask import versions
from mmdiffmask.data import cache
from mmdiffmask.data import texts as corpora
from mmdiffmask.masking.text_scores import Passage

SCHEMA = "text-values-1"  # change it whenever the same inputs give other numbers
PART = 1024  # windows of a file
_BROKEN = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)

# (passages, called with how many more are read) -> a number for each word or piece
Compute = Callable[[Sequence[Passage], Callable[[int], object]], list[np.ndarray]]


def each(
    parts: Sequence[str], passages: Sequence[Passage], compute: Compute
) -> list[np.ndarray]:
    """The values of each passage, read where they are kept, else worked out.

    They are kept a part at a time, so what was killed goes on at the part that it was
    in; seeds, strategies and files that have the same windows in this order share them.

    Args:
      parts: of the key: what values, and all they depend on but the passages.
      passages: many at once cost less.
      compute: works them out; one passage's values may not depend on the others.

    Raises:
      ValueError: if what is kept is broken, or values are not finite.
    """
    values: list[np.ndarray] = []
    bar = tqdm.tqdm(
        total=len(passages), unit="window", desc=parts[0], leave=False, delay=2
    )
    with bar:
        for first in range(0, len(passages), PART):
            some = passages[first : first + PART]
            names = [_name(passage) for passage in some]
            key = cache.key(SCHEMA, versions.number("features"), *parts, *names)
            path = cache.folder() / "text-values" / f"{key}.npz"
            if path.exists():
                values += _read(path, len(some))
                bar.update(len(some))
                continue
            new = compute(some, bar.update)
            if not all(np.isfinite(value).all() for value in new):
                raise ValueError(f"{parts[0]}: not finite; the encoder is broken")
            _write(path, new)
            values += new
    return values


def _name(passage: Passage) -> str:
    """All of a passage that values depend on."""
    spans = b"" if passage.spans is None else passage.spans.tobytes()
    shape = passage.ids.tobytes().hex() + spans.hex()
    return f"{passage.number} {corpora.content_id(passage.text)} {cache.key(shape)}"


def _read(path: pathlib.Path, count: int) -> list[np.ndarray]:
    """The values of a part; whatever is wrong with it is one sentence."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            flat, sizes = stored["values"], stored["sizes"]
        if len(sizes) != count or sizes.sum() != len(flat):
            raise ValueError("values are missing")
    except _BROKEN as error:
        raise ValueError(
            f"{path}: cannot be read ({error}); delete it and run again"
        ) from error
    return np.split(flat, np.cumsum(sizes)[:-1])


def _write(path: pathlib.Path, values: Sequence[np.ndarray]) -> None:
    buffer = io.BytesIO()
    sizes = np.array([len(value) for value in values], np.int64)
    np.savez(buffer, values=np.concatenate(values), sizes=sizes)
    cache.keep(path, buffer.getvalue(), "it is worked out anew each time")
