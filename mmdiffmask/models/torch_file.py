"""Arrays of a file saved by torch, zip or legacy, by a restricted unpickler.

A zip archive (torch 1.6 and later) holds a pickle `data.pkl` and a file per storage.
The form before it is a row of pickles (magic number, protocol, system, the object, keys
of storages), then each storage's length and values. Nothing but what a state dict
consists of can be loaded.
"""

import collections
import io
import math
import pickle
import zipfile
from typing import Any, NamedTuple

import numpy as np

# Opens every torch file written before 1.6; a zip archive would begin otherwise.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_BRAIN = "bfloat16"  # numpy has no such type: read as the upper half of a float32
_STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": _BRAIN,
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
# How a pickle of another structure than a state dict's shows.
_BROKEN = (pickle.UnpicklingError, EOFError, zipfile.BadZipFile, KeyError, IndexError)
_BROKEN += (TypeError, AttributeError, ValueError, OverflowError, NotImplementedError)
_BROKEN += (RecursionError, MemoryError, RuntimeError)


class _Storage(NamedTuple):
    key: str
    kind: str


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def read(stream: io.BufferedIOBase, name: str = "weight file") -> dict[str, np.ndarray]:
    """Name -> array of a state dict; bfloat16 becomes float32.

    Args:
      stream: the file, opened for reading bytes.
      name: of the file, for messages.

    Raises:
      ValueError: if it is no such file, is cut short, or names any other class.
    """
    try:
        is_zip = stream.read(2) == b"PK"
        stream.seek(0)
        state, storages = (_read_zip if is_zip else _read_legacy)(stream)
        return {_name(key): _array(storages, value) for key, value in state.items()}
    except _BROKEN as error:
        reason = str(error) or type(error).__name__
        raise ValueError(f"{name} is no torch state dict: {reason}") from error


class _Unpickler(pickle.Unpickler):
    """Loads dicts, numbers and descriptions of tensors, nothing else."""

    def find_class(self, module: str, name: str):
        """The few names that a state dict holds, each harmless."""
        allowed = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("torch._utils", "_rebuild_parameter"): _parameter,
        }
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in it")
        return allowed[module, name]

    def persistent_load(self, pid: tuple):
        """The storage that is named; its values lie elsewhere in the file."""
        word, kind, key, *_ = pid
        if word != "storage" or (len(pid) > 5 and pid[5] is not None):
            raise pickle.UnpicklingError("it holds views of storages")
        return _Storage(str(key), kind)


def _tensor(storage: _Storage, offset: int, shape: tuple, stride: tuple, *_: Any):
    return _Tensor(storage, offset, tuple(shape), tuple(stride))


def _parameter(tensor: _Tensor, *_: Any) -> _Tensor:
    return tensor


def _read_zip(stream: io.BufferedIOBase) -> tuple[dict, dict]:
    with zipfile.ZipFile(stream) as archive:
        files = set(archive.namelist())
        (pickled,) = (file for file in files if file.endswith("/data.pkl"))
        folder = pickled.removesuffix("/data.pkl")
        if f"{folder}/byteorder" in files:
            if archive.read(f"{folder}/byteorder") != b"little":
                raise ValueError("it was saved on a big-endian machine")
        state = _Unpickler(io.BytesIO(archive.read(pickled))).load()
        storages = {
            storage: _values(archive.read(f"{folder}/data/{storage.key}"), storage.kind)
            for storage in _storages(state)
        }
    return state, storages


def _read_legacy(stream: io.BufferedIOBase) -> tuple[dict, dict]:
    if _Unpickler(stream).load() != _LEGACY_MAGIC:
        raise ValueError("it begins neither as a zip archive nor as before torch 1.6")
    _, system = _Unpickler(stream).load(), _Unpickler(stream).load()
    if isinstance(system, dict) and not system.get("little_endian", True):
        raise ValueError("it was saved on a big-endian machine")
    state = _Unpickler(stream).load()
    kinds = {storage.key: storage for storage in _storages(state)}
    storages = {}
    for key in _Unpickler(stream).load():
        storage = kinds[str(key)]
        count = int.from_bytes(stream.read(8), "little")
        content = stream.read(count * _size(storage.kind))
        if len(content) < count * _size(storage.kind):
            raise EOFError("it breaks off")
        storages[storage] = _values(content, storage.kind)
    return state, storages


def _storages(state: Any) -> list[_Storage]:
    """The storages of a state dict, each once."""
    if not isinstance(state, dict):
        raise ValueError("it holds something else than names with tensors")
    for key, value in state.items():
        if not isinstance(value, _Tensor):
            raise ValueError(f"{key!r} in it is no tensor")
    return list(dict.fromkeys(tensor.storage for tensor in state.values()))


def _name(key: Any) -> str:
    if not isinstance(key, str):
        raise ValueError(f"{key!r} in it is no name")
    return key


def _size(kind: str) -> int:
    return 2 if kind == _BRAIN else np.dtype(kind).itemsize


def _values(content: bytes, kind: str) -> np.ndarray:
    if kind != _BRAIN:
        return np.frombuffer(content, kind)
    return (np.frombuffer(content, "<u2").astype(np.uint32) << 16).view(np.float32)


def _array(storages: dict[_Storage, np.ndarray], tensor: _Tensor) -> np.ndarray:
    values, (_, offset, shape, stride) = storages[tensor.storage], tensor
    count, least = math.prod(shape), min((offset, *shape, *stride))
    last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
    if least < 0 or (count and max(last + 1, count) > len(values)):
        raise ValueError("a tensor in it reaches past its values")
    if not count:
        return np.zeros(shape, values.dtype)
    bytes_of = [values.itemsize * step for step in stride]
    view = np.lib.stride_tricks.as_strided(values[offset:], shape, bytes_of)
    return np.array(view)
