"""The command that runs an experiment: rows of a config, each with some seeds."""

import argparse
import pathlib
from typing import Any

from mmdiffmask import config, configure, run_arguments, run_files


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command `experiment` (docs/guide.md)."""
    text = "pretrain and probe every row of a config, with several seeds"
    command = commands.add_parser("experiment", help=text)
    text = "folder of the runs and of what comes out (runs/NAME of the config)"
    run_arguments.add(command, text, needs_folder=False)
    text = "folder of a small file for each run that is done (WORKDIR/results)"
    command.add_argument("--results", metavar="DIR", help=text)
    text = (
        "how many, counted from 0 (what row_seeds says; else as far as there are"
        " results, at least 1)"
    )
    command.add_argument("--seeds", type=int, metavar="N", help=text)
    text = "runs at a time (1): each has a thread of a CPU, or the device to itself"
    command.add_argument("--workers", type=int, default=1, metavar="N", help=text)
    text = "only the Ith of N parts of the runs, for one of N machines"
    command.add_argument("--shard", metavar="I/N", help=text)
    text = "leave the weights of finished runs in their folders"
    command.add_argument("--keep", action="store_true", help=text)
    text = "list the runs, done or not, with their minutes; compute nothing"
    command.add_argument("--plan", action="store_true", help=text)
    text = "compute N runs that are done anew, and compare them with their results"
    command.add_argument("--verify", type=int, metavar="N", help=text)
    command.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    import jax

    from mmdiffmask.experiment import kept, outcome, plan, progress, runs, verify

    for name in ("seeds", "workers"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} {value}: at least 1")
    jax.config.update("jax_platforms", "cpu")  # the device is for the runs' processes
    chosen = run_arguments.checked(arguments)
    workdir = pathlib.Path(arguments.workdir or f"runs/{chosen.name}")
    folder = pathlib.Path(arguments.results or workdir / run_files.RESULTS)
    keeping = kept.Kept(folder, arguments.keep)
    named = plan.seeds_of(chosen).values()
    least = max(named, default=keeping.count_seeds(configure.rows(chosen)))
    count = arguments.seeds or least
    planned = plan.plan(chosen, workdir, range(count))
    mine = planned if arguments.shard is None else plan.shard(planned, arguments.shard)
    keeping.check_apart(planned)
    known = _known_records(arguments, chosen)
    results = kept.read(planned, keeping, known)
    if arguments.plan:
        print("\n".join(progress.lines(mine, results, _clips(known, chosen))))
        return
    if arguments.verify is not None:
        chosen_runs = verify.choose(tuple(results), arguments.verify)
        records = _make_records(arguments, chosen)
        kept.read(planned, keeping, records)  # they are the same
        how = _how(arguments)
        again = verify.compute(chosen_runs, workdir, records, **how)
        print("\n".join(verify.lines(results, again)))
        return
    if not all(one in results for one in mine):
        records = _make_records(arguments, chosen)
        runs.run(mine, records, **_how(arguments), kept=keeping)
        results = kept.read(planned, keeping, records)
    print("\n".join(outcome.write(planned, results, folder, workdir)))


def _how(arguments: argparse.Namespace) -> dict[str, Any]:
    """How runs are computed."""
    import jax

    from mmdiffmask import compiled

    compiled.keep()
    return {
        "workers": arguments.workers,
        "compiled": jax.config.jax_compilation_cache_dir,
        "device": arguments.device,
    }


def _clips(records: str | None, chosen: config.Experiment) -> int | None:
    """How many records, or labelled texts, there are; None where they are not here."""
    from mmdiffmask import build
    from mmdiffmask.data.records import manifest
    from mmdiffmask.probe import texts

    if records is None:
        return None
    if isinstance(chosen.data, config.Texts):
        return len(set(texts.read(build.corpus(chosen, records)).texts))
    described = manifest.read(records)
    return sum(map(described.length, described.shards))


def _make_records(arguments: argparse.Namespace, chosen: config.Experiment) -> str:
    from mmdiffmask import toy_records

    return arguments.data or toy_records.make(chosen, pathlib.Path("."))


def _known_records(
    arguments: argparse.Namespace, chosen: config.Experiment
) -> str | None:
    """The records as far as they are here; nothing is rendered."""
    from mmdiffmask import toy_records
    from mmdiffmask.data.records import manifest

    if arguments.data is not None:
        return arguments.data
    if isinstance(chosen.data, config.Texts):
        folder = chosen.data.folder
        is_there = folder is not None and pathlib.Path(folder).is_dir()
        return folder if is_there else None
    folder = toy_records.folder_of(chosen, pathlib.Path("."))
    is_there = folder is not None and (folder / manifest.NAME).is_file()
    return str(folder) if is_there else None
