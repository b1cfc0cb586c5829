"""Times preprocessing stage by stage.

    python -m benchmarks.preprocessing_stages VIDEO... [--frames N] [--json FILE]

takes what a run would take of each video (three frames a second, of which every 14th
is sampled) and prints for each stage CPU milliseconds a frame and frames a second a
core, one thread: decoding, bodies, appearance and tracking on every frame; faces and
writing records on sampled ones.
"""

import argparse
import collections
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from preprocessing.work import workers

os.environ.update(workers.ONE_THREAD)  # before the libraries that read it

import cv2  # noqa: E402
import numpy as np  # noqa: E402

from mmdiffmask.data.records import shards  # noqa: E402
from preprocessing import items  # noqa: E402
from preprocessing.boxes import (  # noqa: E402
    appearance,
    body_boxes,
    detectors,
    face_boxes,
    finders,
    tracking,
)
from preprocessing.media import decode  # noqa: E402
from preprocessing.readers import video  # noqa: E402
from preprocessing.work import clips  # noqa: E402

STEP_S = 1 / finders.TRACKED_FPS
SAMPLED_EVERY = 14  # frames: 4.67 s
ONLY_SAMPLED = ("faces", "writing")


class Stage(NamedTuple):
    """What one stage took."""

    cpu_s: float = 0.0
    frames: int = 0

    def plus(self, cpu_s: float, frames: int) -> "Stage":
        """With one more measurement."""
        return Stage(self.cpu_s + cpu_s, self.frames + frames)

    @property
    def ms(self) -> float:
        """CPU milliseconds a frame."""
        return 1000 * self.cpu_s / max(self.frames, 1)


def timed(function: Any, *args: Any) -> tuple[Any, float]:
    """What a call gives, and its CPU seconds."""
    before = time.process_time()
    result = function(*args)
    return result, time.process_time() - before


def read_frames(path: pathlib.Path, most: int) -> Iterator[tuple[decode.Frame, float]]:
    """Distinct frames three a second, and the CPU seconds that each took."""
    footage = decode.open_footage(path)
    last = None
    for number in range(most):
        if number * STEP_S >= footage.duration_s:
            break
        (frame,), cpu_s = timed(footage.frames, [number * STEP_S])
        if frame is not None and frame.time_s != last:
            last = frame.time_s
            yield frame, cpu_s
    footage.close()


def measure(path: pathlib.Path, most: int) -> dict[str, Stage]:
    """Stages of one video."""
    stages: dict[str, Stage] = collections.defaultdict(Stage)
    describe = appearance.load(None)
    follower = tracking.Follower(describe)
    is_warm = False
    for number, (frame, decode_s) in enumerate(read_frames(path, most)):
        if not is_warm:  # compiling is paid once a video size, OpenCV's tables once
            body_boxes.detect([frame.image]), face_boxes.detect([frame.image])
            describe(frame.image, np.zeros((0, 4)))
            is_warm = True
        stages["decode"] = stages["decode"].plus(decode_s, 1)
        ((xyxy, score),), cpu_s = timed(body_boxes.detect, [frame.image])
        stages["bodies"] = stages["bodies"].plus(cpu_s, 1)
        seen = detectors.seen(xyxy, score, "ssdlite")
        _, cpu_s = timed(follower.update, frame.image, seen)
        stages["tracking"] = stages["tracking"].plus(cpu_s, 1)
        if number % SAMPLED_EVERY == 0:
            _, cpu_s = timed(face_boxes.detect, [frame.image])
            stages["faces"] = stages["faces"].plus(cpu_s, 1)
    return dict(stages)


def measure_writing(path: pathlib.Path) -> Stage:
    """Sound, subtitles, JPEG, patch maps and the shard, without any detector."""
    settings = items.Settings()
    plan = video.Extras().plan(path.parent)
    clip = next(clip for clip in plan.clips[video.TRAIN] if clip.footage == path.name)
    records = list(clips.records(clip, settings, None, items.Losses()))
    schema = shards.features(
        settings.segments, settings.sub_segments, settings.grid.n_patches
    )
    with tempfile.TemporaryDirectory() as folder:
        target = pathlib.Path(folder, "shard")
        shards.write_shard(target, records, schema)  # loads the libraries
        target.unlink()
        _, cpu_s = timed(shards.write_shard, target, records, schema)
    return Stage(cpu_s, sum(int(record.is_frame_valid.sum()) for record in records))


def main(arguments: list[str] | None = None) -> int:
    """Measures the videos; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.preprocessing_stages")
    parser.add_argument("video", type=pathlib.Path, nargs="+")
    parser.add_argument("--frames", type=int, default=30, help="a video; default 30")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    print(f"{os.cpu_count()} processors, one thread; CPU ms a frame (frames/s a core)")
    for path in options.video:
        if not path.is_file():
            print(f"{parser.prog}: {path}: no such video", file=sys.stderr)
            return 2
        stages = measure(path, options.frames)
        stages["writing"] = measure_writing(path)
        shown = "  ".join(
            f"{name} {stage.ms:.1f} ({1000 / max(stage.ms, 1e-9):.0f}/s)"
            for name, stage in stages.items()
        )
        cost = {
            name: stage.ms * (1 if name in ONLY_SAMPLED else SAMPLED_EVERY)
            for name, stage in stages.items()
        }
        most = max(cost, key=cost.get)
        print(f"{path.name}: {shown}")
        print(f"    a sampled frame in all: {sum(cost.values()):.0f} ms, most: {most}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
