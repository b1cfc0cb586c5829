"""Command line: demo, pretrain, probe, features, report, inspect, weights, masks...

A user's mistake is one sentence on stderr and exit status 2, found before any work.
"""

import argparse
import logging
import pathlib
import sys
from typing import NoReturn

from mmdiffmask import masks_commands, weights_commands

DEVICES = ("tpu", "gpu", "cpu")
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
        _check_folders(arguments)
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
            "--model", help="sizes by name: tiny, small, base, large; --set comes after"
        )
        command.add_argument(
            "--device",
            choices=DEVICES,
            help="compute on this or stop; absent: on what jax finds",
        )
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

    doctor = commands.add_parser("doctor", help="devices, space and rates of a machine")
    doctor.add_argument("config", nargs="?", help="of the run that is meant (base)")
    doctor.add_argument("--workdir", default=".", help="where it would lie (here)")
    doctor.add_argument("--data", help="its records: their size and rate")
    doctor.add_argument("--device", choices=DEVICES, help="must be there")
    doctor.set_defaults(run=_doctor)
    weights_commands.add(commands)
    masks_commands.add(commands)
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


def _check_folders(arguments: argparse.Namespace) -> None:
    """Refuses an address as a folder: a local one of that name would be made."""
    for name in ("workdir", "data", "dir", "records"):
        value = getattr(arguments, name, None)
        if value is not None and "://" in value:
            raise ValueError(
                f"{value}: runs and records lie in a folder of this machine, not at an"
                " address; put them on a disk that outlives it (docs/tpu.md)"
            )


def _demo(arguments: argparse.Namespace) -> None:
    from mmdiffmask import demo

    print(demo.run(pathlib.Path(arguments.dir)))


def _experiment(arguments: argparse.Namespace):
    """The experiment that the arguments name, checked."""
    from mmdiffmask import build, config, configure, devices, seeds

    experiment = configure.load(arguments.config)
    if arguments.model is not None:
        experiment = config.resize(experiment, arguments.model)
    experiment = configure.override(experiment, arguments.set)
    if arguments.seed is not None:
        seeds.check("--seed", arguments.seed)
    experiment = build.find_files(experiment)
    build.check(experiment)
    if arguments.data is not None:
        build.check_records(arguments.data)
        experiment = build.adopt(experiment, arguments.data, arguments.set)
    devices.use(arguments.device)
    return experiment


def _pretrain(arguments: argparse.Namespace) -> None:
    from mmdiffmask import compiled, configure, effects, pretrain, toy_records
    from mmdiffmask.inputs import Claim
    from mmdiffmask.run_folder import RunFolder

    compiled.keep()
    experiment, seed = _experiment(arguments), arguments.seed or 0
    claim = Claim(configure.settings(experiment), seed)
    RunFolder(arguments.workdir).belongs_to(claim)
    effects.check_text_length(experiment.data, experiment.training)
    records = arguments.data or toy_records.make(experiment, pathlib.Path("."))
    pretrain.pretrain(experiment, records, arguments.workdir, seed)
    print(f"{arguments.workdir}: finished; mmdiffmask probe and report go on from here")


def _probe(arguments: argparse.Namespace) -> None:
    from mmdiffmask import compiled, toy_records
    from mmdiffmask.probe import run as probing
    from mmdiffmask.probe import settings, table

    compiled.keep()
    if arguments.checkpoint is not None:
        weights = f"model.checkpoint={arguments.checkpoint}"
        arguments.set = [*arguments.set, weights, "training.steps=0"]
        experiment = _experiment(arguments)
        records = arguments.data or toy_records.make(experiment, pathlib.Path("."))
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
    experiment = settings.of_run(
        arguments.workdir, _experiment(arguments), arguments.set, arguments.seed
    )
    probed = probing.probe(
        experiment, arguments.workdir, arguments.data, arguments.submission
    )
    print(table.lines(probed))


def _features(arguments: argparse.Namespace) -> None:
    from mmdiffmask import compiled
    from mmdiffmask.probe import export

    compiled.keep()
    print(export.write(arguments.workdir, arguments.out, arguments.data, arguments.set))


def _report(arguments: argparse.Namespace) -> None:
    from mmdiffmask.report import collect

    print(collect.write_page(pathlib.Path(arguments.workdir)))


def _inspect(arguments: argparse.Namespace) -> None:
    from mmdiffmask.report import inspect as sheet

    print(sheet.draw(arguments.records, arguments.id, arguments.out))


def _doctor(arguments: argparse.Namespace) -> None:
    from mmdiffmask import build, config, configure, devices, doctor

    experiment = config.Experiment("base")
    if arguments.config is not None:
        experiment = configure.load(arguments.config)
    if arguments.data is not None:
        experiment = build.adopt(experiment, arguments.data)
    devices.use(arguments.device)
    for line in doctor.look(experiment, arguments.workdir, arguments.data):
        print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
