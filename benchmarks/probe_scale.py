"""Time and memory of the head over candidates, on made-up features, worked out to TVQA.

`python -m benchmarks.probe_scale [QUESTIONS ...]` fits the head of `probe.choices` on
`match` features of `base`'s width (two streams of 768, five candidates): factors as a
cache holds them, in float16, whose product exists a stretch at a time. Each number of
questions runs in a process of its own, so that its peak is its own. Seconds are of the
processor, all threads: time and memory above that of an empty process grow in
proportion to the questions, which the two sizes show; the last line works both out to
TVQA's 122,039.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np

from mmdiffmask import config, softmax
from mmdiffmask.probe import choices, question_scores

TVQA = 122_039
CANDIDATES, WIDTH = 5, 768
VAL = 8  # a split of one eighth is scored


def made_up(count: int, seed: int) -> choices.Questions:
    """Questions whose right candidate a true head prefers, with noise."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, np.float32) / WIDTH**0.5

    streams = tuple(draw(count, WIDTH).astype(np.float16) for _ in range(2))
    span = np.empty((count, CANDIDATES, WIDTH), np.float16)
    for part in choices.chunks(count):
        span[part] = draw(part.stop - part.start, CANDIDATES, WIDTH)
    features = question_scores.Streams(streams, span)
    true = np.random.default_rng(0).standard_normal((2, WIDTH))
    right = [
        np.argmax(
            (features[part] * true).sum((2, 3)) * WIDTH**0.5
            + rng.gumbel(size=(part.stop - part.start, CANDIDATES)),
            axis=1,
        )
        for part in choices.chunks(count)
    ]
    return choices.Questions(features, np.concatenate(right))


def fitted(count: int) -> dict[str, float]:
    """Seconds, peak and quality of one probe."""
    train, val = made_up(count, 1), made_up(max(count // VAL, 1), 2)
    before, began = _peak_gb(), time.process_time()
    head = choices.probe(train, val, val, config.Probe().l2, "softmax")
    return {
        "cpu_s": time.process_time() - began,
        "features_gb": before,
        "peak_gb": _peak_gb(),
        "gradient": head.head.gradient,
        "accuracy": float(head.is_right.mean()),
    }


def _peak_gb() -> float:
    """The most that was resident so far; Linux counts in KiB, macOS in bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1e9 if sys.platform == "darwin" else 1e9 / 1024)


def main(arguments: list[str] | None = None) -> int:
    """Prints a line for each size and one for TVQA; 0, or 1 beyond the limits."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.probe_scale")
    parser.add_argument("questions", type=int, nargs="*", default=[10_000, 40_000])
    parser.add_argument("--limit-gb", type=float, default=8.0)
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.only:
        print(json.dumps(fitted(options.only)))
        return 0
    sizes = sorted(set(options.questions))
    if len(sizes) < 2:
        parser.error("name two numbers of questions: growth is worked out from them")
    rows = []
    for count in sizes:
        command = [sys.executable, "-m", "benchmarks.probe_scale", "--only", str(count)]
        ran = subprocess.run(command, check=True, capture_output=True, text=True)
        rows.append(json.loads(ran.stdout))
        print(f"{count:8} questions: {_line(rows[-1])}", flush=True)
    growth = (TVQA - sizes[-1]) / (sizes[-1] - sizes[0])
    tvqa = {
        name: rows[-1][name] + growth * (rows[-1][name] - rows[0][name])
        for name in ("cpu_s", "peak_gb")
    }
    print(f"{TVQA:8} questions, worked out: {_line(tvqa)}")
    worst = max(row["gradient"] for row in rows)
    is_good = tvqa["peak_gb"] < options.limit_gb and worst <= softmax.FINE.limit
    print(f"limit {options.limit_gb} GB; largest gradient {worst:.1e}")
    return 0 if is_good else 1


def _line(row: dict[str, float]) -> str:
    text = (
        f"{row['cpu_s']:7.1f} s of the processor, {row['peak_gb']:.2f} GB at the peak"
    )
    if "accuracy" in row:
        text += f" ({row['features_gb']:.2f} before), {row['accuracy']:.3f} right"
    return text


if __name__ == "__main__":
    sys.exit(main())
