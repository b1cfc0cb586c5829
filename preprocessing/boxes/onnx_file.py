"""A user's ONNX file of a picture network: checked, then run on one thread.

Run by onnxruntime where it is installed, else by OpenCV; both give the same numbers
(boxes.md section 3).
"""

import contextlib
import hashlib
import importlib.util
import os
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float

from preprocessing.boxes import protobuf

_FLOAT32 = 1  # onnx.TensorProto.FLOAT
_EXPECTED = "expected one float32 input (1, 3, height, width) of fixed size"


class Graph(NamedTuple):
    """The input of a network (0 = a size that is not fixed) and its outputs' names."""

    input_name: str
    input_shape: tuple[int, ...]
    outputs: tuple[str, ...]


class Network:
    """Picture (1, 3, h, w) float32 -> the network's first output.

    Pickles as its path: another process loads the file anew.

    Attributes:
      path: of the file.
      input_hw: height and width that the graph wants.
      sha256: of the file's bytes.
      backend: "onnxruntime" or "opencv".

    Raises:
      ValueError: if the file is missing, damaged or of another layout; names what was
        expected and found.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path)
        content = _read(self.path)
        self.sha256 = hashlib.sha256(content).hexdigest()
        self._graph = read_graph(content, self.path)
        self.input_hw = self._graph.input_shape[2:]
        has_runtime = importlib.util.find_spec("onnxruntime") is not None
        self.backend = "onnxruntime" if has_runtime else "opencv"
        load = _load_onnxruntime if has_runtime else _load_opencv
        self._run = load(self.path, self._graph)

    def __reduce__(self):
        return Network, (self.path,)

    def __call__(self, picture: Float[np.ndarray, "1 3 h w"]) -> np.ndarray:
        """The first output, float32.

        Raises:
          ValueError: if the network cannot be run or gives NaN or infinity.
        """
        result = self._run(np.ascontiguousarray(picture, np.float32))
        if not np.isfinite(result).all():
            raise ValueError(f"{self.path}: the network gave NaN or infinity")
        return result


def _read(path: pathlib.Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ValueError(
            f"{path}: expected an ONNX file, found nothing readable ({reason})"
        ) from error


def read_graph(content: bytes, path: pathlib.Path) -> Graph:
    """Input and outputs of an ONNX file's bytes; `path` is for messages.

    Raises:
      ValueError: if it is no ONNX file, or its input is no picture of a fixed size.
    """
    try:
        graph = _only(memoryview(content), 7)
        stored = {_text(tensor, 8) for tensor in _all(graph, 5)}
        # Old exporters list the weights among the inputs too.
        inputs = [x for x in _all(graph, 11) if _text(x, 1) not in stored]
        types = [_shape(x) for x in inputs]
        names = tuple(_text(x, 1) for x in _all(graph, 12))
    except (ValueError, TypeError) as error:  # a number where a message should be
        raise ValueError(
            f"{path}: expected an ONNX model, found bytes that are none or break off"
            f" ({error}); copy or export the file again"
        ) from error
    if len(types) != 1 or not names:
        raise ValueError(
            f"{path}: {_EXPECTED}, found {len(types)} inputs and {len(names)} outputs"
        )
    ((kind, shape),) = types
    fixed = len(shape) == 4 and shape[0] in (0, 1) and shape[1] == 3
    if kind != _FLOAT32 or not fixed or min(shape[2:]) < 1:
        sizes = ", ".join(str(size) if size else "any" for size in shape)
        number = "float32" if kind == _FLOAT32 else f"number type {kind}"
        raise ValueError(f"{path}: {_EXPECTED}, found {number} ({sizes})")
    return Graph(_text(inputs[0], 1), shape, names)


def _shape(value: memoryview) -> tuple[int, tuple[int, ...]]:
    """(number type, sizes) of a ValueInfoProto."""
    tensor = _only(_only(value, 2), 1)
    dims = _all(_only(tensor, 2), 1)
    sizes = [next((n for f, n in protobuf.fields(dim) if f == 1), 0) for dim in dims]
    return _only(tensor, 1), tuple(int(size) for size in sizes)


def _all(message: memoryview, number: int) -> list:
    return [value for field, value in protobuf.fields(message) if field == number]


def _only(message: memoryview, number: int):
    values = _all(message, number)
    if not values:
        raise ValueError(f"field {number} of a message is missing")
    return values[-1]  # protobuf: the last one counts


def _text(message: memoryview, number: int) -> str:
    return bytes(_only(message, number)).decode()


def _load_onnxruntime(path: pathlib.Path, graph: Graph):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # its errors arrive as exceptions
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its errors share no narrower class
        raise _not_loaded(path, "onnxruntime", error) from error

    def run(picture: np.ndarray) -> np.ndarray:
        try:
            return session.run(graph.outputs[:1], {graph.input_name: picture})[0]
        except Exception as error:
            raise _not_loaded(path, "onnxruntime", error) from error

    return run


def _load_opencv(path: pathlib.Path, graph: Graph):
    try:
        with _quiet_opencv():
            net = cv2.dnn.readNetFromONNX(str(path))
    except cv2.error as error:
        raise _not_loaded(path, "OpenCV", error) from error

    def run(picture: np.ndarray) -> np.ndarray:
        try:
            with _quiet_opencv():
                net.setInput(picture, graph.input_name)
                return net.forward(graph.outputs[0])
        except cv2.error as error:
            raise _not_loaded(path, "OpenCV", error) from error

    return run


@contextlib.contextmanager
def _quiet_opencv() -> Iterator[None]:
    """One thread, and no report on stderr of what is raised anyway."""
    threads, level = cv2.getNumThreads(), cv2.utils.logging.getLogLevel()
    cv2.setNumThreads(1)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
        cv2.utils.logging.setLogLevel(level)


def _not_loaded(path: pathlib.Path, runner: str, error: Exception) -> ValueError:
    reason = " ".join(str(error).split())[:300]
    return ValueError(
        f"{path}: expected an ONNX model that {runner} can run, found one that it"
        f" cannot: {reason}"
    )
