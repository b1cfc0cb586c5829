"""Writes the one-file format of the official checkpoints, byte for byte.

See `official_file` for the format. The bytes are those that flax's serialization
gives, without a second copy of the parameters in memory.
"""

import math
import os
from collections.abc import Iterator
from typing import Any

import msgpack
import numpy as np
from etils import epath

from mmdiffmask import atomic
from mmdiffmask.models.reserve import official_file

LARGEST = float(np.finfo(np.float16).max)  # 65504
_BYTES = (0xC4, 0xC5, 0xC6)  # first byte by how long the length is: 1, 2, 4 bytes
_EXTENSION = (0xC7, 0xC8, 0xC9)
_FIXED = {1: 0xD4, 2: 0xD5, 4: 0xD6, 8: 0xD7, 16: 0xD8}  # extensions of these sizes


def write(path: str | os.PathLike, params: dict[str, Any], step: int = 0) -> None:
    """Writes parameters as the reference does without optimizer; whole or not at all.

    Names are sorted and leaves rounded to float16, so that what is below 6e-8 becomes
    0 (reserve.md section 5).

    Args:
      path: the file; one that is there is replaced at the end.
      params: nested maps of float16 or float32 arrays.
      step: updates done.

    Raises:
      ValueError: naming the first array that float16 cannot hold.
    """
    target = epath.Path(path)
    if target.is_dir():
        raise ValueError(f"{path}: is a folder; name a file to write")
    target.parent.mkdir(parents=True, exist_ok=True)
    content = {"step": step, "params": _sort(params), "opt_state": None}
    with atomic.place(target) as temporary, temporary.open("wb") as file:
        for piece in _pieces(content, ""):
            if not isinstance(piece, bytes):
                piece = _to_half(*piece, path).reshape(-1).data
            file.write(piece)


def size(params: dict[str, Any], step: int, has_optimizer: bool = False) -> int:
    """How many bytes the reference's file of such parameters has.

    Args:
      params: nested maps of arrays, or of anything with `.shape` and `.dtype`.
      step: updates done.
      has_optimizer: count Adam's moments and counters too (reserve.md section 5).
    """
    content = {"step": step, "params": params, "opt_state": None}
    if has_optimizer:
        count = np.zeros((), np.int32)
        adam = {"count": count, "mu": _moments(params), "nu": _moments(params)}
        state = {"0": adam, "1": {"inner_state": {}}, "2": {"count": count}, "3": {}}
        content |= {"step": count, "opt_state": state}
    total = 0
    for piece in _pieces(content, ""):
        if isinstance(piece, bytes):
            total += len(piece)
        else:
            total += math.prod(piece[1].shape) * _stored_type(piece[1]).itemsize
    return total


def _moments(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: _moments(value) for name, value in tree.items()}
    bfloat16 = official_file.DTYPES["bfloat16"]
    return np.broadcast_to(np.zeros((), bfloat16), tree.shape)  # takes no memory


def _sort(tree: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    return {name: _sort(tree[name]) for name in sorted(tree)}


def _pieces(value: Any, path: str) -> Iterator[bytes | tuple[str, Any]]:
    """The bytes of a value, in order; (path, array) stands for an array's own."""
    if isinstance(value, dict):
        yield msgpack.Packer().pack_map_header(len(value))
        for name, inner in value.items():
            yield msgpack.packb(name)
            yield from _pieces(inner, f"{path}/{name}" if path else name)
    elif value is None or isinstance(value, int):
        yield msgpack.packb(value)
    else:
        dtype = _stored_type(value)
        n_bytes = math.prod(value.shape) * dtype.itemsize
        inside = msgpack.Packer().pack_array_header(3)
        inside += msgpack.packb(list(value.shape)) + msgpack.packb(dtype.name)
        inside += _header(_BYTES, n_bytes)
        length = len(inside) + n_bytes
        if length in _FIXED:
            head = bytes([_FIXED[length]])
        else:
            head = _header(_EXTENSION, length)
        yield head + bytes([official_file.ARRAY]) + inside
        yield path, value


def _header(tags: tuple[int, int, int], length: int) -> bytes:
    """A first byte and the length, in as few bytes as hold it."""
    index = (length > 0xFF) + (length > 0xFFFF)
    return bytes([tags[index]]) + length.to_bytes(1 << index, "big")


def _stored_type(leaf: Any) -> np.dtype:
    """float32 is stored as float16, everything else as it is."""
    dtype = np.dtype(leaf.dtype)
    return np.dtype(np.float16) if dtype == np.float32 else dtype


def _to_half(name: str, leaf: Any, path: str | os.PathLike) -> np.ndarray:
    values = np.asarray(leaf)
    if values.dtype not in (np.float16, np.float32):
        raise ValueError(
            f"{path}: {name} is {values.dtype.name}; expected float32 or float16"
        )
    is_held = np.abs(values) <= LARGEST  # False for NaN too
    if not is_held.all():
        raise ValueError(
            f"{path}: not written: {name} holds {values[~is_held].flat[0]:g}, and"
            f" float16 holds finite numbers up to {LARGEST:g}"
        )
    return np.ascontiguousarray(values, np.float16)
