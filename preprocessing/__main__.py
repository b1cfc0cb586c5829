"""Command line: python -m preprocessing toy|tvqa|social_iq|video|check."""

import argparse
import sys
from typing import Any

from mmdiffmask.data.manifest import Manifest
from preprocessing import arguments, build, outputs, video

WORKERS = None  # one a core


def _parser() -> arguments.Parser:
    parser, commands = arguments.parser("python -m preprocessing", __doc__)
    check = commands.add_parser("check", help="read records and check everything")
    check.add_argument("records_dir", metavar="DIR")
    return parser


def _run(args: argparse.Namespace, execute: Any) -> None:
    if args.command == "check":
        from mmdiffmask.data import records

        print("\n".join(records.check(args.records_dir).lines()))
        return
    options = {
        "finder": arguments.finder(args),
        "worker_count": WORKERS if args.workers is None else args.workers,
        "strict": args.strict,
        "deadline_s": args.deadline,
        "execute": execute,
    }
    if args.command == "toy":
        options |= {
            name: getattr(args, name)
            for name in ("domain", "train_clips", "val_clips", "seed")
        }
    if args.command == "video":
        extras = video.Extras(args.questions, args.labels, args.subtitles)
        options["extras"] = extras
    make = getattr(build, f"build_{args.command}")
    _tell(args.out, make(args.raw, args.out, arguments.settings(args), **options))


def _tell(out: str, manifest: Manifest) -> None:
    counts = ", ".join(f"{n} {name}" for name, n in sorted(manifest.counts.items()))
    files = {"skipped": outputs.SKIPPED, "repaired": outputs.REPAIRED}
    see = [f"(see {file})" for kind, file in files.items() if manifest.counts.get(kind)]
    print(" ".join([f"{out}: {counts}", *see]))


def main(argv: list[str] | None = None, execute: Any = None) -> int:
    """Runs the command line; the exit status. `execute` as in `build._build`."""
    args = _parser().parse_args(argv)
    try:
        _run(args, execute)
    except ValueError as error:
        return arguments.complain(str(error))
    except OSError as error:
        return arguments.complain(f"{error.filename or args.out}: {error.strerror}")
    except KeyboardInterrupt:
        print("\npreprocessing: stopped; the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
