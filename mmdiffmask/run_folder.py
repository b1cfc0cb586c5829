"""What the folders of finished runs hold, as the report reads them."""

import dataclasses
import pathlib
from typing import Any

from mmdiffmask import atomic, claims, runs
from mmdiffmask.masking import strategies
from mmdiffmask.masking import summary as mask_summary
from mmdiffmask.training import journal

# What tells the rows of a page from one another.
OF_ROW = ("masking.strategy", "masking.boxes", "name", "compare", "report_clips")
FIRST = ("none", "replay")  # they hide nothing: what the others are measured by
OBJECTIVE = "training.objective"


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run's folder holds.

    Attributes:
      name: of its row.
      folder: where it lies.
      settings: dotted name -> value.
      seed: of the run.
      inputs: what it read, and the content of that.
      clips: what -> how many clips of its records.
      lines: metrics.jsonl.
      probe: probe.json, or None where the run was not probed.
      masks: what its masks were made of; None for `none` and `replay`.
      seconds: spent on updates and evaluations.
    """

    name: str
    folder: pathlib.Path
    settings: dict[str, Any]
    seed: int
    inputs: claims.Inputs
    clips: dict[str, int]
    lines: list[dict[str, Any]]
    probe: dict[str, Any] | None
    masks: mask_summary.MaskSummary | None
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
    found = [f for f in folders if (f / claims.CONFIG).is_file()]
    done = [f for f in found if (f / runs.DATA).is_file()]
    if not done:
        state = "no finished run" if found else "no run"
        raise ValueError(
            f"{workdir}: {state} here; mmdiffmask pretrain CONFIG.py --workdir"
            f" {workdir} makes one"
        )
    names = dict.fromkeys((*FIRST, *strategies.REGISTRY))
    order = {name: i for i, name in enumerate(names)}
    read = []
    for folder in done:
        try:
            read.append(_read(folder))
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"{folder}: a file of this run is damaged ({error!r}); train it again"
                " in another folder"
            ) from error
    read.sort(key=lambda run: (order[run.settings["masking.strategy"]], run.name))
    hiding = [run for run in read if not _is_plain(run)]
    for run in read[1:]:
        _check_comparable(read[0], run)
        # A row that hides nothing may have another objective; others agree.
        if run in hiding:
            _check_comparable(hiding[0], run)
    return _with_unique_names(read), [f.name for f in found if f not in done]


def _check_comparable(first: Run, other: Run) -> None:
    """Rows of a page differ in what they mask, and in nothing else.

    Raises:
      ValueError: naming the first thing in which two runs differ.
    """
    same = first.inputs.keys() & other.inputs.keys()  # compared by content, not by path
    pairs = {name: (_content(first, name), _content(other, name)) for name in same}
    pairs["seed"] = (first.seed, other.seed)
    for name in first.settings | other.settings:
        if (
            name not in same
            and name not in OF_ROW
            and not (name == OBJECTIVE and _is_plain(first, other))
        ):
            pairs[name] = (first.settings.get(name), other.settings.get(name))
    if first.probe and other.probe:
        pairs["probe"] = (first.probe["key"]["probe"], other.probe["key"]["probe"])
    for name, (one, two) in pairs.items():
        if one != two:
            if name in same:
                one, two = (_told(run, name) for run in (first, other))
            raise ValueError(
                f"{first.folder} and {other.folder} differ in {name} ({one}, {two}), so"
                " they do not belong on one page; report on each alone"
            )


def _content(run: Run, name: str) -> str:
    return run.inputs[name]["sha256"]


def _told(run: Run, name: str) -> str:
    entry = run.inputs[name]
    return f"{entry['value']} with {claims.short(entry['sha256'])}"


def _is_plain(*found: Run) -> bool:
    """Whether one hides nothing: then its objective differs by its very nature."""
    return any(run.settings["masking.strategy"] in FIRST for run in found)


def _read(folder: pathlib.Path) -> Run:
    found = atomic.read_json(folder / claims.CONFIG)
    settings = found["settings"]
    name = settings["masking.strategy"]
    if name == "difference" and settings["masking.boxes"] != "body":
        name += f" ({settings['masking.boxes']})"
    probe, masks = folder / runs.PROBE, folder / runs.MASKS
    lines = journal.read_metrics(folder)
    if not lines:
        raise ValueError(f"{folder}: its {journal.METRICS} is empty or gone")
    return Run(
        name=name,
        folder=folder,
        settings=settings,
        seed=found["seed"],
        inputs=claims.read(folder),
        clips=atomic.read_json(folder / runs.DATA)["clips"],
        lines=lines,
        probe=atomic.read_json(probe) if probe.is_file() else None,
        seconds=journal.seconds(folder),
        masks=mask_summary.MaskSummary(**atomic.read_json(masks))
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
