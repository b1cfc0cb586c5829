"""Arrays of a safetensors file: a header of JSON, then their bytes."""

import json
import math
import os
import pathlib
from collections.abc import Mapping

import numpy as np

from mmdiffmask import atomic

_BRAIN = "BF16"  # numpy has no such type: read as the upper half of a float32
TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", _BRAIN: "<u2"}
TYPES |= {"I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1", "BOOL": "?"}
SIZE = 8  # bytes that say how long the header is


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Name -> array; bfloat16 becomes float32.

    Raises:
      ValueError: if it is no such file, is cut short, or holds another type.
    """
    content = pathlib.Path(path).read_bytes()
    start = SIZE + int.from_bytes(content[:SIZE], "little")
    try:
        header = json.loads(content[SIZE:start])
        header.pop("__metadata__", None)
        values = memoryview(content)[start:]
        return {name: _array(values, entry) for name, entry in header.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path}: no usable safetensors file ({reason})") from error


def _array(values: memoryview, entry: dict) -> np.ndarray:
    kind, (low, high) = np.dtype(TYPES[entry["dtype"]]), entry["data_offsets"]
    if high - low != math.prod(entry["shape"]) * kind.itemsize or high > len(values):
        raise ValueError("it breaks off, or its shapes do not fit its bytes")
    array = np.frombuffer(values[low:high], kind).reshape(entry["shape"])
    if entry["dtype"] == _BRAIN:
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array


def write(path: str | os.PathLike, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes name -> array as PyTorch's programs read it, whole or not at all.

    Raises:
      ValueError: for an array of a type that such a file cannot have.
    """
    names = {np.dtype(kind): name for name, kind in TYPES.items() if name != _BRAIN}
    header, start, parts = {"__metadata__": {"format": "pt"}}, 0, []
    for name, value in arrays.items():
        if value.dtype not in names:
            raise ValueError(f"{path}: {name} is {value.dtype}, which it cannot hold")
        content = np.ascontiguousarray(value).tobytes()
        header[name] = {
            "dtype": names[value.dtype],
            "shape": list(value.shape),
            "data_offsets": [start, start + len(content)],
        }
        start += len(content)
        parts.append(content)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % SIZE)  # values begin at a multiple of 8
    with atomic.place(pathlib.Path(path)) as unfinished, unfinished.open("wb") as file:
        file.write(len(text).to_bytes(SIZE, "little") + text)
        file.writelines(parts)
