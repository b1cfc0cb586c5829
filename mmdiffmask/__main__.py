"""Command line: demo, pretrain, probe, features, report, inspect, weights.

A user's mistake is one sentence on stderr and exit status 2, found before any work.
"""

import argparse
import logging
import pathlib
import sys
from typing import NoReturn

EXIT_USER = 2
EXIT_RESUME = 75  # stopped by a signal with its state saved: run the same command again


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S"
    )
    for name in ("absl", "orbax", "jax", "etils"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        return arguments.run(arguments) or 0
    except (ValueError, OSError) as error:
        if arguments.traceback:
            raise
        print(f"mmdiffmask {arguments.command}: {error}", file=sys.stderr)
        return EXIT_USER
    except KeyboardInterrupt as stop:
        print(
            f"mmdiffmask {arguments.command}: stopped. {stop or ''}".rstrip()
            + " Run the same command again to go on.",
            file=sys.stderr,
        )
        return EXIT_RESUME


class _Parser(argparse.ArgumentParser):
    """Two lines for a wrong command line: what is wrong, and where usage stands."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USER, f"{self.prog}: {message}\nusage: {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="mmdiffmask", description=__doc__)
    parser.add_argument(
        "--traceback", action="store_true", help="show where an error was raised"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="toy videos in, report out; 15 minutes")
    demo.add_argument("--dir", default=".", help="where data/ and runs/ go (here)")
    demo.set_defaults(run=_demo)

    for name, run, text in (
        ("pretrain", _pretrain, "continued pretraining of one strategy"),
        ("probe", _probe, "linear heads on the frozen features of a run"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("config", help="a Python file with get_config()")
        command.add_argument("--workdir", required=True, help="folder of the run")
        command.add_argument("--data", help="records; absent: the config's own, made")
        command.add_argument("--seed", type=int, help="of the whole run (0)")
        command.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="override a setting, e.g. masking.strategy=random; may be repeated",
        )
        command.set_defaults(run=run)
    _add_probe(commands.choices["probe"])
    _add_features(commands)

    report = commands.add_parser("report", help="one HTML page of one or more runs")
    report.add_argument("workdir", help="a run's folder, or a folder of runs")
    report.set_defaults(run=_report)

    inspect = commands.add_parser(
        "inspect", help="a clip: tracks, units, masks, as a PNG"
    )
    inspect.add_argument("records", help="a folder of records")
    inspect.add_argument("--id", help="example id; absent: the first record")
    inspect.add_argument("--out", default="inspect.png", help="PNG to write")
    inspect.set_defaults(run=_inspect)
    _add_weights(commands)
    return parser


def _add_probe(command: argparse.ArgumentParser) -> None:
    """Adds what a probe takes beside the arguments of `pretrain`."""
    command.add_argument(
        "--checkpoint",
        metavar="PATH",
        help="weights without a run of their own: --workdir is a new folder",
    )
    command.add_argument(
        "--submission",
        metavar="ZIP",
        help="also answer val and test_public for TVQA's server",
    )


def _add_features(commands: argparse._SubParsersAction) -> None:
    features = commands.add_parser(
        "features", help="frozen features of all records, for heads of your own"
    )
    features.add_argument("workdir", help="a run's folder, or that of a checkpoint")
    features.add_argument("--out", required=True, help=".npz to write")
    features.add_argument("--data", help="records; absent: those of the folder")
    features.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of the probe, e.g. probe.read_outs=answer; may be repeated",
    )
    features.set_defaults(run=_features)


def _add_weights(commands: argparse._SubParsersAction) -> None:
    """Adds the commands on checkpoints (docs/weights.md)."""
    text = "look at checkpoints, convert official ones, export runs"
    actions = commands.add_parser("weights", help=text).add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    size_help = "must be tiny, small, base or large; absent: what the shapes say"
    inspect = actions.add_parser("inspect", help="what a checkpoint holds")
    inspect.add_argument("path", help="official file, Orbax folder or run; also gs://")
    inspect.add_argument("--size", help=size_help)
    inspect.set_defaults(run=_weights_inspect)

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
    convert.set_defaults(run=_weights_convert)

    export = actions.add_parser("export", help="a run or our folder to official form")
    export.add_argument("path", help="run or Orbax folder")
    export.add_argument("out", help="file to write")
    export.add_argument(
        "--which",
        default="best",
        choices=("best", "last", "start"),
        help="of a run: lowest dev loss (default), latest, before training",
    )
    export.set_defaults(run=_weights_export)


def _demo(arguments: argparse.Namespace) -> None:
    from mmdiffmask import demo

    print(demo.run(pathlib.Path(arguments.dir)))


def _experiment(arguments: argparse.Namespace):
    """The experiment that the arguments name, checked."""
    from mmdiffmask import build, configure, seeds

    experiment = configure.override(configure.load(arguments.config), arguments.set)
    if arguments.seed is not None:
        seeds.check("--seed", arguments.seed)
    experiment = build.find_files(experiment)
    build.check(experiment)
    if arguments.data is not None:
        build.check_records(arguments.data)
        experiment = build.adopt(experiment, arguments.data, arguments.set)
    return experiment


def _pretrain(arguments: argparse.Namespace) -> None:
    from mmdiffmask import configure, demo, effects, runs
    from mmdiffmask.inputs import Claim
    from mmdiffmask.run_folder import RunFolder

    experiment, seed = _experiment(arguments), arguments.seed or 0
    claim = Claim(configure.settings(experiment), seed)
    RunFolder(arguments.workdir).belongs_to(claim)
    effects.check_text_length(experiment.data, experiment.training)
    records = arguments.data or demo.make_records(experiment, pathlib.Path("."))
    runs.pretrain(experiment, records, arguments.workdir, seed)
    print(f"{arguments.workdir}: finished; mmdiffmask probe and report go on from here")


def _probe(arguments: argparse.Namespace) -> None:
    from mmdiffmask import demo, runs
    from mmdiffmask.probe import run as probing
    from mmdiffmask.probe import table

    if arguments.checkpoint is not None:
        weights = f"model.checkpoint={arguments.checkpoint}"
        arguments.set = [*arguments.set, weights, "training.steps=0"]
        experiment = _experiment(arguments)
        records = arguments.data or demo.make_records(experiment, pathlib.Path("."))
        probed = probing.probe_checkpoint(
            experiment,
            arguments.workdir,
            records,
            arguments.seed or 0,
            arguments.submission,
        )
        print(table.lines(probed))
        return
    probing.check_finished(arguments.workdir)
    experiment = runs.of_run(
        arguments.workdir, _experiment(arguments), arguments.set, arguments.seed
    )
    probed = probing.probe(
        experiment, arguments.workdir, arguments.data, arguments.submission
    )
    print(table.lines(probed))


def _features(arguments: argparse.Namespace) -> None:
    from mmdiffmask.probe import export

    print(export.write(arguments.workdir, arguments.out, arguments.data, arguments.set))


def _report(arguments: argparse.Namespace) -> None:
    from mmdiffmask.report import collect

    print(collect.write_page(pathlib.Path(arguments.workdir)))


def _inspect(arguments: argparse.Namespace) -> None:
    from mmdiffmask.report import inspect as sheet

    print(sheet.draw(arguments.records, arguments.id, arguments.out))


def _weights_inspect(arguments: argparse.Namespace) -> None:
    from mmdiffmask import weights

    print(weights.inspect(arguments.path, arguments.size))


def _weights_convert(arguments: argparse.Namespace) -> None:
    from mmdiffmask import weights

    print(
        weights.convert_official(
            arguments.path, arguments.out, arguments.size, arguments.parts
        )
    )


def _weights_export(arguments: argparse.Namespace) -> None:
    from mmdiffmask import weights

    print(weights.export(arguments.path, arguments.out, arguments.which))


if __name__ == "__main__":
    sys.exit(main())
