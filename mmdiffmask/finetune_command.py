"""The commands that fine-tune on labels, and show what came out."""

import argparse
import pathlib

from mmdiffmask import config, run_arguments


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the commands `finetune` and `finetuned` (docs/finetuning.md)."""
    text = "train a whole network on labels or questions, from a run or a checkpoint"
    command = commands.add_parser("finetune", help=text)
    run_arguments.add(command, "folder of the run; with --seeds, of the runs")
    text = "finished run of continued pretraining (absent: the model's own checkpoint)"
    command.add_argument("--start", metavar="RUN", help=text)
    text = "its weights: of the best dev loss (default), or of its last update"
    command.add_argument("--which", choices=("best", "last"), help=text)
    group = command.add_mutually_exclusive_group()
    group.add_argument("--seed", type=int, help="of the whole run (0)")
    text = "so many runs, one after another, of seeds 0 to N - 1, in WORKDIR/seed-..."
    group.add_argument("--seeds", type=int, metavar="N", help=text)
    command.set_defaults(run=_finetune)

    text = "a table of the fine-tuned runs in a folder, seeds side by side"
    table = commands.add_parser("finetuned", help=text)
    table.add_argument("workdir", help="folder of runs, or of one")
    table.set_defaults(run=_table)


def _finetune(arguments: argparse.Namespace) -> None:
    from mmdiffmask import (
        build,
        compiled,
        finetune,
        finetune_table,
        pretrain,
        seeds,
        toy_records,
    )
    from mmdiffmask.run_folder import RunFolder

    if arguments.which is not None and arguments.start is None:
        raise ValueError(f"--which {arguments.which}: is of --start; name a run there")
    if arguments.seeds is not None and arguments.seeds < 1:
        raise ValueError(f"--seeds {arguments.seeds}: at least 1")
    if arguments.seed is not None:
        seeds.check("--seed", arguments.seed)
    compiled.keep()
    experiment = run_arguments.experiment(
        arguments, lambda loaded: _started(arguments, loaded)
    )
    build.check_lengths(experiment)
    workdir = pathlib.Path(arguments.workdir)
    folders = {arguments.seed or 0: workdir}
    if arguments.seeds is not None:
        folders = {seed: workdir / f"seed-{seed}" for seed in range(arguments.seeds)}
    for seed, folder in folders.items():  # before the first of them has trained
        RunFolder(folder).belongs_to(pretrain.claim(experiment, arguments.data, seed))
    data = arguments.data or toy_records.make(experiment, pathlib.Path("."))
    if arguments.data is None:
        build.verify(experiment, data)
    for seed, folder in folders.items():
        finetune.run(experiment, data, str(folder), seed)
    print("\n".join(finetune_table.lines(workdir)))


def _started(
    arguments: argparse.Namespace, loaded: config.Experiment
) -> config.Experiment:
    """The experiment with what --start and --which say."""
    from mmdiffmask import configure, finetune

    finetune.check(loaded)
    changes = []
    if arguments.start is not None:
        changes = [f"model.start={arguments.start}"]
    if arguments.which is not None:
        changes.append(f"model.start_step={arguments.which}")
    return configure.override(loaded, changes)


def _table(arguments: argparse.Namespace) -> None:
    from mmdiffmask import finetune_table

    print("\n".join(finetune_table.lines(pathlib.Path(arguments.workdir))))
