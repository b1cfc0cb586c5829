"""What anchors of a large corpus cost: MB/s, peak memory, and a kill on the way.

    python -m benchmarks.anchors_scale [--mb 1000] [--folder DIR]

makes up a corpus of words by a Zipf law, runs `mmdiffmask anchors --text` on it, kills
that once after its first saved progress, and runs it again. Printed are MB/s of the
both runs together, seconds of the whole, the peak of memory, and whether the second run
went on. The exit status is 1 where the peak is LIMIT_MB or more, or where
the second run began anew.
"""

import argparse
import itertools
import os
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmarks import commands
from mmdiffmask.masking import web_counts

LIMIT_MB = 1000
WORDS_A_LINE, LINES_AT_ONCE = 40, 20_000
POWER = 1.1  # of the Zipf law


def make(path: pathlib.Path, mb: int) -> int:
    """Writes a corpus of about so many MB; its bytes.

    The words are those of the web's counts and as many codes that it lacks; every
    line has a code of its own besides, so that the table of words runs full.
    """
    names = list(web_counts.load())
    names += [f"x{i}" for i in range(len(names))]
    share = 1.0 / np.arange(1, len(names) + 1) ** POWER
    upto = np.cumsum(share) / share.sum()
    rng, size, number = np.random.default_rng(0), 0, itertools.count()
    with open(path, "w", encoding="ascii") as file:
        while size < mb * 1_000_000:
            drawn = np.searchsorted(upto, rng.random(LINES_AT_ONCE * WORDS_A_LINE))
            rows = drawn.reshape(LINES_AT_ONCE, WORDS_A_LINE).tolist()
            text = "".join(
                f"{' '.join([names[i] for i in row])} line{next(number)}\n"
                for row in rows
            )
            size += file.write(text)
    return size


def run(
    command: list[str], folder: pathlib.Path, stop_at: pathlib.Path | None = None
) -> tuple[float, str]:
    """Runs the command; seconds and what it wrote to stderr.

    Args:
      command: with its arguments.
      folder: where it runs.
      stop_at: the command is killed as soon as this file is there.

    Raises:
      ValueError: if it fails, or ends before it can be killed.
    """
    began = time.monotonic()
    with open(folder / "stderr.txt", "w+", encoding="utf-8") as errors:
        process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=errors
        )
        while stop_at is not None and process.poll() is None:
            if stop_at.exists():
                process.send_signal(signal.SIGKILL)
                process.wait()
                return time.monotonic() - began, ""
            time.sleep(0.02)
        status = process.wait()
        errors.seek(0)
        text = errors.read()
    if status or stop_at is not None:
        raise ValueError(f"status {status}, not killed in time: {text[-400:]}")
    return time.monotonic() - began, text


def measure(folder: pathlib.Path, mb: int) -> int:
    """Prints what was measured; the exit status."""
    corpus = folder / "corpus.txt"
    size = make(corpus, mb)
    vectors = folder / "vectors.npz"  # reading words by MiniLM is not measured here
    rng = np.random.default_rng(0)
    names = [name for name in list(web_counts.load())[:2000] if name != "file"]
    np.savez(vectors, **{name: rng.standard_normal(8) for name in names})
    line = f"-m mmdiffmask anchors --text {corpus} --embeddings {vectors}"
    command = [sys.executable, *line.split(), "--page", "anchors.html"]
    state = folder / "anchors.html.counts.npz"
    first, _ = run(command, folder, stop_at=state)
    second, text = run(command, folder)
    goes_on = "goes on after" in text and not state.exists()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak, busy = used.ru_maxrss / 1000, used.ru_utime + used.ru_stime
    print(f"{size / 1e6:.0f} MB; killed after {first:.0f} s, went on: {goes_on}")
    print(f"{second:.0f} s for the second run; both: {busy:.0f} CPU s")
    print(f"{size / 1e6 / (first + second):.1f} MB/s, {size / 1e6 / busy:.1f} MB/CPU s")
    print(f"peak {peak:.0f} MB (limit {LIMIT_MB})", flush=True)
    return int(peak >= LIMIT_MB or not goes_on)


def main(arguments: list[str] | None = None) -> int:
    """Runs the benchmark; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.anchors_scale")
    parser.add_argument("--mb", type=int, default=1000)
    parser.add_argument("--folder", help="where the corpus lies for a while (/tmp)")
    options = parser.parse_args(arguments)

    def work() -> int:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            return measure(pathlib.Path(os.path.abspath(folder)), options.mb)

    return commands.status(parser.prog, work)


if __name__ == "__main__":
    sys.exit(main())
