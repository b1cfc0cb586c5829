"""Reads a frozen TensorFlow graph: as much protobuf as its weights need."""

import dataclasses
import struct
from collections.abc import Iterator

import numpy as np

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclasses.dataclass(frozen=True)
class Node:
    """One operation: its kind, the names of its inputs, its raw attributes."""

    op: str
    inputs: tuple[str, ...]
    attributes: dict[str, bytes]

    def numbers(self, name: str) -> tuple[int, ...]:
        """An attribute that is a list of integers, `strides` for one."""
        packed = _first(_first(self.attributes[name], 1), 3)
        values, at = [], 0
        while at < len(packed):
            value, at = _varint(packed, at)
            values.append(value)
        return tuple(values)

    def number(self, name: str) -> float:
        """An attribute that is a float, `epsilon` for one."""
        return float(_first(self.attributes[name], 4))

    def text(self, name: str) -> str:
        """An attribute that is a string, `padding` for one."""
        return bytes(_first(self.attributes[name], 2)).decode()

    def tensor(self) -> np.ndarray:
        """The float32 value of a constant.

        Raises:
          ValueError: if it holds another type.
        """
        proto = _first(self.attributes["value"], 8)
        if _first(proto, 1) != 1:
            raise ValueError("frozen graph: a constant is not float32")
        dims = [_first(dim, 1) for dim in _all(_first(proto, 2), 2)]
        raw = _all(proto, 4)
        if raw:
            return np.frombuffer(raw[0], "<f4").reshape(dims)
        listed = b"".join(
            value if isinstance(value, bytes) else struct.pack("<f", value)
            for value in _all(proto, 5)
        )
        values = np.frombuffer(listed, "<f4")
        if len(values) == 1:  # one value for a whole tensor is written once
            return np.broadcast_to(values[0], dims)
        return values.reshape(dims)


def read_graph(content: bytes) -> dict[str, Node]:
    """Name -> node of a GraphDef.

    Raises:
      ValueError: if the bytes break off or are no protobuf message.
    """
    nodes = {}
    for node in _all(content, 1):
        entries = _all(node, 5)
        nodes[_first(node, 1).decode()] = Node(
            op=_first(node, 2).decode(),
            inputs=tuple(name.decode() for name in _all(node, 3)),
            attributes={_first(e, 1).decode(): _first(e, 2) for e in entries},
        )
    return nodes


def fields(message: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """(number, value) of each field of a message, in the order written.

    Varints come as non-negative integers, 32 and 64 bit values as floats, all else
    (texts, messages, packed lists) as bytes.

    Raises:
      ValueError: if the message breaks off or has an unknown wire type.
    """
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        wire = tag & 7
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        if wire == _BYTES:
            size, at = _varint(message, at)
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"protobuf: wire type {wire} at byte {at}")
        piece, at = message[at : at + size], at + size
        if len(piece) < size:
            raise ValueError(f"protobuf: message breaks off at byte {len(message)}")
        if wire == _BYTES:
            yield tag >> 3, piece
        else:
            yield tag >> 3, struct.unpack("<f" if size == 4 else "<d", piece)[0]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The base-128 number at byte `at`, and where the next field begins."""
    value = shift = 0
    while at < len(data):
        value |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return value, at
    raise ValueError(f"protobuf: message breaks off at byte {len(data)}")


def _all(message: bytes, number: int) -> list:
    return [value for field, value in fields(message) if field == number]


def _first(message: bytes, number: int):
    for field, value in fields(message):
        if field == number:
            return value
    return {1: 0}.get(number, b"")
