"""Command line: python -m preprocessing toy|tvqa|video|check."""

import argparse
import dataclasses
import sys
from typing import NoReturn

from mmdiffmask.data.manifest import Manifest
from mmdiffmask.grid import PatchGrid
from preprocessing import build, outputs
from preprocessing.items import Finder, Settings

WORKERS = None  # one a core
HELP = {
    "toy": "render the toy video-QA set into RAW, then make its records",
    "tvqa": "records of a TVQA download, one a question",
    "video": "records of a folder of any video files, one a window",
}


class _Parser(argparse.ArgumentParser):
    """Two lines for a wrong command line: what is wrong, and the usage."""

    def error(self, message: str) -> NoReturn:
        sys.exit(_complain(f"{message}\nusage: {self.prog} --help says what it takes"))


def _complain(message: str) -> int:
    print(f"preprocessing: {message}", file=sys.stderr)
    return 2


def _grid(text: str) -> PatchGrid:
    sides = text.lower().split("x")
    try:
        rows, cols = (int(side) for side in sides)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r}: write rows x columns of 16 px patches, such as 12x20"
        ) from None
    try:
        return PatchGrid(rows, cols)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _at_least(low: int):
    def number(text: str) -> int:
        if not text.lstrip("-").isdecimal() or int(text) < low:
            raise argparse.ArgumentTypeError(
                f"{text!r}: needs a whole number, at least {low}"
            )
        return int(text)

    return number


def _parser() -> argparse.ArgumentParser:
    parser = _Parser("python -m preprocessing", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in HELP.items():
        command = commands.add_parser(name, help=text, description=text)
        is_toy = name == "toy"
        add = command.add_argument
        add("--raw", required=True, metavar="DIR", help="folder of raw data")
        add("--out", required=True, metavar="DIR", help="folder of records to make")
        grid = PatchGrid(6, 10) if is_toy else PatchGrid()
        add("--grid", type=_grid, default=grid, metavar="RxC", help=f"default {grid}")
        add("--segments", type=_at_least(1), default=7, metavar="N", help="default 7")
        subs = 1 if is_toy else 3
        add(
            "--sub-segments",
            type=_at_least(1),
            default=subs,
            metavar="N",
            help=f"of 1.5556 s in a segment; default {subs}",
        )
        add("--workers", type=_at_least(1), metavar="N", help="default: one a core")
        add(
            "--boxed-clips",
            type=_at_least(0),
            metavar="N",
            help="detectors run only in the first N clips of train; default: in all",
        )
        add("--strict", action="store_true", help="stop at what can not be used")
        if is_toy:
            _add_toy(add)
    check = commands.add_parser("check", help="read records and check everything")
    check.add_argument("records_dir", metavar="DIR")
    return parser


def _add_toy(add) -> None:
    add("--domain", default="people", choices=("general", "people", "objects"))
    add("--train-clips", type=_at_least(1), default=1500, metavar="N")
    add("--val-clips", type=_at_least(0), default=1500, metavar="N")
    add("--seed", type=_at_least(0), default=0, metavar="N")


def _run(args: argparse.Namespace) -> None:
    if args.command == "check":
        from mmdiffmask.data import records

        for name, value in dataclasses.asdict(records.check(args.records_dir)).items():
            print(f"{name}: {value}")
        return
    settings = Settings(args.grid, args.segments, args.sub_segments, args.boxed_clips)
    options = {
        "finder": _finder(args),
        "worker_count": WORKERS if args.workers is None else args.workers,
        "strict": args.strict,
    }
    if args.command == "toy":
        options |= {
            name: getattr(args, name)
            for name in ("domain", "train_clips", "val_clips", "seed")
        }
    make = getattr(build, f"build_{args.command}")
    _tell(args.out, make(args.raw, args.out, settings, **options))


def _finder(args: argparse.Namespace) -> Finder | None:
    return None if args.boxed_clips == 0 else build.find_people


def _tell(out: str, manifest: Manifest) -> None:
    counts = ", ".join(f"{n} {name}" for name, n in sorted(manifest.counts.items()))
    see = f" (see {outputs.SKIPPED})" if manifest.counts.get("skipped") else ""
    print(f"{out}: {counts}{see}")


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; the exit status."""
    args = _parser().parse_args(argv)
    try:
        _run(args)
    except ValueError as error:
        return _complain(str(error))
    except OSError as error:
        return _complain(f"{error.filename or args.out}: {error.strerror}")
    except KeyboardInterrupt:
        print("\npreprocessing: stopped; the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
