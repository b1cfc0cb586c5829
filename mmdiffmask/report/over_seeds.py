"""The contrasts of an experiment's folder: rows of every seed that lies in it."""

import dataclasses
import pathlib

from mmdiffmask import contrasts, inputs, run_files, seeds
from mmdiffmask.probe import contrasted, results
from mmdiffmask.run_folder import RunFolder


def of_page(
    workdir: pathlib.Path,
) -> tuple[tuple[contrasted.Measured, ...], tuple[str, ...]]:
    """The contrasts of a folder, and a sentence where they cannot be shown."""
    try:
        return measured(workdir), ()
    except ValueError as error:
        return (), (f"The contrasts that the config names are not shown: {error}.",)


def measured(workdir: pathlib.Path) -> tuple[contrasted.Measured, ...]:
    """The contrasts that the config of the runs names, over all seeds.

    Rows lie in folders of their names, those of seed 0 in `workdir` itself
    (`seeds.folder`); rows and contrasts are those that the first run was begun with.

    Raises:
      ValueError: if a row differs between seeds, runs were begun with other contrasts,
        or a contrast cannot be measured.
    """
    folders = [
        RunFolder(path)
        for folder in seeds.folders(workdir).values()
        for path in sorted(folder.iterdir())
        if path.is_dir()
    ]
    done = [f for f in folders if f.has(run_files.PROBE) and f.has(run_files.DATA)]
    if not done:
        return ()
    first = done[0]
    settings = first.owner().settings
    if not settings["contrasts"]:
        return ()
    experiment = first.experiment(settings)
    rows = tuple(row.partition(":")[0].strip() for row in experiment.rows)
    named = contrasts.of_experiment(experiment, rows)
    runs: dict[str, dict[int, results.Probed]] = {row: {} for row in rows}
    first_of_row: dict[str, RunFolder] = {}
    for folder in done:
        row = folder.path.name
        if row in runs:
            _check_same(first_of_row.setdefault(row, folder), folder, first)
            runs[row][folder.owner().seed] = results.read(folder)
    return contrasted.measure(named, runs, experiment.probe.bootstrap)


def _check_same(before: RunFolder, folder: RunFolder, first: RunFolder) -> None:
    """Raises ValueError where a row's runs differ in more than their seed."""
    old, new = (dataclasses.replace(f.owner(), seed=0) for f in (before, folder))
    if difference := inputs.first_difference(old, new):
        raise ValueError(
            f"{before} and {folder} are of one row but differ: {difference}"
        )
    named = [tuple(f.owner().settings["contrasts"]) for f in (first, folder)]
    if named[0] != named[1]:
        raise ValueError(
            f"{first} and {folder} were begun with other contrasts, so these were not"
            " named before all runs"
        )
