"""Builds the whole toy set in both raw layouts with every runner; compares the bytes.

    .venv-beam/bin/python -m benchmarks.same_bytes WORKDIR [--train-clips N]
        [--val-clips N] [--boxed-clips N]

renders the toy set into WORKDIR as TVQA and as Social-IQ 2.0 lie on disk, and makes
records of both with one local worker, with two, and with Beam's DirectRunner in two
processes; detectors and tracks run in the first `--boxed-clips` clips. It prints a line
a folder; exit status 1 if a file differs from that of the first, 2 if a command fails.
Can be stopped at any moment: the same command goes on. Needs requirements/beam.txt.
"""

import argparse
import hashlib
import pathlib
import shutil
import subprocess
import sys
import time

from benchmarks import commands

GRID = ("--grid", "6x10", "--sub-segments", "1")
RUNNERS = {
    "one worker": ("preprocessing", ("--workers", "1")),
    "two workers": ("preprocessing", ("--workers", "2")),
    "Beam": (
        "preprocessing.beam",
        ("--", "--direct_num_workers=2", "--direct_running_mode=multi_processing"),
    ),
}


def render(workdir: pathlib.Path, train_clips: int, val_clips: int) -> None:
    """Both raw trees, as far as they are not there."""
    from preprocessing import toy
    from preprocessing.toy import social_layout
    from preprocessing.work import workers

    toy.render(
        workdir / "raw/tvqa",
        domain="people",
        train_clips=train_clips,
        val_clips=val_clips,
        workers=workers.default_count(),
    )
    if not (workdir / "raw/social_iq").exists():
        partial = workdir / "raw/partial"
        shutil.rmtree(partial, ignore_errors=True)
        social_layout.write(workdir / "raw/tvqa", partial)
        partial.rename(workdir / "raw/social_iq")


def build(workdir: pathlib.Path, source: str, runner: str, boxed_clips: int):
    """The folder of records that one runner made, and the seconds it took.

    Raises:
      subprocess.CalledProcessError: if the command fails.
    """
    out = workdir / "records" / f"{source}, {runner}"
    out.parent.mkdir(exist_ok=True)
    module, flags = RUNNERS[runner]
    folders = ["--raw", str(workdir / "raw" / source), "--out", str(out)]
    boxed = ["--boxed-clips", str(boxed_clips)]
    start = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", module, source, *folders, *GRID, *boxed, *flags],
        check=True,
    )
    return out, time.monotonic() - start


def digests(folder: pathlib.Path) -> dict[str, str]:
    """Checksum of every file below a folder, by its name in it."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def run(options: argparse.Namespace) -> int:
    """Prints a line a folder; the exit status."""
    render(options.workdir, options.train_clips, options.val_clips)
    lines, differing = [], []
    for source in ("tvqa", "social_iq"):
        first: dict[str, str] = {}
        for runner in RUNNERS:
            out, seconds = build(options.workdir, source, runner, options.boxed_clips)
            hashes = digests(out)
            first = first or hashes
            names = sorted(first.keys() | hashes.keys())
            other = [name for name in names if first.get(name) != hashes.get(name)]
            differing += [f"{out}: {name} differs" for name in other]
            shards = sum("array_record" in name for name in hashes)
            megabytes = sum(path.stat().st_size for path in out.iterdir()) / 1e6
            lines.append(
                f"{source:>9}  {runner:11}  {seconds:6.0f} s  {shards:4} shards"
                f"  {megabytes:7.1f} MB  {len(names) - len(other)} of {len(names)}"
                " files the same"
            )
    print("\n".join(lines + differing))
    return 1 if differing else 0


def main(arguments: list[str] | None = None) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.same_bytes")
    parser.add_argument("workdir", type=pathlib.Path, metavar="WORKDIR")
    parser.add_argument("--train-clips", type=int, default=1500, metavar="N")
    parser.add_argument("--val-clips", type=int, default=1500, metavar="N")
    parser.add_argument("--boxed-clips", type=int, default=32, metavar="N")
    options = parser.parse_args(arguments)
    mistakes = (ValueError, subprocess.CalledProcessError)
    return commands.status(parser.prog, lambda: run(options), mistakes)


if __name__ == "__main__":
    sys.exit(main())
