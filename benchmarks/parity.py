"""Compares this project's functions with recorded outputs of their references.

    python -m benchmarks.parity bert DIR
    python -m benchmarks.parity reserve DIR [--vocab FILE]
    python -m benchmarks.parity mtcnn DIR --media MEDIA_DIR
    python -m benchmarks.parity nanodet DIR [--nanodet PATH]
    python -m benchmarks.parity unitrack DIR

print, for each array of a golden folder, the largest difference and its tolerance.
Exit status 1 if an array is beyond its tolerance or if one that is no input was not
compared; 2 if the folder is missing or not of the form. Any folder of that form will
do: what differs is read from the folder.
"""

import argparse
import pathlib
import sys
from collections.abc import Iterable

from benchmarks import commands
from benchmarks.golden import bert, compare, files, folder, mtcnn, nanodet, unitrack


def _print_bert(options: argparse.Namespace) -> int:
    return _print_all(options.golden, bert.rows(options.golden))


def _print_mtcnn(options: argparse.Namespace) -> int:
    return _print_all(options.golden, mtcnn.rows(options.golden, options.media))


def _print_nanodet(options: argparse.Namespace) -> int:
    return _print_all(options.golden, nanodet.rows(options.golden, options.nanodet))


def _print_reserve(options: argparse.Namespace) -> int:
    golden = folder.Golden(options.golden, options.vocab)
    return _print_all(options.golden, files.Checker(golden).all())


def _print_unitrack(options: argparse.Namespace) -> int:
    return _print_all(options.golden, unitrack.rows(options.golden))


def _print_all(
    golden: pathlib.Path, verdicts: Iterable[tuple[str, list[compare.Row]]]
) -> int:
    """A line per verdict, and the arrays without one."""
    over, left_out, count = [], [], 0
    for name, rows in verdicts:
        count += 1
        if not rows:
            left_out.append(name)
        for row in rows:
            print(_line(row), flush=True)
        if any(row.is_over for row in rows):
            over.append(name)
    if not count:
        raise ValueError(f"{golden}: holds no array to compare")
    for name in left_out:
        print(f"{name:80} NOT COMPARED")
    print(
        f"{count - len(left_out)} arrays compared, {len(over)} beyond tolerance,"
        f" {len(left_out)} not compared"
    )
    return 1 if over or left_out else 0


def _line(row: compare.Row) -> str:
    measure = f"  ({row.measure})" if row.measure else ""
    mark = "  OVER" if row.is_over else ""
    numbers = f"{row.difference:.1e}  tolerance {row.tolerance:.1e}"
    return f"{row.name:80} {numbers}{measure}{mark}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parity")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("bert", help="encoders of text")
    command.add_argument("golden", type=pathlib.Path, metavar="DIR")
    command.set_defaults(run=_print_bert)
    command = commands.add_parser("mtcnn", help="the face detector")
    command.add_argument("golden", type=pathlib.Path, metavar="DIR")
    command.add_argument("--media", type=pathlib.Path, required=True)
    command.set_defaults(run=_print_mtcnn)
    command = commands.add_parser("nanodet", help="the detector of 80 labels")
    command.add_argument("golden", type=pathlib.Path, metavar="DIR")
    text = "its weight file (default: where make labels puts it)"
    command.add_argument("--nanodet", metavar="PATH", help=text)
    command.set_defaults(run=_print_nanodet)
    command = commands.add_parser("reserve", help="MERLOT-Reserve and its training")
    command.add_argument("golden", type=pathlib.Path, metavar="DIR")
    command.add_argument(
        "--vocab",
        type=pathlib.Path,
        default=folder.VOCABULARY,
        metavar="FILE",
        help="MERLOT-Reserve's lowercase_encoder.json (default: the one in ../shared)",
    )
    command.set_defaults(run=_print_reserve)
    command = commands.add_parser("unitrack", help="the tracker of boxes")
    command.add_argument("golden", type=pathlib.Path, metavar="DIR")
    command.set_defaults(run=_print_unitrack)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Prints a line per array; the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    mistakes = (OSError, ValueError)
    return commands.status(parser.prog, lambda: options.run(options), mistakes)


if __name__ == "__main__":
    sys.exit(main())
