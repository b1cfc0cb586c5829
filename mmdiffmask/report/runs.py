"""The runs of a page: finished, comparable, in order, each with a name of its own."""

import dataclasses
import pathlib

from mmdiffmask import config, inputs, run_files
from mmdiffmask.masking import strategies, tables
from mmdiffmask.probe import finished
from mmdiffmask.probe.finished import Run
from mmdiffmask.run_folder import RunFolder

# What tells the rows of a page from one another, beside what their config's rows say.
OF_ROW = ("masking.strategy", "name", "rows", "report_clips", *config.UNCOUNTED)
# In these a row that hides nothing differs from the others because it hides nothing.
OF_PLAIN_ROW = ("training.steps", "terms.patches")
BY_ID = {f"masking.{name}" for name in tables.NAMES}  # a file that a strategy reads


def read_runs(workdir: pathlib.Path) -> tuple[list[Run], list[str]]:
    """The runs in a folder: itself, or the folders in it.

    Returns:
      The finished ones, those that hide nothing first; the names of the others.

    Raises:
      ValueError: if there is no finished run, or runs do not belong together.
    """
    done, others = finished.folders(workdir)
    alone = [folder for folder in others if finished.is_of_checkpoint(folder)]
    if not done:
        state = "no finished run" if others else "no run"
        if others and alone == others:
            state = "only checkpoints that were probed without a run, but no run"
        raise ValueError(
            f"{workdir}: {state} here; mmdiffmask pretrain CONFIG.py --workdir"
            f" {workdir} makes one"
        )
    for folder in done:
        _check_video(folder)
    order = list(strategies.REGISTRY)
    runs = sorted(
        map(finished.read, done),
        key=lambda run: (run.is_trained, run.is_hiding, _place(order, run), run.name),
    )
    hiding = [run for run in runs if run.is_hiding]
    for run in runs[1:]:
        _check_comparable(runs[0], run)
        # A row that hides nothing may have other terms; others agree.
        if run in hiding:
            _check_comparable(hiding[0], run)
    unfinished = [folder.path.name for folder in others if folder not in alone]
    return _with_unique_names(runs), unfinished


def _check_video(folder: RunFolder) -> None:
    """Checks that a run is one of video.

    Raises:
      ValueError: if it is of texts, whose numbers other commands show.
    """
    if not finished.is_of_texts(folder.owner().settings):
        return
    show = "mmdiffmask probe CONFIG.py prints the scores of its frozen features"
    if folder.has(run_files.ANSWERS):
        show = f"mmdiffmask finetuned {folder} prints its scores"
    raise ValueError(
        f"{folder}: is a run of texts, and report shows runs of video; {show}, and"
        " mmdiffmask experiment CONFIG.py makes a page of rows of texts"
    )


def _place(order: list[str], run: Run) -> int:
    """Where a run stands on the page; strategies of other versions come last."""
    name = run.settings["masking.strategy"]
    return order.index(name) if name in order else len(order)


def _check_comparable(first: Run, other: Run) -> None:
    """Rows of a page differ in what they mask, and in nothing else.

    Raises:
      ValueError: naming the first thing in which two runs differ.
    """
    # Compared by content, not by path.
    same = (first.inputs.keys() & other.inputs.keys()) - BY_ID
    pairs = {name: (_content(first, name), _content(other, name)) for name in same}
    pairs["seed"] = (first.seed, other.seed)
    may_differ = {*same, *OF_ROW, *(_of_rows(first) & _of_rows(other))}
    # A strategy that reads a file is a row like others, another file another row.
    may_differ |= BY_ID & (first.inputs.keys() | other.inputs.keys())
    may_differ.difference_update(OF_PLAIN_ROW)
    if not (first.is_hiding and other.is_hiding):
        may_differ.update(OF_PLAIN_ROW)
    for name in first.settings | other.settings:
        if name not in may_differ:
            pairs[name] = (first.settings.get(name), other.settings.get(name))
    if first.probe and other.probe:
        pairs["probe"] = (first.probe.key.probe, other.probe.key.probe)
        records = tuple(run.probe.key.manifest for run in (first, other))
        if all(records):  # versions before did not note them
            pairs["the records that they were probed on"] = records
    for name, (one, two) in pairs.items():
        if one != two:
            if name in same:
                one, two = (_described(run, name) for run in (first, other))
            raise ValueError(
                f"{first.folder} and {other.folder} differ in {name} ({one}, {two}), so"
                " they do not belong on one page; report on each alone"
            )


def _content(run: Run, name: str) -> str:
    return run.inputs[name]["sha256"]


def _described(run: Run, name: str) -> str:
    entry = run.inputs[name]
    return f"{entry['value']} with {inputs.short(entry['sha256'])}"


def _of_rows(run: Run) -> set[str]:
    """The settings that the rows of the run's own config change."""
    changes = (row.partition(":")[2].split(";") for row in run.settings["rows"])
    return {item.partition("=")[0].strip() for row in changes for item in row}


def _with_unique_names(runs: list[Run]) -> list[Run]:
    names = [run.name for run in runs]
    return [
        run
        if names.count(run.name) == 1
        else dataclasses.replace(run, name=f"{run.name}, {run.folder.path.name}")
        for run in runs
    ]
