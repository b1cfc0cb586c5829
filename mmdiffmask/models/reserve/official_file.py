"""Reads the one-file format of the official checkpoints.

A msgpack map of "step", "params" and "opt_state"; an array is extension type 1 (a numpy
scalar: 3) around [shape, dtype name, little-endian bytes in C order]. Source:
reserve.md section 5. Local files are mapped into memory, so looking at the names and
shapes of gigabytes takes no time; what is damaged is named with its byte.
"""

import math
import mmap
import os
import struct
from typing import Any, NamedTuple, NoReturn

import jax.numpy as jnp
import numpy as np
from etils import epath

KEYS = ("step", "params", "opt_state")
ARRAY, SCALAR = 1, 3  # extension types; 2 is a Python complex number: never used
DEEPEST = 32  # levels of maps; Reserve's parameters have 6
LONGEST = 1000  # of a list; only shapes are lists
FLOATS = ("float16", "float32", "bfloat16")  # of parameters
_TYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")
_TYPES += ("uint64", "float16", "float32", "float64")
DTYPES = {name: np.dtype(name) for name in _TYPES} | {"bfloat16": jnp.dtype("bfloat16")}

# First byte of a value -> what it is and, in bytes, how long its length is.
_SIZED = {0xC4: ("bytes", 1), 0xC5: ("bytes", 2), 0xC6: ("bytes", 4)}
_SIZED |= {0xC7: ("extension", 1), 0xC8: ("extension", 2), 0xC9: ("extension", 4)}
_SIZED |= {0xD9: ("text", 1), 0xDA: ("text", 2), 0xDB: ("text", 4)}
_SIZED |= {0xDC: ("list", 2), 0xDD: ("list", 4), 0xDE: ("map", 2), 0xDF: ("map", 4)}
_NUMBERS = {0xCA + i: ">" + kind for i, kind in enumerate("fdBHIQbhiq")}
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}


class Stored(NamedTuple):
    """What a checkpoint holds, arrays as stored.

    `opt_state` is None where none was saved. Files of flax before 0.3.5 have another
    layout there; it is given as it is.
    """

    step: int
    params: dict[str, Any]
    opt_state: Any = None


class CutError(ValueError):
    """The file ends too early; `shapes` are those of the arrays met until there."""

    def __init__(self, message: str, shapes: dict[str, tuple[int, ...]]):
        super().__init__(message)
        self.shapes = shapes


def read(path: str | os.PathLike) -> Stored:
    """Reads a file; local arrays are views of it, read when they are used.

    Raises:
      ValueError: naming the file, what was expected and what was found; `CutError`
        if it ends too early.
    """
    data = _content(path)
    if not len(data):
        raise ValueError(f"{path}: is empty; expected a checkpoint, a msgpack map")
    reader = _Reader(data, str(path))
    kind, count = reader.header()
    if kind != "map":
        raise ValueError(
            f"{path}: is no official checkpoint: expected a msgpack map of"
            f" {', '.join(KEYS)}, found a file that begins with {bytes(data[:8])!r}"
        )
    entries = reader.entries(count, KEYS)
    missing = [key for key in KEYS if key not in entries]
    if missing:
        reader.fail(f"expected {', '.join(KEYS)}, {', '.join(missing)} is missing")
    if reader.at < len(data):
        raise ValueError(
            f"{path}: expected {reader.at:,} bytes by its content, found"
            f" {len(data):,}: something else follows the checkpoint"
        )
    _check_params(entries["params"], reader)
    return Stored(
        _step(entries["step"], reader), entries["params"], entries["opt_state"]
    )


