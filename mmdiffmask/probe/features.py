"""Frozen features: a clip's vectors from a checkpoint, computed once and cached."""

import collections
import dataclasses
import hashlib
import os
import pathlib
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from mmdiffmask import atomic
from mmdiffmask.training.family import Batch, Encode, Params

SCHEMA = "clip-features-1"  # change it whenever the same inputs give other numbers
_PREFIX = "vector/"  # of the arrays in the cache file


@dataclasses.dataclass(frozen=True)
class Features:
    """One row per clip.

    Attributes:
      clip: the clips' names, each once.
      vectors: read-out -> float32 (clips, d), as the encoder names them.
    """

    clip: tuple[str, ...]
    vectors: dict[str, np.ndarray]


def named(
    clips: Sequence[str], batches: Iterable[Batch]
) -> Iterator[tuple[Sequence[str], Batch]]:
    """The batches of a loader that runs through `clips` in order, with their names."""
    start = 0
    for batch in batches:
        size = len(batch.is_real)
        yield clips[start : start + size], batch
        start += size


def extract(
    encode: Encode,
    params: Params,
    batches: Iterable[tuple[Sequence[str], Batch]],
) -> Features:
    """Runs the frozen encoder over all clips.

    Args:
      encode: `Family.encode`, jitted.
      params: the checkpoint's parameters; only read.
      batches: the names of a batch's clips and the batch. Rows past the names only
        fill up the last batch and are dropped.

    Raises:
      ValueError: if a clip comes twice, if there is none, or if
        a feature is not finite.
    """
    clips: list[str] = []
    parts: dict[str, list[np.ndarray]] = {}
    for names, batch in batches:
        for name, value in encode(params, batch).items():
            vectors = np.asarray(value, np.float32)[: len(names)]
            _check_finite(name, names, vectors)
            parts.setdefault(name, []).append(vectors)
        clips.extend(names)
    if not clips:
        raise ValueError("no clips to compute features of: the records are empty")
    twice = [clip for clip, n in collections.Counter(clips).items() if n > 1]
    if twice:
        raise ValueError(
            f"clip {twice[0]} comes twice: features are per clip, so hand in"
            " the first record of each clip"
        )
    return Features(tuple(clips), {k: np.concatenate(v) for k, v in parts.items()})


def _check_finite(name: str, clips: Sequence[str], vectors: np.ndarray) -> None:
    bad = np.flatnonzero(~np.isfinite(vectors).all(-1))
    if len(bad):
        raise ValueError(
            f"feature {name} of clip {clips[bad[0]]} is not finite: the checkpoint or"
            " the record is broken"
        )


def cache_key(checkpoint: str, records: str, *settings: str) -> str:
    """16 hex digits that name a cache file.

    Args:
      checkpoint: identity of the weights (run fingerprint, seed and step, or a hash).
      records: sha256 of the records' manifest.
      *settings: what else changes the numbers: split, grid, compute dtype.
    """
    text = "\n".join([SCHEMA, checkpoint, records, *settings])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def cached(
    folder: str | os.PathLike, key: str, compute: Callable[[], Features]
) -> Features:
    """The features under `key` in `folder`; computed and stored if not yet there.

    The file appears under its name only when it is complete, so a killed run leaves
    no half cache.

    Raises:
      ValueError: if the stored file is broken.
    """
    path = pathlib.Path(folder) / f"features-{key}.npz"
    if path.exists():
        return _read(path)
    features = compute()
    _write(path, features)
    return features


def _read(path: pathlib.Path) -> Features:
    try:
        with np.load(path, allow_pickle=False) as stored:
            clips = tuple(str(name) for name in stored["clip"])
            vectors = {
                name.removeprefix(_PREFIX): stored[name]
                for name in stored.files
                if name.startswith(_PREFIX)
            }
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path}: broken feature cache ({error}); delete it and run again"
        ) from error
    return Features(clips, vectors)


def _write(path: pathlib.Path, features: Features) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {_PREFIX + name: value for name, value in features.vectors.items()}
    with atomic.place(path) as temporary, temporary.open("wb") as file:
        np.savez(file, clip=np.array(features.clip), **arrays)
        file.flush()
        os.fsync(file.fileno())
