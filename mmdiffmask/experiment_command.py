"""The command that runs an experiment: rows of a config, each with some seeds."""

import argparse

from mmdiffmask import run_arguments


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command `experiment` (docs/guide.md)."""
    text = "pretrain and probe every row of a config, with several seeds"
    command = commands.add_parser("experiment", help=text)
    run_arguments.add(command, "folder of the runs")
    text = "how many, counted from 0 (1)"
    command.add_argument("--seeds", type=int, default=1, metavar="N", help=text)
    text = "runs at a time (1): each has a thread of a CPU, or the device to itself"
    command.add_argument("--workers", type=int, default=1, metavar="N", help=text)
    command.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    import pathlib

    import jax

    from mmdiffmask import compiled, experiment, toy_records
    from mmdiffmask.probe import contrasted

    for name in ("seeds", "workers"):
        if getattr(arguments, name) < 1:
            raise ValueError(f"--{name} {getattr(arguments, name)}: at least 1")
    jax.config.update("jax_platforms", "cpu")  # the device is for the runs' processes
    compiled.keep()
    chosen = run_arguments.checked(arguments)
    planned = experiment.plan(chosen, arguments.workdir, range(arguments.seeds))
    experiment.run(
        planned,
        arguments.data or toy_records.make(chosen, pathlib.Path(".")),
        workers=arguments.workers,
        compiled=jax.config.jax_compilation_cache_dir,
        device=arguments.device,
    )
    for row, runs in experiment.results(planned).items():
        print(f"{row}: {len(runs)} finished")
    if chosen.contrasts:
        print("\n".join(contrasted.lines(experiment.compare(planned))))
    print(f"{arguments.workdir}: finished; mmdiffmask report goes on from here")
