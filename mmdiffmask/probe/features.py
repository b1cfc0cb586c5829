"""Frozen features: a clip's vectors from a checkpoint, computed once and cached."""

import collections
import dataclasses
import hashlib
import os
import pathlib
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mmdiffmask import atomic, types
from mmdiffmask import grid as grids
from mmdiffmask.training.family import Params

SCHEMA = "clip-features-1"  # change it whenever the same inputs give other numbers
_PREFIX = "vector/"  # of the arrays in the cache file

Encode = Callable[[Any, types.VideoBatch], Mapping[str, Array]]


@dataclasses.dataclass(frozen=True)
class Features:
    """One row per clip.

    Attributes:
      clip: the clips' names, each once.
      vectors: read-out name ("joint", "vit") -> float32 (clips, d).
    """

    clip: tuple[str, ...]
    vectors: dict[str, np.ndarray]


def without_language(batch: types.VideoBatch) -> types.VideoBatch:
    """The batch with every text and audio token taken out.

    Subtitles narrate what a label asks for, so a read-out that saw them would measure
    reading. design.md section 7, read-out `clip`.
    """
    return batch._replace(
        text_tokens=jnp.zeros_like(batch.text_tokens),
        text_segment=jnp.zeros_like(batch.text_segment),
        audio_tokens=jnp.zeros_like(batch.audio_tokens),
        audio_segment=jnp.zeros_like(batch.audio_segment),
        spectrogram=jnp.zeros_like(batch.spectrogram),
        is_audio_valid=jnp.zeros_like(batch.is_audio_valid),
    )


def valid_cells(
    grid: grids.PatchGrid, is_patch_valid: Bool[Array, "b t n"]
) -> Bool[Array, "b t c"]:
    """Cells with at least one valid patch."""
    cell = grids.cell_of_patch(grid)
    count = jnp.zeros((*is_patch_valid.shape[:2], grid.n_cells), jnp.int32)
    return count.at[:, :, cell].add(is_patch_valid.astype(jnp.int32)) > 0


def mean_over_cells(
    cells: Float[Array, "b t c d"], is_valid: Bool[Array, "b t c"]
) -> Float[Array, "b d"]:
    """Mean over a clip's valid cells, in float32; 0 for a clip without any."""
    weight = is_valid.astype(jnp.float32)[..., None]
    kept = jnp.where(is_valid[..., None], cells.astype(jnp.float32), 0.0)
    return kept.sum((1, 2)) / jnp.maximum(weight.sum((1, 2)), 1.0)


def clip_encoder(
    apply: Callable[[Params, types.VideoBatch], tuple[Array, Array]],
    grid: grids.PatchGrid,
) -> Encode:
    """The read-out `clip` (design.md section 7) of a model.

    Args:
      apply: (params, batch) -> the joint transformer's output at the visual cells and
        the vision tower's own pooled cells (`seq_attnpool`): both (b, t, c, d) or
        (b, t * c, d), frame after frame.
      grid: the patch grid of the batches.

    Returns:
      A jitted (params, batch) -> {"joint": (b, d), "vit": (b, d)}: means over the
      valid cells. It takes text and sound out of the batch itself.
    """

    @jax.jit
    def encode(
        params: Params, batch: types.VideoBatch
    ) -> dict[str, Float[Array, "b d"]]:
        joint, vit = apply(params, without_language(batch))
        is_valid = valid_cells(grid, batch.is_patch_valid)
        is_valid = is_valid & batch.is_frame_valid[:, :, None]
        return {
            name: mean_over_cells(cells.reshape(*is_valid.shape, -1), is_valid)
            for name, cells in (("joint", joint), ("vit", vit))
        }

    return encode


def named(
    clips: Sequence[str], batches: Iterable[types.VideoBatch]
) -> Iterator[tuple[Sequence[str], types.VideoBatch]]:
    """The batches of a loader that runs through `clips` in order, with their names."""
    start = 0
    for batch in batches:
        size = len(batch.is_real)
        yield clips[start : start + size], batch
        start += size


def extract(
    encode: Encode,
    params: Any,
    batches: Iterable[tuple[Sequence[str], types.VideoBatch]],
) -> Features:
    """Runs the frozen encoder over all clips.

    Args:
      encode: (params, batch) -> name -> (b, d); see `clip_encoder`.
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
