"""Times our MTCNN against the facenet-pytorch package, called frame by frame.

    python -m benchmarks.face_speed MEDIA_DIR [--frames N] [--rounds N]

takes N frames of the videos in MEDIA_DIR/videos, stretched to each size, asserts that
both find the same faces in them, then lets the two take turns in one process, one
thread each. It prints CPU milliseconds a frame (medians over
rounds, each the mean of the frames) and `x`, the median of the rounds' ratios.

Exit status 1 if faces differ or if ours is slower at any size, 2 if something is
missing. Needs the extra `[faces]`: torch and a torchvision that fits it. Where none
fits, a stand-in for the one function of it that the package uses is put in its place,
said so, and its time not counted, so that theirs is told too fast rather than too slow.
"""

import argparse
import importlib
import importlib.util
import os
import pathlib
import statistics
import sys
import time
import types
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from preprocessing.work import workers

if __name__ == "__main__":  # before the libraries are loaded that read it
    os.environ.update(workers.ONE_THREAD)

import cv2  # noqa: E402
import numpy as np  # noqa: E402

from benchmarks import commands  # noqa: E402
from preprocessing.boxes import face_boxes, facenet  # noqa: E402

if TYPE_CHECKING:
    import torch

SIZES = ((1280, 720), (640, 360), (320, 192))
VIDEOS = ("opera_house_720p", "silent_film", "signer_book", "classroom")
TOLERANCE_PX = 2e-3  # between two orders of float32 sums; the golden folder has 1e-3
TOLERANCE = 1e-4  # of probabilities

_stand_in_s = 0.0


class Times(NamedTuple):
    """CPU seconds a frame, one number per round and call."""

    ours: list[float]
    theirs: list[float]
    ratio: list[float]


def fit_torchvision() -> bool:
    """Makes `import torchvision` work for the package; True = by a stand-in.

    Raises:
      ValueError: if torch is missing.
    """
    if importlib.util.find_spec("torch") is None:
        raise ValueError("torch is missing; install the extra [faces]")
    try:
        importlib.import_module("torchvision.ops.boxes")
        return False
    except (ImportError, RuntimeError, OSError):
        pass
    names = ("", ".transforms", ".transforms.functional", ".ops", ".ops.boxes")
    modules = {name: types.ModuleType(f"torchvision{name}") for name in names}
    modules[".transforms"].functional = modules[".transforms.functional"]
    modules[".ops"].boxes = modules[".ops.boxes"]
    modules[".ops.boxes"].batched_nms = _batched_nms
    for name in [name for name in sys.modules if name.startswith("torchvision")]:
        del sys.modules[name]
    sys.modules.update({module.__name__: module for module in modules.values()})
    return True


def _batched_nms(
    boxes: "torch.Tensor",
    scores: "torch.Tensor",
    idxs: "torch.Tensor",
    threshold: float,
):
    """Greedy suppression among the boxes of each index, the best first."""
    global _stand_in_s  # noqa: PLW0603  (taken off what their calls took)
    start = time.process_time()
    torch = importlib.import_module("torch")
    apart = idxs.to(boxes)[:, None] * (boxes.max() + 1) if len(boxes) else 0
    moved = (boxes + apart).detach().numpy()
    kept = face_boxes.suppress(moved, scores.detach().numpy(), threshold)
    _stand_in_s += time.process_time() - start
    return torch.from_numpy(kept)


def read_frames(media: pathlib.Path, size: tuple[int, int], count: int):
    """RGB frames spread over the videos, stretched to (width, height).

    Raises:
      ValueError: if a video is missing or cannot be read.
    """
    frames = []
    for i in range(count):
        name, turn = VIDEOS[i % len(VIDEOS)], i // len(VIDEOS)
        path = media / "videos" / f"{name}.mp4"
        video = cv2.VideoCapture(str(path))
        for _ in range(5 + 10 * turn):
            video.grab()
        is_read, frame = video.read()
        if not is_read:
            raise ValueError(f"{path}: frame {5 + 10 * turn} cannot be read")
        is_larger = frame.shape[1] > size[0]
        method = cv2.INTER_AREA if is_larger else cv2.INTER_LINEAR
        frame = cv2.resize(frame, size, interpolation=method)
        frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    return frames


def difference(ours: face_boxes.Found, theirs: face_boxes.Found) -> str | None:
    """What is not the same of two results for a frame."""
    if len(ours[0]) != len(theirs[0]):
        return f"{len(ours[0])} faces, not {len(theirs[0])}"
    limits = {"boxes": TOLERANCE_PX, "probabilities": TOLERANCE, "points": TOLERANCE_PX}
    for one, two, (name, limit) in zip(ours, theirs, limits.items(), strict=True):
        most = np.abs(one - two).max(initial=0.0)
        if not most <= limit:
            return f"{name} differ by {most:.1e}, more than {limit:.0e}"
    return None


def compare(frames: Sequence[np.ndarray], rounds: int) -> tuple[Times, list[str], int]:
    """Both on the frames: times, differences, faces found.

    The first call of each, which is not timed, tells whether they agree.
    """
    ours = face_boxes.detect(frames)
    pairs = zip(ours, facenet.detect(frames), strict=True)
    differences = [difference(ours, theirs) for ours, theirs in pairs]
    said = [f"frame {i}: {one}" for i, one in enumerate(differences) if one]
    times = Times([], [], [])
    for _ in range(rounds):
        theirs_s = []
        for frame in frames:
            stood, start = _stand_in_s, time.process_time()
            facenet.detect([frame])
            spent = time.process_time() - start
            theirs_s.append(spent - (_stand_in_s - stood))
        start = time.process_time()
        face_boxes.detect(frames)
        ours_s = (time.process_time() - start) / len(frames)
        times.ours.append(ours_s)
        times.theirs.append(statistics.mean(theirs_s))
        times.ratio.append(ours_s / times.theirs[-1])
    return times, said, sum(len(faces[0]) for faces in ours)


def run(options: argparse.Namespace) -> int:
    """Prints a line per size; the exit status."""
    cv2.setNumThreads(1)
    if fit_torchvision():
        print("no torchvision that fits torch: suppression by a stand-in, not counted")
    print(f"{'size':>9}  frames  faces  ours ms  facenet-pytorch ms  x")
    is_good = True
    for size in SIZES:
        frames = read_frames(options.media, size, options.frames)
        times, said, faces = compare(frames, options.rounds)
        ours, theirs = (1e3 * statistics.median(t) for t in times[:2])
        ratio = statistics.median(times.ratio)
        is_good &= ratio <= 1 and not said
        print(
            f"{size[0]:>4}x{size[1]:<4}  {len(frames):6}  {faces:5}  {ours:7.1f}"
            f"  {theirs:18.1f}  {ratio:.2f}",
            flush=True,
        )
        for line in said:
            print(f"  DIFFERS {line}")
    return 0 if is_good else 1


def main(arguments: list[str] | None = None) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.face_speed")
    parser.add_argument("media", type=pathlib.Path, metavar="MEDIA_DIR")
    parser.add_argument("--frames", type=int, default=4, help="of each size")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    if min(options.frames, options.rounds) < 1:
        parser.error("--frames and --rounds must be at least 1")
    return commands.status(parser.prog, lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
