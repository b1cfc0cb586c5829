"""What finished runs hold: their settings, metrics, masks and scores, read as one."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from mmdiffmask import inputs, run_files
from mmdiffmask.inputs import Served
from mmdiffmask.masking import strategies, text_strategies, text_summary
from mmdiffmask.masking import summary as mask_summary
from mmdiffmask.probe import results
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import journal

NOT_TRAINED, NOT_HIDING = "none", "replay"  # names of rows that hide nothing
Masks = mask_summary.MaskSummary | text_summary.TextMaskSummary


def is_of_texts(settings: Mapping[str, Any]) -> bool:
    """Whether a run is one of texts; earlier versions had video alone."""
    return settings.get("data.family") == "text"


def is_hiding(settings: Mapping[str, Any]) -> bool:
    """Whether a run trains on hidden patches or word pieces."""
    term = "terms.mlm" if is_of_texts(settings) else "terms.patches"
    return settings["training.steps"] > 0 and settings[term] > 0


def label_of(settings: Mapping[str, Any]) -> str:
    """What pages call a run's strategy, or what it is that hides nothing."""
    if not settings["training.steps"]:
        return NOT_TRAINED
    if not is_hiding(settings):
        return NOT_HIDING
    name = settings["masking.strategy"]
    if is_of_texts(settings):
        return text_strategies.find(name).label
    return strategies.label(name)


def masks_of(settings: Mapping[str, Any], content: Mapping[str, Any]) -> Masks:
    """The summary of a run's masks from JSON; TypeError: of something else."""
    if is_of_texts(settings):
        return text_summary.TextMaskSummary(**content)
    return mask_summary.MaskSummary(**content)


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
    masks: Masks | None
    seconds: float

    @property
    def is_trained(self) -> bool:
        """Whether it is more than the start itself."""
        return self.settings["training.steps"] > 0

    @property
    def is_hiding(self) -> bool:
        """Whether it trained on hidden patches or word pieces."""
        return is_hiding(self.settings)


def folders(workdir: pathlib.Path) -> tuple[list[RunFolder], list[RunFolder]]:
    """The folders of finished runs and of other runs: `workdir`, or those in it.

    Raises:
      ValueError: if `workdir` is no folder.
    """
    if not workdir.is_dir():
        state = "is a file, not a folder" if workdir.exists() else "no such folder"
        raise ValueError(f"{workdir}: {state}")
    places = [workdir, *sorted(p for p in workdir.iterdir() if p.is_dir())]
    runs = [place for place in map(RunFolder, places) if place.has(run_files.CONFIG)]
    done = [folder for folder in runs if folder.has(run_files.DATA)]
    return done, [folder for folder in runs if folder not in done]


def is_of_checkpoint(folder: RunFolder) -> bool:
    """Whether it holds the probe of a checkpoint without a run."""
    return folder.has(run_files.PROBE) and not folder.has(run_files.DATA)


def read(folder: RunFolder) -> Run:
    """What the folder of a finished run holds.

    Raises:
      ValueError: if a file is damaged or gone.
    """
    try:
        return _read(folder)
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{folder}: a file of this run is damaged ({error!r}); train it again in"
            " another folder"
        ) from error


def _read(folder: RunFolder) -> Run:
    owner, served = folder.owner(), Served(**folder.read(run_files.DATA))
    lines = journal.read_metrics(folder)
    if not lines:
        raise ValueError(f"{folder}: its {run_files.METRICS} is empty or gone")
    masks = None
    if folder.has(run_files.MASKS):
        masks = masks_of(owner.settings, folder.read(run_files.MASKS))
    return Run(
        name=label_of(owner.settings),
        folder=folder,
        settings=owner.settings,
        seed=owner.seed,
        inputs=folder.inputs(),
        versions=folder.versions(),
        clips=served.clips,
        fill_only=tuple(served.fill_only),
        lines=lines,
        probe=results.read(folder),
        masks=masks,
        seconds=journal.seconds(folder),
    )