def _content(path: str | os.PathLike) -> memoryview:
    """The bytes of a file, mapped if it is local."""
    target = epath.Path(path)
    is_remote = "://" in str(path)
    try:
        if not target.exists():
            raise ValueError(f"{path}: no such checkpoint")
        if target.is_dir():
            raise ValueError(f"{path}: is a folder; expected an official file")
        if is_remote or not target.stat().length:
            return memoryview(target.read_bytes())
    except ImportError as error:
        raise ValueError(f"{path}: cannot be reached: {error}") from error
    with open(path, "rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


class _Reader:
    """Walks over msgpack values from the beginning of a file."""

    def __init__(self, data: memoryview, name: str):
        self.data, self.name, self.at = data, name, 0
        self.path: list[str] = []
        self.depth = 0
        self.shapes: dict[str, tuple[int, ...]] = {}

    def fail(self, problem: str) -> NoReturn:
        """Raises the sentence on what is wrong here."""
        raise ValueError(
            f"{self.name}: is damaged, or no official checkpoint: in {self._where()},"
            f" byte {self.at:,}: {problem}"
        )

    def _where(self) -> str:
        """The map entry that is being read."""
        return "/".join(self.path) or "its beginning"

    def take(self, count: int) -> memoryview:
        """The next bytes."""
        end = self.at + count
        if end > len(self.data):
            raise CutError(
                f"{self.name}: breaks off in {self._where()}: expected at least"
                f" {end:,} bytes, found {len(self.data):,}",
                self.shapes,
            )
        piece, self.at = self.data[self.at : end], end
        return piece

    def header(self) -> tuple[str, Any]:
        """(kind, length) of the next value; of a number or constant, its value."""
        tag = self.take(1)[0]
        if tag < 0x80 or tag >= 0xE0:
            return "constant", tag if tag < 0x80 else tag - 256
        if tag < 0xC0:
            kinds = (("map", 0xF), ("list", 0xF), ("text", 0x1F), ("text", 0x1F))
            kind, mask = kinds[(tag - 0x80) >> 4]
            return kind, tag & mask
        if tag in _CONSTANTS:
            return "constant", _CONSTANTS[tag]
        if tag in _NUMBERS:
            kind = _NUMBERS[tag]
            return "constant", struct.unpack(kind, self.take(struct.calcsize(kind)))[0]
        if 0xD4 <= tag <= 0xD8:
            return "extension", 1 << (tag - 0xD4)
        if tag not in _SIZED:
            self.fail(f"{tag:#x} begins no msgpack value")
        kind, size = _SIZED[tag]
        return kind, int.from_bytes(self.take(size), "big")

    def value(self) -> Any:
        """The next value: a map, list, array, text, bytes, number or constant."""
        if self.depth > DEEPEST:
            self.fail(f"expected at most {DEEPEST} levels of maps, found more")
        kind, count = self.header()
        self.depth += 1
        if kind == "map":
            result = self.entries(count)
        elif kind == "list":
            if count > LONGEST:
                self.fail(f"expected lists of at most {LONGEST}, found one of {count}")
            result = [self.value() for _ in range(count)]
        elif kind == "extension":
            result = self.array(count)
        elif kind == "text":
            result = self.text(count)
        else:
            result = bytes(self.take(count)) if kind == "bytes" else count
        self.depth -= 1
        return result

    def text(self, count: int) -> str:
        """The next `count` bytes as a name."""
        try:
            return bytes(self.take(count)).decode()
        except UnicodeDecodeError as error:
            self.fail(f"a name is no UTF-8 text ({error.reason})")

    def entries(self, count: int, allowed: tuple[str, ...] | None = None) -> dict:
        """The entries of a map whose header was read."""
        entries: dict[str, Any] = {}
        for _ in range(count):
            kind, size = self.header()
            if kind != "text":
                self.fail(f"expected a name, found a value of kind {kind}")
            key = self.text(size)
            if key in entries or (allowed and key not in allowed):
                wanted = ", ".join(allowed) if allowed else "every name once"
                self.fail(f"expected {wanted}, found {key[:60]!r}")
            self.path.append(key)
            entries[key] = self.value()
            self.path.pop()
        return entries

    def array(self, count: int) -> np.ndarray:
        """The array in an extension whose length was read."""
        code = self.take(1)[0]
        end = self.at + count
        if code not in (ARRAY, SCALAR):
            self.fail(f"expected extension type {ARRAY}, an array, found {code}")
        if self.header() != ("list", 3):
            self.fail("expected an array as [shape, type, bytes], found something else")
        shape, dtype = self.value(), self.value()
        is_shape = isinstance(shape, list) and len(shape) <= DEEPEST
        if not is_shape or not all(type(n) is int and n >= 0 for n in shape):
            self.fail(f"expected the shape of an array, found {shape!r:.60}")
        if not isinstance(dtype, str) or dtype not in DTYPES:
            self.fail(f"expected a type like float16, found {dtype!r:.60}")
        kind, size = self.header()
        wanted = math.prod(shape) * DTYPES[dtype].itemsize
        if kind != "bytes" or size != wanted or self.at + size != end:
            self.fail(f"{dtype}{shape} needs {wanted} bytes, another number is given")
        self.shapes["/".join(self.path)] = tuple(shape)
        return np.frombuffer(self.take(size), DTYPES[dtype]).reshape(shape)


def _step(step: Any, reader: _Reader) -> int:
    """The step, stored as a number or an array without axes."""
    if isinstance(step, np.ndarray) and not step.ndim and step.dtype.kind in "iu":
        step = int(step)
    if type(step) is not int or step < 0:
        raise ValueError(
            f"{reader.name}: expected a whole number as step, found {step!r:.60}"
        )
    return step


def _check_params(params: Any, reader: _Reader) -> None:
    """Every leaf of the parameters must be an array of a floating type."""
    if not isinstance(params, dict) or not params:
        raise ValueError(f"{reader.name}: expected a map of params, found none")
    for path, leaf in flatten(params).items():
        is_array = isinstance(leaf, np.ndarray)
        if not is_array or leaf.dtype.name not in FLOATS:
            value = leaf.dtype.name if is_array else repr(leaf)
            raise ValueError(
                f"{reader.name}: expected arrays of {', '.join(FLOATS)} as params,"
                f" found {value:.60} in {path}"
            )


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Leaves by their path, names joined by "/"; a map without entries has none."""
    leaves = {}
    for name, value in tree.items():
        inner = flatten(value, f"{prefix}{name}/") if isinstance(value, dict) else None
        leaves |= {prefix + name: value} if inner is None else inner
    return leaves


def unflatten(leaves: dict[str, Any]) -> dict[str, Any]:
    """The tree of leaves by their path: `flatten` the other way round."""
    tree: dict[str, Any] = {}
    for path, leaf in leaves.items():
        *names, last = path.split("/")
        node = tree
        for name in names:
            node = node.setdefault(name, {})
        node[last] = leaf
    return tree
