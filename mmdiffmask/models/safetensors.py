"""Arrays of a safetensors file: a header of JSON, then their bytes."""

import json
import math
import os
import pathlib

import numpy as np

TYPES = {"F32": "<f4", "F16": "<f2", "I64": "<i8"}
SIZE = 8  # bytes that say how long the header is


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Name -> array.

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
    return np.frombuffer(values[low:high], kind).reshape(entry["shape"])
