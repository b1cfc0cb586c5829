"""Measures time and memory a clip while the number of clips grows.

    python -m benchmarks.preprocessing_scale [--clips 8,32,128] [--people]

renders that many toy clips, makes their records in a process of its own each (one
thread, no worker), and prints CPU seconds a clip and the largest resident memory.
Without --people no detector runs, so that what the pipeline itself costs is not lost
beside them.
"""

import argparse
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

from mmdiffmask.grid import PatchGrid
from preprocessing import build, items
from preprocessing.boxes import finders
from preprocessing.work import workers

SETTINGS = items.Settings(PatchGrid(6, 10), sub_segments=1)


def make(raw: str, out: str, clips: int, is_people: bool) -> tuple[float, float]:
    """CPU seconds a clip and peak MiB of making the records of `clips` clips."""
    finder = finders.People() if is_people else None
    options = {"finder": finder, "worker_count": 0, "bar": False}
    warm = pathlib.Path(out, "warm")  # imports and compiles
    build.build_toy(raw, warm, SETTINGS, train_clips=1, val_clips=0, **options)
    before = time.process_time()
    build.build_toy(
        raw,
        pathlib.Path(out, "all"),
        SETTINGS,
        train_clips=clips,
        val_clips=0,
        **options,
    )
    cpu_s = (time.process_time() - before) / clips
    return cpu_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(arguments: list[str] | None = None) -> int:
    """Prints one line for each number of clips; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.preprocessing_scale")
    parser.add_argument("--clips", default="8,32,128")
    parser.add_argument("--people", action="store_true")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    counts = [int(count) for count in options.clips.split(",")]
    if options.one:
        raw, out = options.one
        cpu_s, peak_mib = make(raw, out, counts[0], is_people=options.people)
        print(
            f"{counts[0]:5d} clips: {cpu_s:.3f} CPU s a clip, peak {peak_mib:.0f} MiB"
        )
        return 0
    with tempfile.TemporaryDirectory() as folder:
        raw = pathlib.Path(folder, "raw")
        first = pathlib.Path(folder, "first")
        most = {"train_clips": max(counts), "val_clips": 0, "finder": None}
        build.build_toy(raw, first, SETTINGS, bar=False, **most)
        for count in counts:
            out = pathlib.Path(folder, str(count))
            out.mkdir()
            command = [sys.executable, "-m", "benchmarks.preprocessing_scale"]
            command += ["--clips", str(count), "--one", str(raw), str(out)]
            command += ["--people"] * options.people
            environment = os.environ | workers.ONE_THREAD
            if subprocess.run(command, env=environment, check=False).returncode:
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
