"""Face boxes of frames by the facenet-pytorch package itself, on one torch thread.

The same faces as `face_boxes`, for who wants the original to have made them. It needs
torch and a torchvision that fits it; neither is touched before the first frame.
"""

import functools
import importlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from preprocessing.boxes import face_boxes, weight_files
from preprocessing.boxes.face_boxes import Found, Settings

_INSTALL = (
    "install the extra [faces] with: pip install '.[faces]' (torch and torchvision"
    " from one index, or they do not fit each other), or use --faces mtcnn"
)

DEFAULTS = Settings()


def detect(
    frames: Sequence[UInt8[np.ndarray, "h w 3"]], settings: Settings = DEFAULTS
) -> list[Found]:
    """Faces of each RGB frame, each frame worked on alone; see `face_boxes.detect`.

    Torch works on one thread from here on: two on a busy machine are several times
    slower than one (boxes.md section 1), and processes share the work anyway.

    Raises:
      ValueError: if the package, torch or torchvision is missing or does not work;
        says how to install them.
    """
    return [_detect_one(frame, settings) for frame in frames]


def _detect_one(frame: UInt8[np.ndarray, "h w 3"], settings: Settings) -> Found:
    network = load(settings)
    boxes = None
    # The package breaks off on pictures that are smaller than every face it seeks.
    if face_boxes.pyramid(frame.shape[1], frame.shape[0], settings):
        boxes, probability, points = network.detect(frame, landmarks=True)
    if boxes is None:
        none = np.zeros((0, 4), np.float32)
        return none, none[:, 0], np.zeros((0, 5, 2), np.float32)
    return (
        np.asarray(boxes, np.float32),
        np.asarray(probability, np.float32),
        np.asarray(points, np.float32),
    )


@functools.lru_cache(maxsize=4)
def load(settings: Settings = DEFAULTS):
    """The package's detector, its files being those that `face_boxes` reads too.

    Raises:
      ValueError: see `detect`.
    """
    for file in (weight_files.PNET, weight_files.RNET, weight_files.ONET):
        weight_files.read(file)
    try:
        torch = importlib.import_module("torch")
        facenet = importlib.import_module("facenet_pytorch")
    except ModuleNotFoundError as error:
        raise ValueError(
            f"--faces facenet needs the package {error.name}, which is missing; "
            + _INSTALL
        ) from error
    except (ImportError, RuntimeError, OSError) as error:  # how a wrong pair shows
        said = str(error).splitlines()[0]
        raise ValueError(
            f"--faces facenet: facenet_pytorch does not load ({said}); " + _INSTALL
        ) from error
    torch.set_num_threads(1)
    return facenet.MTCNN(
        min_face_size=settings.min_face_px,
        thresholds=list(settings.thresholds),
        factor=settings.factor,
        keep_all=True,
        device=torch.device("cpu"),
    )
