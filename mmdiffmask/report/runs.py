"""Finished runs as the report needs them, read from their folders."""

import dataclasses
import pathlib
from typing import Any

from mmdiffmask import inputs, run_files
from mmdiffmask.inputs import Served
from mmdiffmask.masking import strategies
from mmdiffmask.masking import summary as mask_summary
from mmdiffmask.probe import results
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import journal

# What tells the rows of a page from one another, beside what their config's rows say.
OF_ROW = ("masking.strategy", "name", "rows", "report_clips")
# In these a row that hides nothing differs from the others because it hides nothing.
OF_PLAIN_ROW = ("training.steps", "terms.patches")
NOT_TRAINED, NOT_HIDING = "none", "replay"  # names of rows that hide nothing


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run's folder holds.

    Attributes:
      name: of its row: its strategy's label, or what it is that hides nothing.
      folder: where it lies.
      settings: dotted name -> value.
      seed: of the run.
      inputs: what it read, and the content of that.
      versions: of packages that it was begun with; empty where not noted.
      clips: what -> how many clips of its records.
      fill_only: kinds of held-out masks that hide no box.
      lines: metrics.jsonl.
      probe: probe.json, or None where the run was not probed.
      masks: what its masks were made of; None where it hides nothing.
      seconds: spent on updates and evaluations.
    """

    name: str
    folder: RunFolder
    settings: dict[str, Any]
    seed: int
    inputs: inputs.Inputs
    versions: dict[str, str]
    clips: dict[str, int]
    fill_only: tuple[str, ...]
    lines: list[dict[str, Any]]
    probe: results.Probed | None
    masks: mask_summary.MaskSummary | None
    seconds: float

    @property
    def is_trained(self) -> bool:
        """Whether it is more than the start itself."""
        return self.settings["training.steps"] > 0

    @property
    def is_hiding(self) -> bool:
        """Whether it trained on hidden patches."""
        return self.is_trained and self.settings["terms.patches"] > 0


def read_runs(workdir: pathlib.Path) -> tuple[list[Run], list[str]]:
    """The runs in a folder: itself, or the folders in it.

    Returns:
      The finished ones, those that hide nothing first; the names of the others.

    Raises:
      ValueError: if there is no finished run, or runs do not belong together.
    """
    if not workdir.is_dir():
        problem = "is a file, not a folder" if workdir.exists() else "no such folder"
        raise ValueError(f"{workdir}: {problem}")
    paths = [workdir, *sorted(p for p in workdir.iterdir() if p.is_dir())]
    begun = [run for run in map(RunFolder, paths) if run.has(run_files.CONFIG)]
    done = [folder for folder in begun if folder.has(run_files.DATA)]
    if not done:
        state = "no finished run" if begun else "no run"
        if all(map(is_of_checkpoint, begun)) and begun:
            state = "only checkpoints that were probed without a run, but no run"
        raise ValueError(
            f"{workdir}: {state} here; mmdiffmask pretrain CONFIG.py --workdir"
            f" {workdir} makes one"
        )
    order = list(strategies.REGISTRY)
    read = []
    for folder in done:
        try:
            read.append(_read(folder))
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"{folder}: a file of this run is damaged ({error!r}); train it again"
                " in another folder"
            ) from error
    read.sort(
        key=lambda run: (run.is_trained, run.is_hiding, _place(order, run), run.name)
    )
    hiding = [run for run in read if run.is_hiding]
    for run in read[1:]:
        _check_comparable(read[0], run)
        # A row that hides nothing may have other terms; others agree.
        if run in hiding:
            _check_comparable(hiding[0], run)
    return _with_unique_names(read), [
        folder.path.name
        for folder in begun
        if folder not in done and not is_of_checkpoint(folder)
    ]


def is_of_checkpoint(folder: RunFolder) -> bool:
    """Whether it holds the probe of a checkpoint without a run."""
    return folder.has(run_files.PROBE) and not folder.has(run_files.DATA)


def _place(order: list[str], run: Run) -> int:
    """Where a run stands on the page; strategies of other versions come last."""
    name = run.settings["masking.strategy"]
    return order.index(name) if name in order else len(order)


def _check_comparable(first: Run, other: Run) -> None:
    """Rows of a page differ in what they mask, and in nothing else.

    Raises:
      ValueError: naming the first thing in which two runs differ.
    """
    same = first.inputs.keys() & other.inputs.keys()  # compared by content, not by path
    pairs = {name: (_content(first, name), _content(other, name)) for name in same}
    pairs["seed"] = (first.seed, other.seed)
    may_differ = {*same, *OF_ROW, *(_of_rows(first) & _of_rows(other))}
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


def _name(settings: dict[str, Any]) -> str:
    if not settings["training.steps"]:
        return NOT_TRAINED
    if not settings["terms.patches"]:
        return NOT_HIDING
    return strategies.label(settings["masking.strategy"])


def _read(folder: RunFolder) -> Run:
    owner, served = folder.owner(), Served(**folder.read(run_files.DATA))
    lines = journal.read_metrics(folder)
    if not lines:
        raise ValueError(f"{folder}: its {run_files.METRICS} is empty or gone")
    masks = None
    if folder.has(run_files.MASKS):
        masks = mask_summary.MaskSummary(**folder.read(run_files.MASKS))
    return Run(
        name=_name(owner.settings),
        folder=folder,
        settings=owner.settings,
        seed=owner.seed,
        inputs=folder.inputs(),
        versions=folder.versions(),
        clips=served.clips,
        fill_only=tuple(served.fill_only),
        lines=lines,
        probe=results.read(folder),
        seconds=journal.seconds(folder),
        masks=masks,
    )


def _with_unique_names(read: list[Run]) -> list[Run]:
    names = [run.name for run in read]
    return [
        run
        if names.count(run.name) == 1
        else dataclasses.replace(run, name=f"{run.name}, {run.folder.path.name}")
        for run in read
    ]
