"""Writes small ONNX graphs: as much protobuf as they need, no package."""

import numpy as np

STRIDES = (8, 16, 32)


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def message(field: int, *parts: bytes | str) -> bytes:
    body = b"".join(p.encode() if isinstance(p, str) else p for p in parts)
    return varint(field << 3 | 2) + varint(len(body)) + body


def attribute(name: str, value) -> bytes:
    if isinstance(value, int):
        return message(5, message(1, name), number(3, value), number(20, 2))
    listed = b"".join(number(8, i) for i in value)
    return message(5, message(1, name), listed, number(20, 7))


def node(op: str, inputs: list[str], output: str, **attributes) -> bytes:
    names = b"".join(message(1, name) for name in inputs)
    fields = [attribute(name, value) for name, value in attributes.items()]
    parts = (names, message(2, output), message(3, output), message(4, op), *fields)
    return message(1, *parts)


def constant(name: str, array: np.ndarray) -> bytes:
    kind = 7 if array.dtype == np.int64 else 1
    dims = b"".join(number(1, size) for size in array.shape)
    raw = message(9, array.astype("<i8" if kind == 7 else "<f4").tobytes())
    return message(5, dims, number(2, kind), message(8, name), raw)


def value(field: int, name: str, shape: tuple, kind: int = 1) -> bytes:
    """An input (field 11) or output (12); a text in the shape is a free size."""
    dims = (
        message(1, message(2, size) if isinstance(size, str) else number(1, size))
        for size in shape
    )
    tensor = message(1, number(1, kind), message(2, *dims))
    return message(field, message(1, name), message(2, tensor))


def model(*graph: bytes) -> bytes:
    """The file's bytes: opset 11, the version that YOLOX exports."""
    opset = message(8, message(1, ""), number(2, 11))
    return number(1, 6) + message(7, *graph, message(2, "graph")) + opset


def convolution(name: str, given: str, kernel: np.ndarray, bias, stride: int) -> bytes:
    return (
        constant(f"{name}_w", kernel.astype(np.float32))
        + constant(f"{name}_b", np.float32(bias))
        + node(
            "Conv",
            [given, f"{name}_w", f"{name}_b"],
            name,
            kernel_shape=list(kernel.shape[2:]),
            strides=[stride, stride],
        )
    )


def yolox(
    hw: tuple[int, int] = (96, 128),
    classes: int = 2,
    black: float = 0.0,
    white: float = 255.0,
    log_size: float = 0.0,
    shape: tuple | None = None,
    kind: int = 1,
    output: str = "rows",
) -> bytes:
    """A graph of YOLOX's output that finds cells of 32 x 32 pixels in pure colours.

    Class 0 answers to the input's first channel, class 1 to its last one; others and
    the finer strides never answer. A box is its cell, stretched by e^log_size.

    Args:
      hw: the input's height and width.
      classes: at least 2.
      black: the input's value that is no colour.
      white: the input's value that is full colour.
      log_size: the logarithm of the boxes' size in strides.
      shape: of the input, if another is to be declared.
      kind: number type of the input that is declared.
      output: "rows" (1, n, 5 + c) as YOLOX's, or "columns" (1, 5 + c, n).
    """
    parts, names = [], []
    for stride in STRIDES:
        place = np.zeros((4, 3, stride, stride))
        centre = [0.5, 0.5, log_size, log_size]
        name = f"s{stride}"
        parts.append(convolution(f"{name}_place", "images", place, centre, stride))
        score = np.zeros((1 + classes, 3, stride, stride))
        bias = np.full(1 + classes, -20.0)
        if stride == 32:
            gain = 40.0 / (white - black) / stride**2
            score[0], score[1, 0], score[2, 2] = gain, gain, gain
            bias[:3] = [-20.0 - 40.0 * 3 * black / (white - black)] + [
                -20.0 - 40.0 * black / (white - black)
            ] * 2
        parts.append(convolution(f"{name}_score", "images", score, bias, stride))
        parts.append(node("Sigmoid", [f"{name}_score"], f"{name}_sure"))
        both = [f"{name}_place", f"{name}_sure"]
        parts.append(node("Concat", both, f"{name}_map", axis=1))
        to = constant(f"{name}_to", np.array([1, 5 + classes, -1]))
        parts.append(to + node("Reshape", [f"{name}_map", f"{name}_to"], name))
        names.append(name)
    n = sum((hw[0] // s) * (hw[1] // s) for s in STRIDES)
    if output == "rows":
        parts.append(node("Concat", names, "columns", axis=2))
        parts.append(node("Transpose", ["columns"], "output", perm=[0, 2, 1]))
        sizes = (1, n, 5 + classes)
    else:
        parts.append(node("Concat", names, "output", axis=2))
        sizes = (1, 5 + classes, n)
    given = value(11, "images", shape or (1, 3, *hw), kind)
    return model(*parts, given, value(12, "output", sizes))


def stage(hw: tuple[int, int] = (480, 640), stride: int = 8) -> bytes:
    """A picture network: three channels of means over stride x stride pixels."""
    kernel = np.zeros((3, 3, stride, stride))
    kernel[range(3), range(3)] = 1.0 / stride**2
    sizes = (1, 3, hw[0] // stride, hw[1] // stride)
    return model(
        convolution("output", "images", kernel, np.zeros(3), stride),
        value(11, "images", (1, 3, *hw)),
        value(12, "output", sizes),
    )
