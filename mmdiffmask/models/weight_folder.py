"""Weights in a folder as Hugging Face lays them out: one file, shards, or torch's.

Folders are found by path or in the hub's cache, `models--X--Y/snapshots/REV`; nothing
is fetched.
"""

import json
import os
import pathlib
from typing import Any

import numpy as np

from mmdiffmask.models import safetensors, torch_file

CONFIG = "config.json"
_INDEX = ".index.json"
STEMS = ("model", "pytorch_model")
# The first of a stem and an ending that is there is read.
_ENDINGS = (".safetensors", f".safetensors{_INDEX}", ".bin", f".bin{_INDEX}")


def resolve(name_or_path: str | os.PathLike) -> pathlib.Path:
    """The folder of a model.

    Args:
      name_or_path: such a folder, a `models--X--Y` folder of the hub's cache, or the
        name X/Y of a model in that cache.

    Raises:
      ValueError: if there is none; says where it was looked for.
    """
    path = pathlib.Path(name_or_path).expanduser()
    if path.is_dir():
        return _snapshot(path) if (path / "snapshots").is_dir() else path
    if path.exists():
        raise ValueError(f"{path}: a model is a folder with {CONFIG} and weights")
    cached = _hub() / f"models--{str(name_or_path).replace('/', '--')}"
    if cached.is_dir():
        return _snapshot(cached)
    raise ValueError(
        f"{name_or_path}: no such folder, and no model of that name in {_hub()};"
        " nothing is fetched: name a folder with config.json and weights"
    )


def _hub() -> pathlib.Path:
    """Where the hub's programs keep models."""
    if "HF_HUB_CACHE" in os.environ:
        return pathlib.Path(os.environ["HF_HUB_CACHE"])
    home = os.environ.get("HF_HOME") or "~/.cache/huggingface"
    return pathlib.Path(home).expanduser() / "hub"


def _snapshot(folder: pathlib.Path) -> pathlib.Path:
    """The revision that `main` names, else the only one."""
    main = folder / "refs" / "main"
    if main.is_file():
        path = folder / "snapshots" / main.read_text().strip()
        if path.is_dir():
            return path
    revisions = sorted(p for p in (folder / "snapshots").iterdir() if p.is_dir())
    if len(revisions) != 1:
        raise ValueError(
            f"{folder}: has {len(revisions)} snapshots and no usable refs/main; name"
            " one of its snapshots"
        )
    return revisions[0]


def read_config(folder: pathlib.Path) -> dict[str, Any]:
    """The content of config.json.

    Raises:
      ValueError: if it is missing or no JSON object.
    """
    return _read_json(folder / CONFIG)


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: holds no object of names and values")
    return content


def find(folder: pathlib.Path, stems: tuple[str, ...] = STEMS) -> pathlib.Path | None:
    """The file that `read` reads; None if there is none."""
    files = (folder / f"{stem}{ending}" for stem in stems for ending in _ENDINGS)
    return next((path for path in files if path.is_file()), None)


def read(
    folder: pathlib.Path, stems: tuple[str, ...] = STEMS
) -> tuple[pathlib.Path, dict[str, np.ndarray]]:
    """The file that was read (of shards: their index), and name -> array.

    Args:
      folder: where they lie.
      stems: names without an ending, the first that is there.

    Raises:
      ValueError: if there are none, or they are damaged or incomplete.
    """
    path = find(folder, stems)
    if path is None:
        raise ValueError(
            f"{folder}: holds no weights: {stems[0]}.safetensors, {stems[-1]}.bin, or"
            " an index of such files"
        )
    return path, _read_shards(path) if path.name.endswith(_INDEX) else read_file(path)


def read_file(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Name -> array of one file, safetensors or torch's.

    Raises:
      ValueError: if it is damaged.
    """
    if path.suffix == ".safetensors":
        return safetensors.read(path)
    with path.open("rb") as stream:
        return torch_file.read(stream, str(path))


def _read_shards(index: pathlib.Path) -> dict[str, np.ndarray]:
    file_of = _read_json(index).get("weight_map")
    if not isinstance(file_of, dict) or not file_of:
        raise ValueError(f"{index}: has no weight_map of names and files")
    arrays = {}
    for file in sorted(set(map(str, file_of.values()))):
        path = index.parent / file
        if pathlib.PurePath(file).name != file or not path.is_file():
            raise ValueError(f"{index}: names a file {file}, which is not beside it")
        shard = read_file(path)
        wanted = {name for name, other in file_of.items() if other == file}
        if wanted != shard.keys():
            odd = sorted(wanted ^ shard.keys())
            raise ValueError(
                f"{index}: {file} should hold {len(wanted)} arrays and has"
                f" {len(shard)}; the first that differs is {odd[0]}"
            )
        arrays |= shard
    return arrays
