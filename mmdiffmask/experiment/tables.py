"""The tables of an experiment, from its results: means over seeds with intervals."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

from mmdiffmask.experiment import (
    cells,
    costs,
    kept,
    result_file,
    scores,
    text_tables,
)
from mmdiffmask.experiment.cells import Cell
from mmdiffmask.experiment.plan import Planned
from mmdiffmask.experiment.result_file import Result
from mmdiffmask.masking import published
from mmdiffmask.probe import contrasted, finished, text_scores
from mmdiffmask.statistics import Difference

# Of `data` and `masking`, what changes no held-out mask of a strategy.
NOT_OF_CHOICE = ("masking.strategy", "masking.held_out")


@dataclasses.dataclass(frozen=True)
class Hidden:
    """What a row's masks were made of.

    Attributes:
      in_boxes: share of what is hidden that lies in boxes.
      whole_box: in boxes that are hidden whole, mean over seeds.
      cut_box: in boxes of which a part stays visible.
      fill: outside boxes.
      boxes_share: part of the picture that lies in boxes.
      bound: the most that `in_boxes` can be: boxes' share / ratio, at most 1.
      clips: that were looked at.
      clips_without_box: of these.
    """

    in_boxes: Cell
    whole_box: float
    cut_box: float
    fill: float
    boxes_share: float
    bound: float
    clips: int
    clips_without_box: int


@dataclasses.dataclass(frozen=True)
class ExperimentRow:
    """A row over its seeds.

    Attributes:
      name: in the config.
      strategy: of the registry; "" where it hides nothing.
      published: what published numbers know it by; "" where they have none.
      note: what it is.
      seeds: that it was run with.
      cells: measure -> accuracy.
      further: "measure, rule" -> accuracy with fewer labels, from one stream and so on.
      sides: label -> what cells inside boxes tell more than as many outside, of 1.
      hidden: what its masks were made of; None where it hides nothing.
      held_out: (held-out masks, cells) -> retrieval at the first and the last
        evaluation.
      cost: what it took.
      choice: the settings that choose its masks beside its strategy.
      words: of texts, the words that its masks hide most; None where it hides none.
      anchors: of texts, how many anchors are asked for, and how words are compared with
        them; None of video.
    """

    name: str
    strategy: str
    published: str
    note: str
    seeds: tuple[int, ...]
    cells: dict[str, Cell]
    further: dict[str, Cell]
    sides: dict[str, Cell]
    hidden: Hidden | None
    held_out: dict[tuple[str, str], tuple[Cell, Cell]]
    cost: costs.Cost
    choice: dict[str, object]
    words: text_tables.HiddenWords | None = None
    anchors: tuple[int, str] | None = None


@dataclasses.dataclass(frozen=True)
class Tables:
    """All that the page and the text show.

    Attributes:
      name: of the experiment.
      source: kind of its records.
      records: what they are known by.
      rows: those that hide nothing first, then as the config has them.
      measures: columns of the accuracies.
      further: columns of the further scores.
      sides: labels that were read from inside boxes, too.
      floors: measure -> what needs no features -> accuracy.
      contrasts: those that the config names.
      late: of these, those that were not named yet when some run was begun.
      versions: name -> version.
      start: what the rows start from, as the first of them has it.
    """

    name: str
    source: str
    records: str
    rows: tuple[ExperimentRow, ...]
    measures: tuple[str, ...]
    further: tuple[str, ...]
    sides: tuple[str, ...]
    floors: dict[str, dict[str, float]]
    contrasts: tuple[contrasted.Measured, ...]
    late: tuple[str, ...]
    versions: dict[str, str]
    start: str | None = None

    @property
    def is_of_texts(self) -> bool:
        """Whether its runs are of texts."""
        return self.source == result_file.TEXTS

    def of_paper(self, table: published.PaperTable) -> tuple[ExperimentRow, ...]:
        """The rows of one of the paper's tables; () where none but its base is there.

        Rows that hide nothing come along.
        """
        mine = [row for row in self.rows if row.published in table.cells]
        if len({row.published for row in mine}) < len(table.cells):
            return ()
        return tuple(row for row in self.rows if not row.strategy or row in mine)


def make(planned: Sequence[Planned], results: Mapping[Planned, Result]) -> Tables:
    """The tables of all runs.

    Raises:
      ValueError: if a contrast cannot be measured.
    """
    by_row = kept.by_row({one: results[one] for one in planned})
    settings = {one.row: one.settings for one in planned}
    rows = [_row(name, by_row[name]) for name in by_row]
    first = results[planned[0]]
    named = settings[planned[0].row].contrasts
    return Tables(
        name=settings[planned[0].row].name,
        source=first.source,
        records=first.records,
        rows=tuple(sorted(rows, key=_place)),
        measures=tuple(dict.fromkeys(m for row in rows for m in row.cells)),
        further=tuple(dict.fromkeys(name for row in rows for name in row.further)),
        sides=tuple(dict.fromkeys(name for row in rows for name in row.sides)),
        floors=_floors(first),
        contrasts=kept.compare({one: results[one] for one in planned}),
        late=tuple(
            text
            for text in named
            if any(text not in result.contrasts for result in results.values())
        ),
        versions=first.versions,
        start=first.claim.settings["model.checkpoint"],
    )


def _place(row: ExperimentRow) -> int:
    order = [finished.NOT_TRAINED, finished.NOT_HIDING]
    return order.index(row.note) if row.note in order else len(order)


def _row(name: str, by_seed: Mapping[int, Result]) -> ExperimentRow:
    every = list(by_seed.values())
    settings = every[0].claim.settings
    is_text = finished.is_of_texts(settings)
    scored = [score for result in every for score in scores.of_result(result)]
    if is_text:
        scored = [x for x in scored if text_tables.is_shown(x.measure, settings)]
    strategy = settings["masking.strategy"] if finished.is_hiding(settings) else ""
    return ExperimentRow(
        name=name,
        strategy=strategy,
        published=text_tables.published(settings) if is_text else strategy,
        note=finished.label_of(settings),
        seeds=tuple(by_seed),
        cells=_accuracies(scored),
        further=_further(scored),
        sides=_sides(every),
        hidden=None if is_text else _hidden(every, settings["masking.ratio"]),
        held_out=_held_out(every, "" if is_text else "retrieval_"),
        cost=costs.of_row(strategy, every),
        choice={
            name: value
            for name, value in settings.items()
            if name.startswith(("data.", "masking.")) and name not in NOT_OF_CHOICE
        },
        words=text_tables.words_of(every) if is_text else None,
        anchors=text_tables.anchors_of(settings) if is_text else None,
    )


def _accuracies(every: Sequence[scores.RunScore]) -> dict[str, Cell]:
    by_measure: dict[str, list[scores.RunScore]] = {}
    for score in every:
        if score.is_main:
            by_measure.setdefault(score.measure, []).append(score)
    return {name: _accuracy(of_seeds) for name, of_seeds in by_measure.items()}


def _further(every: Sequence[scores.RunScore]) -> dict[str, Cell]:
    by_name: dict[str, list[scores.RunScore]] = {}
    for score in every:
        if score.is_further:
            by_name.setdefault(f"{score.measure}, {score.rule}", []).append(score)
    return {name: _accuracy(of_seeds) for name, of_seeds in by_name.items()}


def _accuracy(of_seeds: Sequence[scores.RunScore]) -> Cell:
    logs = [x.log_probability for x in of_seeds if x.log_probability is not None]
    return dataclasses.replace(
        cells.with_ends([score.accuracy for score in of_seeds]),
        count=of_seeds[0].count,
        log_probability=statistics.fmean(logs) if logs else None,
    )


def _sides(every: Sequence[Result]) -> dict[str, Cell]:
    by_label: dict[str, list[Difference]] = {}
    for result in every:
        for label, gap in scores.sides(result).items():
            by_label.setdefault(label, []).append(gap)
    return {name: cells.with_ends(of_seeds) for name, of_seeds in by_label.items()}


def _hidden(every: Sequence[Result], ratio: float) -> Hidden | None:
    masks = [result.masks for result in every if result.masks is not None]
    if not masks:
        return None

    def mean(name: str) -> float:
        return statistics.fmean(getattr(one, name) for one in masks)

    return Hidden(
        in_boxes=cells.cell([one.whole_box + one.cut_box for one in masks]),
        whole_box=mean("whole_box"),
        cut_box=mean("cut_box"),
        fill=mean("fill"),
        boxes_share=mean("boxes_share"),
        bound=min(1.0, mean("boxes_share") / ratio),
        clips=masks[0].clips,
        clips_without_box=masks[0].clips_without_box,
    )


def _held_out(
    every: Sequence[Result], prefix: str
) -> dict[tuple[str, str], tuple[Cell, Cell]]:
    """The metrics of a prefix, by held-out masks and name, at the start and the end."""
    ends: dict[tuple[str, str], tuple[list[float], list[float]]] = {}
    for result in every:
        steps = [line["step"] for line in result.held_out]
        for line in result.held_out:
            metric = line["metric"].removeprefix(prefix)
            is_kept = line["metric"].startswith(prefix)
            if is_kept and line["value"] is not None:
                pair = ends.setdefault((line["masks"], metric), ([], []))
                for values, step in zip(pair, (min(steps), max(steps)), strict=True):
                    values += [line["value"]] * (line["step"] == step)
    return {
        name: (cells.cell(first), cells.cell(last))
        for name, (first, last) in ends.items()
    }


def _floors(result: Result) -> dict[str, dict[str, float]]:
    """What needs no features or less than the whole, of the first row."""
    floors: dict[str, dict[str, float]] = {}
    for name, label in result.probe.labels.items():
        if label.texts is not None:
            floors |= text_scores.floors(name, label)
            continue
        floors[name] = {
            "largest class": label.floors.largest_class,
            "chance": label.floors.chance,
        }
    questions = result.probe.questions
    if questions is not None:
        for read_out in questions.read_outs:
            below = questions.floors.get(read_out, {})
            means = {name: statistics.fmean(x.is_right) for name, x in below.items()}
            floors[read_out] = means | {"chance": questions.chance}
    return floors
