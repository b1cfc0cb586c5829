"""python -m preprocessing toy|tvqa|social_iq|video|tracks|labels|check."""

import argparse
import dataclasses
import sys
from typing import Any

from mmdiffmask import atomic
from preprocessing import arguments, build
from preprocessing.readers import video
from preprocessing.work import out_folder

WORKERS = None  # one a core


def _parser() -> arguments.Parser:
    parser, commands = arguments.parser("python -m preprocessing", __doc__)
    arguments.add_tracks(commands)
    arguments.add_labels(commands)
    check = commands.add_parser("check", help="read records and check everything")
    check.add_argument("records_dir", metavar="DIR")
    return parser


def _run(args: argparse.Namespace, execute: Any) -> None:
    if args.command == "check":
        from mmdiffmask.data.records import check

        print("\n".join(check.check(args.records_dir).lines()))
        return
    if args.command == "labels":
        from preprocessing.boxes import nanodet_file

        print(nanodet_file.fetch(args.nanodet))
        return
    options = {
        "finder": arguments.finder(args),
        "worker_count": WORKERS if args.workers is None else args.workers,
        "deadline_s": args.deadline,
    }
    if args.command == "tracks":
        counts = build.build_tracks(args.raw, args.out, args.layout, **options)
        _tell(args.out, counts)
        return
    options |= {"strict": args.strict, "execute": execute}
    if args.command == "toy":
        options |= {
            name: getattr(args, name)
            for name in ("domain", "train_clips", "val_clips", "seed")
        }
    if args.command == "video":
        names = (field.name for field in dataclasses.fields(video.Extras))
        chosen = {name: getattr(args, name) for name in names}
        options["extras"] = video.Extras(**chosen)
    make = getattr(build, f"build_{args.command}")
    manifest = make(args.raw, args.out, arguments.settings(args), **options)
    _tell(args.out, manifest.counts)


def _tell(out: str, counts: dict[str, int]) -> None:
    counted = ", ".join(f"{n} {name}" for name, n in sorted(counts.items()))
    files = {"skipped": out_folder.SKIPPED, "repaired": out_folder.REPAIRED}
    see = [f"(see {file})" for kind, file in files.items() if counts.get(kind)]
    print(" ".join([f"{out}: {counted}", *see]))


def main(argv: list[str] | None = None, execute: Any = None) -> int:
    """Runs the command line; the exit status. `execute` as in `execution.Execution`."""
    args = _parser().parse_args(argv)
    try:
        for name in ("raw", "out", "records_dir"):
            atomic.require_local(getattr(args, name, None))
        _run(args, execute)
    except ValueError as error:
        return arguments.complain(str(error))
    except OSError as error:
        place = error.filename or getattr(args, "out", args.command)
        return arguments.complain(f"{place}: {error.strerror}")
    except KeyboardInterrupt:
        print("\npreprocessing: stopped; the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
