"""The commands on masks: masks export."""

import argparse


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the commands on masks (docs/masks.md)."""
    actions = commands.add_parser("masks", help="masks in a file").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    export = actions.add_parser(
        "export", help="static masks by example id, for --set masking.masks and others"
    )
    export.add_argument("data", help="a folder of records")
    export.add_argument("--out", required=True, help=".npz to write")
    export.add_argument("--config", help="a Python file with get_config(); or defaults")
    export.add_argument("--split", default="train", help="of the records (train)")
    export.add_argument("--seed", type=int, default=0, help="of the masks (0)")
    export.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting, e.g. masking.strategy=random; may be repeated",
    )
    export.set_defaults(run=_export)


def _export(arguments: argparse.Namespace) -> None:
    from mmdiffmask import build, config, configure, masks, seeds

    seeds.check("--seed", arguments.seed)
    experiment = config.Experiment("masks")
    if arguments.config is not None:
        experiment = configure.load(arguments.config)
    experiment = build.find_files(configure.override(experiment, arguments.set))
    build.check(experiment)
    build.check_records(arguments.data)
    experiment = build.adopt(experiment, arguments.data, arguments.set)
    print(
        masks.export(
            experiment, arguments.data, arguments.out, arguments.split, arguments.seed
        )
    )
