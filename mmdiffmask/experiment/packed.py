"""Lists of numbers as short strings, for files that hold thousands of answers.

    [1, 0, 0, 1]          {"n": 4, "bits": "..."}
    [1, 0.5, 0]           {"n": 3, "ties": "..."}        1, or 1 of so many; 0
    [7, 2, 0]             {"n": 3, "whole": "..."}
    [-0.105, -2.3, None]  {"n": 3, "per_unit": 1000, "values": "...", "none": "..."}

The strings are base 85 of bytes that zlib has pressed. Answers come back as they were,
other numbers rounded to 1 / per_unit.
"""

import base64
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

SHORTEST = 8  # a shorter list stays a list
LARGEST_TIE = 2**16 - 1
Number = int | float | None


def pack(values: Sequence[Number], per_unit: int = 1000) -> dict[str, Any]:
    """The list as JSON has it.

    Args:
      values: numbers; None where there is none.
      per_unit: how fine numbers are kept that are no answers: steps of a unit.
    """
    is_none = np.array([value is None for value in values], bool)
    numbers = np.array([0.0 if value is None else value for value in values], float)
    size = {"n": len(values)}
    if not is_none.any() and np.isin(numbers, (0.0, 1.0)).all():
        return size | {"bits": pack_bits(numbers)}
    candidates = np.rint(1 / np.where(numbers > 0, numbers, np.inf))
    shares = _shares(candidates)
    if not is_none.any() and np.allclose(shares, numbers, rtol=0, atol=1e-12):
        return size | {"ties": pack_ints(candidates.astype(np.int64))}
    scaled = np.rint(numbers * per_unit).astype(np.int64)
    nones = {"none": pack_bits(is_none)} if is_none.any() else {}
    return size | {"per_unit": per_unit, "values": pack_ints(scaled)} | nones


def pack_whole(values: Sequence[int]) -> dict[str, Any]:
    """A list of whole numbers, as classes are known by, as JSON has it."""
    return {"n": len(values), "whole": pack_ints(np.array(values, np.int64))}


def is_exact(values: Sequence[Number]) -> bool:
    """Whether `pack` rounds nothing: all are right, wrong, or a tie's share."""
    return "per_unit" not in pack(values)


def unpack(content: dict[str, Any]) -> list[Number]:
    """The list that `pack` made a string of.

    Raises:
      ValueError: if the string is damaged.
    """
    n = content["n"]
    if "bits" in content:
        return unpack_bits(content["bits"], n)
    if "whole" in content:
        return unpack_ints(content["whole"], n).tolist()
    if "ties" in content:
        shares = _shares(unpack_ints(content["ties"], n).astype(float))
        return [int(x) if x in (0.0, 1.0) else float(x) for x in shares]
    values = unpack_ints(content["values"], n) / content["per_unit"]
    is_none = unpack_bits(content["none"], n) if "none" in content else [0] * n
    pairs = zip(values.tolist(), is_none, strict=True)
    return [None if absent else value for value, absent in pairs]


def is_packed(content: Any) -> bool:
    """Whether a value of JSON is what `pack` gives."""
    return isinstance(content, dict) and any(
        content.keys() == {"n", *names}
        for names in (
            ["bits"],
            ["ties"],
            ["whole"],
            ["per_unit", "values"],
            ["per_unit", "values", "none"],
        )
    )


def _shares(candidates: np.ndarray) -> np.ndarray:
    """1 / n of each; 0 of 0."""
    return np.where(candidates > 0, 1 / np.maximum(candidates, 1), 0.0)


def pack_bits(values: Sequence[Number] | np.ndarray) -> str:
    """A string of zeros and ones."""
    return _text(np.packbits(np.asarray(values, bool)).tobytes())


def unpack_bits(text: str, n: int) -> list[Number]:
    """The n zeros and ones.

    Raises:
      ValueError: if the string is damaged or too short.
    """
    bits = np.unpackbits(np.frombuffer(_bytes(text), np.uint8))
    if len(bits) < n:
        raise ValueError(f"{len(bits)} bits where {n} are due")
    return bits[:n].tolist()


def pack_ints(values: Int[np.ndarray, " e"]) -> str:
    """A string of whole numbers: their bytes, all lowest ones first, and so on.

    The higher bytes are much alike, so zlib presses them best side by side.
    """
    low = int(values.min(initial=0))
    planes = (values - low).astype("<u8").view(np.uint8).reshape(-1, 8).T
    used = max(1, int(np.flatnonzero(planes.any(1)).max(initial=0)) + 1)
    head = np.array([low, used], "<i8").tobytes()
    return _text(head + planes[:used].tobytes())


def unpack_ints(text: str, n: int) -> Int[np.ndarray, " e"]:
    """The n whole numbers.

    Raises:
      ValueError: if the string is damaged or of another length.
    """
    data = _bytes(text)
    low, used = np.frombuffer(data[:16], "<i8").tolist()
    planes = np.zeros((8, n), np.uint8)
    planes[:used] = np.frombuffer(data[16:], np.uint8).reshape(used, n)
    return np.ascontiguousarray(planes.T).view("<u8")[:, 0].astype(np.int64) + low


def _text(data: bytes) -> str:
    return base64.b85encode(zlib.compress(data, 9)).decode("ascii")


def _bytes(text: str) -> bytes:
    try:
        return zlib.decompress(base64.b85decode(text))
    except zlib.error as error:
        raise ValueError(str(error)) from error
