"""Writes ONNX models: as much protobuf as small graphs of pictures need.

Parts are the bytes of a graph's fields, to be joined in any order:

    kernel = constant("w", np.ones((1, 3, 2, 2), np.float32))
    sums = node("Conv", ["x", "w"], "y", kernel_shape=[2, 2])
    ends = value(INPUT, "x", [1, 3, 8, 8]), value(OUTPUT, "y", [1, 1, 7, 7])
    content = model(kernel, sums, *ends)

Field numbers are those of onnx.proto.
"""

from collections.abc import Sequence

import numpy as np

INPUT, OUTPUT = 11, 12  # fields of a graph
_FLOAT32, _INT64 = 1, 7  # onnx.TensorProto
_ONE_INTEGER, _INTEGERS = 2, 7  # onnx.AttributeProto


def number(field: int, value: int) -> bytes:
    """A field that is a non-negative integer."""
    return _varint(field << 3) + _varint(value)


def message(field: int, *parts: bytes | str) -> bytes:
    """A field that is a text, or a message made of the parts."""
    body = b"".join(p.encode() if isinstance(p, str) else p for p in parts)
    return _varint(field << 3 | 2) + _varint(len(body)) + body


def node(
    op: str, inputs: Sequence[str], output: str, **attributes: int | Sequence[int]
) -> bytes:
    """An operation on named values."""
    names = [message(1, name) for name in inputs]
    fields = [_attribute(name, value) for name, value in attributes.items()]
    return message(1, *names, message(2, output), message(4, op), *fields)


def constant(name: str, array: np.ndarray) -> bytes:
    """A named array: int64 if it is, else float32."""
    kind = _INT64 if array.dtype == np.int64 else _FLOAT32
    dims = [number(1, size) for size in array.shape]
    raw = message(9, array.astype("<i8" if kind == _INT64 else "<f4").tobytes())
    return message(5, *dims, number(2, kind), message(8, name), raw)


def value(
    field: int, name: str, shape: Sequence[int | str], kind: int = _FLOAT32
) -> bytes:
    """An INPUT or OUTPUT of the graph; a text in the shape names a free size."""
    dims = (
        message(1, message(2, size) if isinstance(size, str) else number(1, size))
        for size in shape
    )
    tensor = message(1, number(1, kind), message(2, *dims))
    return message(field, message(1, name), message(2, tensor))


def model(*graph: bytes) -> bytes:
    """The whole file's bytes: opset 11, the version that YOLOX exports."""
    opset = message(8, message(1, ""), number(2, 11))
    return number(1, 6) + message(7, *graph, message(2, "graph")) + opset


def _attribute(name: str, value: int | Sequence[int]) -> bytes:
    if isinstance(value, int):
        return message(5, message(1, name), number(3, value), number(20, _ONE_INTEGER))
    listed = [number(8, i) for i in value]
    return message(5, message(1, name), *listed, number(20, _INTEGERS))


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])
