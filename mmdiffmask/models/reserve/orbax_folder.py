"""Reads and writes weights in Orbax folders: our own, and parts of a run's folder.

`write` makes a folder of {"step", "params"}, leaves as given. `read` also takes what
training saves: a run's start/ and any step of its steps/.
"""

import contextlib
import glob
import os
import pathlib
import re
import tempfile
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from mmdiffmask.models.reserve import official_file

MARKS = ("_CHECKPOINT_METADATA", "_METADATA")  # files of any Orbax folder
PARAMS, START, STEP = "params", "start", "step"


def read(path: str | os.PathLike) -> official_file.Stored:
    """The parameters in a folder, as stored, and the step where one is known.

    Raises:
      ValueError: if the folder holds no weights, or they cannot be read.
    """
    folder = epath.Path(path)
    if (folder / PARAMS).is_dir():  # one step of a run
        name = folder.name
        return read(folder / PARAMS)._replace(step=int(name) if name.isdigit() else 0)
    if not any((folder / mark).exists() for mark in MARKS):
        raise ValueError(
            f"{path}: expected an official file, a folder written by mmdiffmask weights"
            " convert, or a run; found a folder of something else"
        )
    try:
        tree = _restore(folder)
    except (ValueError, OSError, KeyError, TypeError) as error:
        cause = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(
            f"{path}: an Orbax folder that cannot be read; is it complete?"
            f" ({cause[0]:.120})"
        ) from error
    return _stored(tree, path)


@contextlib.contextmanager
def plain(folder: str | os.PathLike) -> Iterator[epath.Path]:
    """A path to the folder that means nothing but itself, as Orbax needs it.

    Orbax looks for its files by patterns that begin with the folder's own name, so
    brackets, stars and question marks in it would be read as such.
    """
    path = os.fspath(folder)
    if "://" in path:
        yield epath.Path(path)
        return
    path = os.path.abspath(path)
    if glob.escape(path) == path:
        yield epath.Path(path)
        return
    with tempfile.TemporaryDirectory() as temporary:
        link = pathlib.Path(temporary) / "folder"
        link.symlink_to(path, target_is_directory=True)
        yield epath.Path(link)


def _restore(path: epath.Path) -> dict[str, Any]:
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    with plain(path) as folder, ocp.StandardCheckpointer() as reader:
        metadata = reader.metadata(folder)
        metadata = getattr(metadata, "item_metadata", metadata)
        metadata = getattr(metadata, "tree", metadata)
        target = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), metadata
        )
        return jax.tree.map(np.asarray, reader.restore(folder, target))


def _stored(tree: Any, path: str | os.PathLike) -> official_file.Stored:
    """What a folder's tree says: with a step, with a run's start, or weights alone."""
    if isinstance(tree, dict) and set(tree) == {STEP, PARAMS}:
        return official_file.Stored(int(tree[STEP]), tree[PARAMS])
    if isinstance(tree, dict) and isinstance(tree.get(START), dict):
        return official_file.Stored(0, tree[START])
    if isinstance(tree, dict) and tree:
        return official_file.Stored(0, tree)
    raise ValueError(f"{path}: expected weights in this Orbax folder, found none")


def write(path: str | os.PathLike, params: dict[str, Any], step: int = 0) -> None:
    """Writes a folder that `read` gives back bit for bit; whole or not at all.

    Raises:
      ValueError: if there is something at `path` already.
    """
    folder = epath.Path(path)
    if folder.exists():
        raise ValueError(f"{path}: exists already; name a folder to be made")
    content = {STEP: np.asarray(step), PARAMS: jax.tree.map(np.asarray, params)}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with plain(folder.parent) as parent, ocp.StandardCheckpointer() as writer:
        unfinished = parent / re.sub(r"[*?[]", "_", folder.name + ".unfinished")
        writer.save(unfinished, content, force=True)
        writer.wait_until_finished()
        unfinished.rename(parent / folder.name)
