"""Scores or masks of patches by example id, from a user's .npz file (docs/masks.md)."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterable

import numpy as np

from mmdiffmask import config
from mmdiffmask import grid as grids

NAMES = ("scores", "masks")  # settings of masking, and arrays of the file
SHOWN = 3  # ids named in a message


@dataclasses.dataclass(frozen=True)
class Table:
    """What a file holds, an entry for each example.

    Attributes:
      path: of the file.
      name: the setting that names it, and the array that is read: one of NAMES.
      place: example id -> its place in `values`.
      values: of each patch of each example (e, t, n): scores, or True = hidden.
      grid: rows and columns that the file says it is for; None: it says nothing.
    """

    path: str
    name: str
    place: dict[str, int]
    values: np.ndarray
    grid: tuple[int, ...] | None

    @property
    def where(self) -> str:
        """How messages call it."""
        return f"{self.path} (masking.{self.name})"

    def of(self, example_id: str) -> np.ndarray:
        """The entry of an example (t, n).

        Raises:
          ValueError: if the file has none.
        """
        if example_id not in self.place:
            raise ValueError(f"{self.where}: has no example {example_id!r}; add it")
        return self.values[self.place[example_id]]

    def check_shape(self, grid: grids.PatchGrid, segments: int) -> None:
        """Checks that entries have a value for every patch of a clip.

        Raises:
          ValueError: if they do not.
        """
        needed = (segments, grid.n_patches)
        if self.values.shape[1:] != needed:
            raise ValueError(
                f"{self.where}: an example has values of shape {self.values.shape[1:]},"
                f" but {segments} frames of {grid} patches need {needed}, patches of a"
                " frame row by row"
            )
        if self.grid not in (None, (grid.rows, grid.cols)):
            raise ValueError(
                f"{self.where}: is for a grid of {'x'.join(map(str, self.grid))}, but"
                f" the records have {grid}; make the file again for these records"
            )

    def check_ids(self, example_ids: Iterable[str]) -> None:
        """Checks that there is an entry for each of these examples.

        Raises:
          ValueError: if one lacks, with how many and which.
        """
        lacking = [name for name in example_ids if name not in self.place]
        if lacking:
            shown = ", ".join(map(repr, lacking[:SHOWN]))
            raise ValueError(
                f"{self.where}: lacks {len(lacking)} of the examples that are masked:"
                f" {shown}{', ...' * (len(lacking) > SHOWN)}; it has"
                f" {len(self.place)}, as {next(iter(self.place))!r}"
            )


def of_settings(masking: config.Masking) -> dict[str, Table]:
    """Setting -> the table of its file, of those that name one.

    Raises:
      ValueError: as `load`.
    """
    paths = {name: path_of(masking, name) for name in NAMES}
    return {name: load(path, name) for name, path in paths.items() if path is not None}


def path_of(masking: config.Masking, name: str) -> str | None:
    """The file that a setting names; None: it names none."""
    value = getattr(masking, name)
    return None if value in config.MASKS else value


def load(path: str, name: str) -> Table:
    """The table of an .npz file; read again only if the file was written again.

    Args:
      path: of the file.
      name: of the setting that names it.

    Raises:
      ValueError: if the file is missing, or its ids or values cannot serve.
    """
    if not pathlib.Path(path).is_file():
        raise ValueError(f"{path}: no such file (masking.{name})")
    status = os.stat(path)
    return _load(path, name, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=4)
def _load(path: str, name: str, time_ns: int, size: int) -> Table:
    """`time_ns` and `size` tell a file that was written again."""
    del time_ns, size
    where = f"{path} (masking.{name})"
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {k: stored[k] for k in ("ids", name, "grid") if k in stored.files}
            names = ", ".join(stored.files) or "none"
    except Exception as error:
        raise ValueError(f"{where}: not an .npz file of arrays: {error}") from error
    for needed in ("ids", name):
        if needed not in arrays:
            raise ValueError(f"{where}: has no array {needed!r}; its arrays: {names}")
    ids, values = arrays["ids"], arrays[name]
    _check_ids(where, ids)
    if values.ndim != 3 or len(values) != len(ids):
        raise ValueError(
            f"{where}: {name!r} has shape {values.shape}, but {len(ids)} ids need"
            f" ({len(ids)}, frames, patches of a frame)"
        )
    _check_values(where, name, ids, values)
    grid = tuple(map(int, arrays["grid"].reshape(-1))) if "grid" in arrays else None
    return Table(path, name, {str(x): i for i, x in enumerate(ids)}, values, grid)


def _check_ids(where: str, ids: np.ndarray) -> None:
    if ids.ndim != 1 or not len(ids) or ids.dtype.kind != "U":
        raise ValueError(
            f"{where}: 'ids' must be a list of example ids as text, but has shape"
            f" {ids.shape} and type {ids.dtype}"
        )
    names, count = np.unique(ids, return_counts=True)
    if (count > 1).any():
        raise ValueError(f"{where}: id {str(names[count > 1][0])!r} stands there twice")


def _check_values(where: str, name: str, ids: np.ndarray, values: np.ndarray) -> None:
    """Masks are booleans, scores finite numbers."""
    if name == "masks":
        if values.dtype != bool:
            raise ValueError(
                f"{where}: 'masks' has type {values.dtype}; must be bool, True = hidden"
            )
        return
    if values.dtype.kind not in "fiu":
        raise ValueError(f"{where}: 'scores' has type {values.dtype}; needs numbers")
    is_finite = np.isfinite(values).all((1, 2))
    if not is_finite.all():
        first = str(ids[np.flatnonzero(~is_finite)[0]])
        raise ValueError(
            f"{where}: scores of {first!r} are not all finite; write a number for every"
            " patch, 0 where there is no picture"
        )
