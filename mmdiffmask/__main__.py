"""Command line: one run, an experiment, what is read out of them, and what helps.

A user's mistake is one sentence on stderr and exit status 2, found before any work.
"""

import argparse
import logging
import pathlib
import sys
from typing import NoReturn

from mmdiffmask import (
    anchor_commands,
    atomic,
    experiment_command,
    finetune_command,
    masks_commands,
    run_arguments,
    weights_commands,
)

EXIT_USER = 2
EXIT_RESUME = 75  # stopped by a signal with its state saved: run the same command again


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    arguments = _parser().parse_args(argv)
    sys.unraisablehook = _unraisable
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S"
    )
    logging.getLogger("jax").setLevel(logging.ERROR)
    # What these meet is raised too, and told in a sentence; they add tracebacks to it.
    for name in ("absl", "orbax", "etils", "concurrent.futures", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        _check_folders(arguments)
        return arguments.run(arguments) or 0
    except (ValueError, OSError) as error:
        if arguments.traceback:
            raise
        sentence = _of_system(error, arguments) or error
        print(f"mmdiffmask {arguments.command}: {sentence}", file=sys.stderr)
        return EXIT_USER
    except KeyboardInterrupt as stop:
        print(
            f"mmdiffmask {arguments.command}: stopped. {stop or ''}".rstrip()
            + " Run the same command again to go on.",
            file=sys.stderr,
        )
        return EXIT_RESUME


def _unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    """Python's own hook, but for what tensorstore prints after a write has failed.

    Its writes that were under way find the loop of the failed one closed; that one is
    raised.
    """
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)


def _of_system(error: Exception, arguments: argparse.Namespace) -> str | None:
    """What the system refused, and where; None of another error."""
    if not isinstance(error, OSError) or error.strerror is None:
        return None
    names = ("workdir", "out", "dir", "data")
    known = (vars(arguments).get(name) for name in names)
    where = error.filename or next((path for path in known if path), "writing")
    if error.errno not in atomic.FULL:
        return f"{where}: {error.strerror}"
    return (
        f"{where}: {error.strerror}; what was saved stands: make room, and run the same"
        " command again"
    )


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
    demo.add_argument("--workers", type=int, metavar="N", help="runs at a time (2)")
    demo.set_defaults(run=_demo)

    for name, run, text in (
        ("pretrain", _pretrain, "continued pretraining of one strategy"),
        ("probe", _probe, "linear heads on the frozen features of a run"),
    ):
        command = commands.add_parser(name, help=text)
        run_arguments.add(command, "folder of the run")
        command.add_argument("--seed", type=int, help="of the whole run (0)")
        command.set_defaults(run=run)
    _add_watch(commands.choices["pretrain"])
    _add_probe(commands.choices["probe"])
    _add_features(commands)

    report = commands.add_parser("report", help="one HTML page of one or more runs")
    report.add_argument("workdir", help="a run's folder, or a folder of runs")
    report.set_defaults(run=_report)

    _add_inspect(commands)
    doctor = commands.add_parser("doctor", help="devices, space and rates of a machine")
    doctor.add_argument("config", nargs="?", help="of the run that is meant (base)")
    doctor.add_argument("--workdir", default=".", help="where it would lie (here)")
    doctor.add_argument("--data", help="its records, or folder of texts: size and rate")
    run_arguments.add_settings(doctor)
    doctor.set_defaults(run=_doctor)
    experiment_command.add(commands)
    finetune_command.add(commands)
    anchor_commands.add(commands)
    weights_commands.add(commands)
    masks_commands.add(commands)
    return parser


def _add_watch(command: argparse.ArgumentParser) -> None:
    """Adds ways to look at a run, which change nothing of it."""
    command.add_argument(
        "--tensorboard", action="store_true", help="write events for TensorBoard"
    )
    command.add_argument(
        "--trace",
        metavar="FIRST:LAST",
        help="record these updates with the profiler, e.g. 11:13",
    )


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
    text = "a setting of the probe, e.g. probe.read_outs=answer; may be repeated"
    run_arguments.add_set(features, text)
    features.set_defaults(run=_features)


