"""Small ONNX graphs that stand for a user's networks."""

import numpy as np

from preprocessing.boxes import onnx_writer

STRIDES = (8, 16, 32)


def convolution(name: str, given: str, kernel: np.ndarray, bias, stride: int) -> bytes:
    return (
        onnx_writer.constant(f"{name}_w", kernel.astype(np.float32))
        + onnx_writer.constant(f"{name}_b", np.float32(bias))
        + onnx_writer.node(
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
        parts.append(onnx_writer.node("Sigmoid", [f"{name}_score"], f"{name}_sure"))
        both = [f"{name}_place", f"{name}_sure"]
        parts.append(onnx_writer.node("Concat", both, f"{name}_map", axis=1))
        to = onnx_writer.constant(f"{name}_to", np.array([1, 5 + classes, -1]))
        parts.append(
            to + onnx_writer.node("Reshape", [f"{name}_map", f"{name}_to"], name)
        )
        names.append(name)
    n = sum((hw[0] // s) * (hw[1] // s) for s in STRIDES)
    if output == "rows":
        parts.append(onnx_writer.node("Concat", names, "columns", axis=2))
        parts.append(
            onnx_writer.node("Transpose", ["columns"], "output", perm=[0, 2, 1])
        )
        sizes = (1, n, 5 + classes)
    else:
        parts.append(onnx_writer.node("Concat", names, "output", axis=2))
        sizes = (1, 5 + classes, n)
    given = onnx_writer.value(onnx_writer.INPUT, "images", shape or (1, 3, *hw), kind)
    return onnx_writer.model(
        *parts, given, onnx_writer.value(onnx_writer.OUTPUT, "output", sizes)
    )


def stage(hw: tuple[int, int] = (480, 640), stride: int = 8) -> bytes:
    """A picture network: three channels of means over stride x stride pixels."""
    kernel = np.zeros((3, 3, stride, stride))
    kernel[range(3), range(3)] = 1.0 / stride**2
    sizes = (1, 3, hw[0] // stride, hw[1] // stride)
    return onnx_writer.model(
        convolution("output", "images", kernel, np.zeros(3), stride),
        onnx_writer.value(onnx_writer.INPUT, "images", (1, 3, *hw)),
        onnx_writer.value(onnx_writer.OUTPUT, "output", sizes),
    )
