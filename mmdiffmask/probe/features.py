"""Frozen features: a clip's vectors from a checkpoint (stored by feature_parts.py)."""

import collections
import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from mmdiffmask.training.family import Batch, Encode, Params

SCHEMA = "clip-features-1"  # change it whenever the same inputs give other numbers
Note = Callable[[int], object]  # is told how many rows were done since it was last


@dataclasses.dataclass(frozen=True)
class Features:
    """One row per clip.

    Attributes:
      clip: the clips' names, each once.
      vectors: read-out -> (clips, d), as the encoder names them.
    """

    clip: tuple[str, ...]
    vectors: Mapping[str, np.ndarray]


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
    note: Note = int,
) -> Features:
    """Runs the frozen encoder over all clips; features in float32.

    Args:
      encode: `Family.encode`, jitted; devices share the work as they share the batch.
      params: the checkpoint's parameters; only read.
      batches: the names of a batch's clips and the batch. Rows past the names only
        fill up the last batch and are dropped.
      note: is told of clips that are done.

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
        note(len(names))
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


def joined(parts: Sequence[Features]) -> Features:
    """The rows of all parts, in order."""
    return Features(
        tuple(clip for part in parts for clip in part.clip),
        {
            name: np.concatenate([part.vectors[name] for part in parts])
            for name in parts[0].vectors
        },
    )


def cache_key(checkpoint: str, records: str, *settings: str) -> str:
    """16 hex digits that name what is cached.

    Args:
      checkpoint: identity of the weights (run fingerprint, seed and step, or a hash).
      records: sha256 of the records' manifest.
      *settings: what else changes the numbers: split, grid, compute dtype.
    """
    text = "\n".join([SCHEMA, checkpoint, records, *settings])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
