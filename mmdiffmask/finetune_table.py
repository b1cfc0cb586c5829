"""A table of fine-tuned runs: a line for each split, seeds side by side."""

import dataclasses
import pathlib
import statistics
from collections.abc import Iterator, Mapping, Sequence

from mmdiffmask import config, run_files
from mmdiffmask.run_folder import RunFolder

# A score of answers.json -> what the table calls it.
MEASURES = {"f1": "macro F1", "accuracy": "accuracy", "log_probability": "log-prob."}


@dataclasses.dataclass(frozen=True)
class Line:
    """Runs that differ by their seeds alone.

    Attributes:
      name: of their config, and where they start.
      seeds: of the runs.
      values: (split, measure) -> a value for each seed.
    """

    name: str
    seeds: tuple[int, ...]
    values: Mapping[tuple[str, str], tuple[float, ...]]


def lines(folder: pathlib.Path) -> list[str]:
    """A table of the fine-tuned runs in a folder, or of the run that it is.

    Raises:
      ValueError: if there is none.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    answers = sorted(folder.rglob(run_files.ANSWERS))
    if not answers:
        raise ValueError(
            f"{folder}: holds no run that mmdiffmask finetune has finished"
        )
    runs = [RunFolder(path.parent) for path in answers]
    return [text for line in _grouped(runs) for text in _text(line)]


def _grouped(runs: Sequence[RunFolder]) -> Iterator[Line]:
    """Runs of the same settings and content, by their seeds."""
    groups: dict[str, list[RunFolder]] = {}
    for one in runs:
        groups.setdefault(_key(one), []).append(one)
    for group in groups.values():
        group.sort(key=lambda one: one.owner().seed)
        splits = [one.read(run_files.ANSWERS)["splits"] for one in group]
        values = {
            (split, measure): tuple(scores[split][measure] for scores in splits)
            for split in splits[0]
            if all(split in scores for scores in splits)
            for measure in MEASURES
            if all(measure in scores[split] for scores in splits)
        }
        seeds = tuple(one.owner().seed for one in group)
        yield Line(_name(group[0]), seeds, values)


def _key(one: RunFolder) -> str:
    """What is the same for runs that differ by their seeds alone."""
    owner = one.owner()
    by_content = {*config.UNCOUNTED, *owner.inputs}
    counted = [x for x in owner.settings.items() if x[0] not in by_content]
    content = [(name, entry["sha256"]) for name, entry in owner.inputs.items()]
    return repr((sorted(counted), sorted(content)))


def _name(one: RunFolder) -> str:
    settings = one.owner().settings
    start = settings["model.start"] or settings["model.checkpoint"] or "random weights"
    weight = settings["terms.mlm"]
    beside = f", with hidden pieces at {weight:g}" if weight else ""
    learnt = ""
    if settings["data.family"] == "video":
        learnt = f": {settings['training.learn']}"
    return f"{settings['name']}{learnt} from {start}{beside}"


def _text(line: Line) -> Iterator[str]:
    seeds = ", ".join(map(str, line.seeds))
    yield f"{line.name} (seed {seeds})"
    for split in dict.fromkeys(split for split, _ in line.values):
        shown = []
        for measure, label in MEASURES.items():
            values = line.values.get((split, measure))
            if values is None:  # questions have no F1
                continue
            text = " ".join([label, *(f"{value:.3f}" for value in values)])
            if len(values) > 1:
                spread = statistics.stdev(values)
                text += f" (mean {statistics.mean(values):.3f}, sd {spread:.3f})"
            shown.append(text)
        yield f"  {split:<5}{'; '.join(shown)}"
