"""The commands on checkpoints: weights inspect, convert, export."""

import argparse


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the commands on checkpoints (docs/weights.md)."""
    text = "look at checkpoints, convert official ones, export runs"
    actions = commands.add_parser("weights", help=text).add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    size_help = "must be tiny, small, base or large; absent: what the shapes say"
    inspect = actions.add_parser("inspect", help="what a checkpoint holds")
    inspect.add_argument("path", help="official file, Orbax folder or run; also gs://")
    inspect.add_argument("--size", help=size_help)
    inspect.set_defaults(run=_inspect)

    convert = actions.add_parser("convert", help="official file to a folder of ours")
    convert.add_argument("path", help="official file, local or gs://")
    convert.add_argument("out", help="folder to make")
    convert.add_argument("--size", help=size_help)
    convert.add_argument(
        "--parts",
        default="all",
        choices=("all", "body", "finetuned"),
        help="body: without head and span_encoder; finetuned: the body and proj",
    )
    convert.set_defaults(run=_convert)

    export = actions.add_parser("export", help="a run or our folder to official form")
    export.add_argument("path", help="run or Orbax folder")
    export.add_argument("out", help="file to write")
    export.add_argument(
        "--which",
        default="best",
        choices=("best", "last", "start"),
        help="of a run: lowest dev loss (default), latest, before training",
    )
    export.set_defaults(run=_export)


def _inspect(arguments: argparse.Namespace) -> None:
    from mmdiffmask import weights

    print(weights.inspect(arguments.path, arguments.size))


def _convert(arguments: argparse.Namespace) -> None:
    from mmdiffmask import weights

    print(
        weights.convert_official(
            arguments.path, arguments.out, arguments.size, arguments.parts
        )
    )


def _export(arguments: argparse.Namespace) -> None:
    from mmdiffmask import weights

    print(weights.export(arguments.path, arguments.out, arguments.which))
