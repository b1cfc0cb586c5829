"""The command that runs an experiment: rows of a config, each with some seeds."""

import argparse
import pathlib

from mmdiffmask import config, run_arguments, run_files


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command `experiment` (docs/guide.md)."""
    text = "pretrain and probe every row of a config, with several seeds"
    command = commands.add_parser("experiment", help=text)
    text = "folder of the runs and of what comes out (runs/NAME of the config)"
    run_arguments.add(command, text, needs_folder=False)
    text = "folder of a small file for each run that is done (WORKDIR/results)"
    command.add_argument("--results", metavar="DIR", help=text)
    text = "how many, counted from 0 (1)"
    command.add_argument("--seeds", type=int, default=1, metavar="N", help=text)
    text = "runs at a time (1): each has a thread of a CPU, or the device to itself"
    command.add_argument("--workers", type=int, default=1, metavar="N", help=text)
    text = "only the Ith of N parts of the runs, for one of N machines"
    command.add_argument("--shard", metavar="I/N", help=text)
    text = "leave the weights of finished runs in their folders"
    command.add_argument("--keep", action="store_true", help=text)
    text = "list the runs, done or not, with their minutes; compute nothing"
    command.add_argument("--plan", action="store_true", help=text)
    command.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    import jax

    from mmdiffmask import compiled, toy_records
    from mmdiffmask.experiment import kept, outcome, plan, progress, runs

    for name in ("seeds", "workers"):
        if getattr(arguments, name) < 1:
            raise ValueError(f"--{name} {getattr(arguments, name)}: at least 1")
    jax.config.update("jax_platforms", "cpu")  # the device is for the runs' processes
    chosen = run_arguments.checked(arguments)
    workdir = pathlib.Path(arguments.workdir or f"runs/{chosen.name}")
    folder = pathlib.Path(arguments.results or workdir / run_files.RESULTS)
    planned = plan.plan(chosen, workdir, range(arguments.seeds))
    mine = planned if arguments.shard is None else plan.shard(planned, arguments.shard)
    keeping = kept.Kept(folder, arguments.keep)
    keeping.check_apart(planned)
    results = kept.read(planned, keeping, _known_records(arguments, chosen))
    if arguments.plan:
        print("\n".join(progress.lines(mine, results)))
        return
    if not all(one in results for one in mine):
        compiled.keep()
        runs.run(
            mine,
            arguments.data or toy_records.make(chosen, pathlib.Path(".")),
            workers=arguments.workers,
            compiled=jax.config.jax_compilation_cache_dir,
            device=arguments.device,
            kept=keeping,
        )
        results = kept.read(planned, keeping, _known_records(arguments, chosen))
    print("\n".join(outcome.write(planned, results, folder, workdir)))


def _known_records(
    arguments: argparse.Namespace, chosen: config.Experiment
) -> str | None:
    """The records as far as they are here; nothing is rendered."""
    from mmdiffmask import toy_records
    from mmdiffmask.data.records import manifest

    if arguments.data is not None:
        return arguments.data
    folder = toy_records.folder_of(chosen, pathlib.Path("."))
    is_there = folder is not None and (folder / manifest.NAME).is_file()
    return str(folder) if is_there else None