def _add_inspect(commands: argparse._SubParsersAction) -> None:
    inspect = commands.add_parser(
        "inspect", help="a clip: tracks, units and their weights, masks, as a PNG"
    )
    inspect.add_argument("records", help="a folder of records")
    inspect.add_argument("--id", help="example id; absent: the first record")
    inspect.add_argument("--out", default="inspect.png", help="PNG to write")
    inspect.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of masking, e.g. masking.anchors=cup,chair; may be repeated",
    )
    inspect.set_defaults(run=_inspect)


def _check_folders(arguments: argparse.Namespace) -> None:
    """Refuses an address wherever something is written, and as records."""
    for name in ("workdir", "data", "dir", "records", "out", "submission", "results"):
        atomic.require_local(getattr(arguments, name, None))


def _demo(arguments: argparse.Namespace) -> None:
    from mmdiffmask import demo

    print(demo.run(pathlib.Path(arguments.dir), arguments.workers))


def _seed(arguments: argparse.Namespace) -> int:
    from mmdiffmask import seeds

    if arguments.seed is not None:
        seeds.check("--seed", arguments.seed)
    return arguments.seed or 0


def _pretrain(arguments: argparse.Namespace) -> None:
    from mmdiffmask import build, compiled, configure, pretrain, toy_records
    from mmdiffmask.inputs import Claim
    from mmdiffmask.probe import curve
    from mmdiffmask.run_folder import RunFolder
    from mmdiffmask.training import trace
    from mmdiffmask.training import watch as watching

    steps = None if arguments.trace is None else trace.parse(arguments.trace)
    watch = watching.Watch(arguments.tensorboard, steps)
    compiled.keep()
    seed, experiment = _seed(arguments), run_arguments.experiment(arguments)
    claim = Claim(configure.settings(experiment), seed)
    RunFolder(arguments.workdir).belongs_to(claim)
    build.check_lengths(experiment)
    records = arguments.data or toy_records.make(experiment, pathlib.Path("."))
    folder, probe = arguments.workdir, curve.of_run
    pretrain.pretrain(experiment, records, folder, seed, watch, probe=probe)
    is_text = experiment.data.family == "text"
    further = "probe goes" if is_text else "probe and report go"
    print(f"{arguments.workdir}: finished; mmdiffmask {further} on from here")


def _probe(arguments: argparse.Namespace) -> None:
    from mmdiffmask import compiled, toy_records
    from mmdiffmask.probe import run as probing
    from mmdiffmask.probe import settings, table

    compiled.keep()
    seed = _seed(arguments)
    if arguments.checkpoint is not None:
        weights = f"model.checkpoint={arguments.checkpoint}"
        arguments.set = [*arguments.set, weights, "training.steps=0"]
        experiment = run_arguments.experiment(arguments)
        records = arguments.data or toy_records.make(experiment, pathlib.Path("."))
        probed = probing.probe_checkpoint(
            experiment,
            arguments.workdir,
            records,
            seed,
            arguments.submission,
        )
        print(table.lines(probed))
        return
    workdir, by_hand = arguments.workdir, arguments.set
    probing.check_finished(workdir)
    requested = run_arguments.experiment(
        arguments, lambda loaded: settings.with_files_of(workdir, loaded, by_hand)
    )
    experiment = settings.of_run(workdir, requested, by_hand, arguments.seed)
    probed = probing.probe(experiment, workdir, arguments.data, arguments.submission)
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

    drawn = sheet.draw(arguments.records, arguments.id, arguments.out, arguments.set)
    print(drawn)


def _doctor(arguments: argparse.Namespace) -> None:
    from mmdiffmask import build, devices, doctor

    experiment = run_arguments.load(arguments)
    if arguments.data is not None:
        experiment = build.adopt(experiment, arguments.data, arguments.set)
    devices.use(arguments.device)
    for line in doctor.look(experiment, arguments.workdir, arguments.data):
        print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
