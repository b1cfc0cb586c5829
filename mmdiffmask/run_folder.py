"""What the folders of finished runs hold, as the report reads them."""

import dataclasses
import pathlib
from typing import Any

from mmdiffmask import runs
from mmdiffmask.masking import strategies
from mmdiffmask.probe import metrics
from mmdiffmask.training import checkpoint, journal

# What tells the rows of a page from one another.
OF_ROW = ("masking.strategy", "name", "compare", "report_clips")
FIRST = ("none", "replay")  # they hide nothing: what the others are measured by
OBJECTIVE = "training.objective"


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run's folder holds.

    Attributes:
      name: of its row: its strategy's label.
      folder: where it lies.
      settings: dotted name -> value.
      seed: of the run.
      data: data.json (`runs.DATA`).
      lines: metrics.jsonl.
      probe: probe.json, or None where the run was not probed.
      masks: what its masks were made of; None for `none` and `replay`.
      seconds: spent on updates and evaluations.
    """

    name: str
    folder: pathlib.Path
    settings: dict[str, Any]
    seed: int
    data: dict[str, Any]
    lines: list[dict[str, Any]]
    probe: dict[str, Any] | None
    masks: metrics.MaskSummary | None
    seconds: float


def read_runs(workdir: pathlib.Path) -> tuple[list[Run], list[str]]:
    """The runs in a folder: itself, or the folders in it.

    Returns:
      The finished ones, `none` and `replay` first; the names of the others.

    Raises:
      ValueError: if there is no finished run, or runs do not belong together.
    """
    if not workdir.is_dir():
        what = "is a file, not a folder" if workdir.exists() else "no such folder"
        raise ValueError(f"{workdir}: {what}")
    folders = [workdir, *sorted(p for p in workdir.iterdir() if p.is_dir())]
    found = [f for f in folders if (f / checkpoint.CONFIG).is_file()]
    done = [f for f in found if (f / runs.DATA).is_file()]
    if not done:
        state = "no finished run" if found else "no run"
        raise ValueError(
            f"{workdir}: {state} here; mmdiffmask pretrain CONFIG.py --workdir"
            f" {workdir} makes one"
        )
    names = dict.fromkeys((*FIRST, *strategies.REGISTRY))
    order = list(names)
    read = []
    for folder in done:
        try:
            read.append(_read(folder))
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"{folder}: a file of this run is damaged ({error!r}); train it again"
                " in another folder"
            ) from error
    read.sort(key=lambda run: (_place(order, run), run.name))
    hiding = [run for run in read if not _is_plain(run)]
    for run in read[1:]:
        _check_comparable(read[0], run)
        # A row that hides nothing may have another objective; others agree.
        if run in hiding:
            _check_comparable(hiding[0], run)
    return _with_unique_names(read), [f.name for f in found if f not in done]


def _place(order: list[str], run: Run) -> int:
    """Where a run stands on the page; strategies of other versions come last."""
    name = run.settings["masking.strategy"]
    return order.index(name) if name in order else len(order)


def _check_comparable(first: Run, other: Run) -> None:
    """Rows of a page differ in what they mask, and in nothing else.

    Raises:
      ValueError: naming the first thing in which two runs differ.
    """
    pairs = {}
    if first.data["manifest"] != other.data["manifest"]:
        pairs["records"] = (first.data["records"], other.data["records"])
    pairs["seed"] = (first.seed, other.seed)
    for name in first.settings | other.settings:
        if name not in OF_ROW and not (name == OBJECTIVE and _is_plain(first, other)):
            pairs[name] = (first.settings.get(name), other.settings.get(name))
    if first.probe and other.probe:
        pairs["probe"] = (first.probe["key"]["probe"], other.probe["key"]["probe"])
    for name, (one, two) in pairs.items():
        if one != two:
            raise ValueError(
                f"{first.folder} and {other.folder} differ in {name} ({one}, {two}), so"
                " they do not belong on one page; report on each alone"
            )


def _is_plain(*found: Run) -> bool:
    """Whether one hides nothing: then its objective differs by its very nature."""
    return any(run.settings["masking.strategy"] in FIRST for run in found)


def _read(folder: pathlib.Path) -> Run:
    found = checkpoint.read_json(folder / checkpoint.CONFIG)
    settings = found["settings"]
    probe, masks = folder / runs.PROBE, folder / runs.MASKS
    lines = journal.read_metrics(folder)
    if not lines:
        raise ValueError(f"{folder}: its {journal.METRICS} is empty or gone")
    data = checkpoint.read_json(folder / runs.DATA)
    return Run(
        name=strategies.label(settings["masking.strategy"]),
        folder=folder,
        settings=settings,
        seed=found["seed"],
        data={key: data[key] for key in ("records", "manifest", "clips")},
        lines=lines,
        probe=checkpoint.read_json(probe) if probe.is_file() else None,
        seconds=journal.seconds(folder),
        masks=metrics.MaskSummary(**checkpoint.read_json(masks))
        if masks.is_file()
        else None,
    )


def _with_unique_names(found: list[Run]) -> list[Run]:
    names = [run.name for run in found]
    return [
        run
        if names.count(run.name) == 1
        else dataclasses.replace(run, name=f"{run.name}, {run.folder.name}")
        for run in found
    ]
