"""Frozen features on disk: a folder of parts, each a file of a few thousand rows."""

import contextlib
import os
import pathlib
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import tqdm

from mmdiffmask import atomic, config
from mmdiffmask.probe.features import Features, Note

PART = 4096  # clips or questions of a file; TVQA's of `base` take 65 MB in float16
_PREFIX = "vector/"  # of the arrays in a file
_BROKEN = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)

# (stretch of the rows, what is told of rows that are done) -> their features
Compute = Callable[[slice, Note], Features]


def stored_type(model: config.Model | config.Encoder) -> type[np.floating]:
    """The type that features are stored in: half the bytes where that loses nothing.

    A network that computes in bfloat16 has 8 significant bits; float16 keeps 11. One
    that computes in float32 has 24, which only float32 keeps, so that its heads get
    the numbers that they always got.
    """
    return np.float16 if model.dtype == "bfloat16" else np.float32


class Stored(Mapping[str, np.ndarray]):
    """Read-out -> features of all rows, read from the parts each time it is asked for.

    Only what a head is fitted on is in memory so, not all that a checkpoint gave.
    """

    def __init__(self, paths: Sequence[pathlib.Path], count: int):
        self._paths, self._count = tuple(paths), count
        with _opened(paths[0]) as stored:
            self._names = tuple(
                name.removeprefix(_PREFIX)
                for name in stored.files
                if name.startswith(_PREFIX)
            )

    def __getitem__(self, name: str) -> np.ndarray:
        """The features of all rows, in the type that they are stored in."""
        if name not in self._names:
            raise KeyError(name)
        whole, start = None, 0
        for path in self._paths:
            with _opened(path) as stored:
                part = stored[_PREFIX + name]
                if whole is None:
                    whole = np.empty((self._count, *part.shape[1:]), part.dtype)
                whole[start : start + len(stored["clip"])] = part
                start += len(part)
        return whole

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def cached(
    folder: str | os.PathLike,
    key: str,
    names: Sequence[str],
    compute: Compute,
    *,
    kind: type[np.floating] = np.float32,
    size: int = PART,
) -> Features:
    """The features under `key` in `folder`; parts that are not there are computed.

    A part appears under its name only when it is whole, so what was killed goes on at
    the first part that is missing. One file for all, as versions before wrote it, is
    read as it is.

    Args:
      folder: of the cache.
      key: names what the features depend on (`features.cache_key`).
      names: of all rows, in order: clips or example ids.
      compute: makes those of a stretch.
      kind: what they are stored in (`stored_type`).
      size: rows of a part.

    Raises:
      ValueError: if a stored file is broken, or a value is too large for `kind`.
    """
    single = pathlib.Path(folder) / f"features-{key}.npz"
    if single.exists():
        return _open([single], names)
    stretches = [slice(i, i + size) for i in range(0, max(len(names), 1), size)]
    paths = [
        single.with_suffix("") / f"{i:05}-of-{len(stretches):05}.npz"
        for i in range(len(stretches))
    ]
    todo = [pair for pair in zip(paths, stretches, strict=True) if not pair[0].exists()]
    if todo:
        missing = sum(len(names[part]) for _, part in todo)
        first = len(names) - missing
        bar = tqdm.tqdm(initial=first, total=len(names), desc="features", leave=False)
        with bar:
            for path, part in todo:
                _write(path, compute(part, bar.update), kind)
    return _open(paths, names)


def computed(
    names: Sequence[str], compute: Compute, kind: type[np.floating] = np.float32
) -> Features:
    """The features of `cached`, number for number, with nothing kept on disk.

    Raises:
      ValueError: if a value is too large for `kind`.
    """
    clips: list[str] = []
    parts: dict[str, list[np.ndarray]] = {}
    for start in range(0, max(len(names), 1), PART):
        part = compute(slice(start, start + PART), int)
        clips += part.clip
        for name, value in part.vectors.items():
            parts.setdefault(name, []).append(_narrowed(name, value, kind))
    vectors = {name: np.concatenate(values) for name, values in parts.items()}
    return Features(tuple(clips), vectors)


def _open(paths: Sequence[pathlib.Path], names: Sequence[str]) -> Features:
    """The features in some files, of which together hold these rows."""
    clips: list[str] = []
    for path in paths:
        with _opened(path) as stored:
            part = [str(name) for name in stored["clip"]]
            if part != list(names[len(clips) : len(clips) + len(part)]):
                raise ValueError("it holds other rows")
            clips += part
    if len(clips) != len(names):
        raise ValueError(
            f"{paths[-1]}: broken feature cache (rows are missing); delete it and run"
            " again"
        )
    return Features(tuple(clips), Stored(paths, len(clips)))


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[np.lib.npyio.NpzFile]:
    """A file of the cache; whatever is wrong with it is one sentence."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            yield stored
    except _BROKEN as error:
        raise ValueError(
            f"{path}: broken feature cache ({error}); delete it and run again"
        ) from error


def _write(path: pathlib.Path, features: Features, kind: type[np.floating]) -> None:
    arrays = {}
    for name, value in features.vectors.items():
        arrays[_PREFIX + name] = _narrowed(name, value, kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic.place(path) as temporary, temporary.open("wb") as file:
        np.savez(file, clip=np.array(features.clip), **arrays)
        file.flush()
        os.fsync(file.fileno())


def _narrowed(name: str, value: np.ndarray, kind: type[np.floating]) -> np.ndarray:
    """Features in the type that they are stored in."""
    with np.errstate(over="ignore"):
        narrowed = value.astype(kind)
    if not np.isfinite(narrowed).all():
        raise ValueError(
            f"feature {name}: a value is too large for {kind.__name__}, which"
            " features of model.dtype=bfloat16 are stored in; use float32"
        )
    return narrowed
