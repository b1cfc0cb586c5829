"""What a page opens with: a table of rows by measures, and three sentences at most."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mmdiffmask import statistics
from mmdiffmask.report import compare, history, sentences, summary

STEP = 0.05  # the axis of a measure ends at a multiple of it
ABOVE, BELOW = "above", "below"


class Entry(NamedTuple):
    """A row's number on a measure.

    Attributes:
      score: with its interval over clips.
      mark: ABOVE or BELOW where it is clearly so beside the measure's reference.
    """

    score: statistics.Score
    mark: str = ""


class Measure(NamedTuple):
    """A column of the table.

    Attributes:
      name: short.
      note: what is counted.
      entries: row -> its number; rows that were not scored are left out.
      chance: of guessing.
      reference: the better of the rows that hide nothing; "" where there is none.
      top: where the axis, which begins at 0, ends.
    """

    name: str
    note: str
    entries: dict[str, Entry]
    chance: float
    reference: str
    top: float

    def at(self, value: float) -> str:
        """Where a value lies on the axis, for CSS."""
        return f"{100 * min(value / self.top, 1):.1f}%"

    def width(self, score: statistics.Score) -> str:
        """How wide an interval is on the axis, for CSS."""
        return f"{100 * (min(score.high, self.top) - score.low) / self.top:.1f}%"


def measures(run: summary.RunSummary) -> tuple[Measure, ...]:
    """The columns: hidden cells, then labels, then questions."""
    cells = [_of_cells(task, run) for task in _tasks(run)]
    labels = [_of_label(label, run) for label in run.floors]
    questions = [_of_questions(table, run) for table in run.questions]
    return tuple(cells + labels + questions)


def _tasks(run: summary.RunSummary) -> list[summary.RetrievalTask]:
    """Finding hidden cells, under the masks of rows of this page if there are such."""
    for cells in ("hidden", "touched"):
        tasks = [task for task in run.retrieval if task.cells == cells]
        if tasks:
            return [task for task in tasks if task.masks in run.names] or tasks
    return []


def _of_cells(task: summary.RetrievalTask, run: summary.RunSummary) -> Measure:
    """Rows are apart where their intervals are: cells are not paired here."""
    scores = {name: task.scores[name] for name in run.names if name in task.scores}
    reference = _better(scores, run.plain)
    marks = {}
    for name, score in scores.items():
        if reference and score.has_interval and name != reference:
            limit = scores[reference]
            is_below = limit.has_interval and score.high < limit.low
            marks[name] = (
                ABOVE if score.is_above(limit.high) else BELOW if is_below else ""
            )
    name = f"cells {task.cells} by {task.masks}"
    note = f"found among {task.candidates:.0f}"
    return _measure(name, note, scores, marks, task.chance, reference)


def _of_label(label: str, run: summary.RunSummary) -> Measure:
    scores = {row.name: row.probes[label].main.linear for row in run.rows}
    reference = _better(scores, run.plain)
    pairs = [item for item in run.comparisons if item.measure == label]
    chance = run.floors[label].chance
    note = "named by a linear head"
    return _measure(label, note, scores, _marks(pairs, reference), chance, reference)


def _of_questions(table: compare.QuestionTable, run: summary.RunSummary) -> Measure:
    column = table.columns[0]
    reference = _better(column.scores, run.plain)
    marks = _marks(column.comparisons, reference)
    name = f"questions, {table.read_out}"
    note = "answered rightly"
    return _measure(name, note, column.scores, marks, table.chance, reference)


def _measure(
    name: str,
    note: str,
    scores: dict[str, statistics.Score],
    marks: dict[str, str],
    chance: float,
    reference: str,
) -> Measure:
    """The column, with an axis that holds all intervals."""
    highest = max([chance, *(score.high for score in scores.values())])
    top = min(1.0, STEP * math.ceil(highest / STEP)) or STEP
    entries = {row: Entry(score, marks.get(row, "")) for row, score in scores.items()}
    return Measure(name, note, entries, chance, reference, top)


def _better(scores: dict[str, statistics.Score], plain: Sequence[str]) -> str:
    """The best of the rows that hide nothing; the first of those that are alike."""
    known = [name for name in plain if name in scores]
    return max(known, key=lambda name: scores[name].value, default="")


def _marks(items: Iterable[compare.Comparison], reference: str) -> dict[str, str]:
    """Row -> on which side of the reference it is, where that was seen."""
    marks = {}
    for item in items:
        if reference in (item.a, item.b) and item.difference.is_seen:
            is_a_ahead = item.difference.value > 0
            if item.b == reference:
                marks[item.a] = ABOVE if is_a_ahead else BELOW
            else:
                marks[item.b] = BELOW if is_a_ahead else ABOVE
    return marks


def in_words(run: summary.RunSummary) -> list[str]:
    """What the table says, in three sentences at most."""
    parts = (_learned(run), _gained(run), _against_uniform(run))
    return [f"{text}." for text in parts if text] or [
        "Nothing was compared: no two rows were scored on the same labelled clips."
    ]


def _learned(run: summary.RunSummary) -> str:
    """How well the rows learned the very task that they were trained on."""
    if run.clips.get("dev", 0) < compare.FEW_CLIPS:
        return ""
    parts, clear, start = [], [], ""
    for task in run.retrieval:
        score, begun = task.scores.get(task.masks), task.scores.get(task.start)
        is_own = task.cells == "hidden" and task.masks in run.names
        if not is_own or score is None or begun is None:
            continue
        start = sentences.the_start(task.start).removesuffix(f" ({task.start})")
        floors = f"{start} {sentences.percent(begun.value)}"
        if history.COPY in task.scores:
            copied = sentences.percent(task.scores[history.COPY].value)
            floors += f", copying from other frames {copied}"
        parts.append(f"{task.masks} finds {sentences.percent(score.value)} ({floors})")
        if score.is_above(max(task.chance, begun.high)):
            clear.append(task.masks)
    if not parts:
        return ""
    return (
        f"Of the cells that its own masks hide, {sentences.join(parts)}; clearly more"
        f" than {start}: {sentences.join(clear) or 'none of them'}"
    )


def _compared(run: summary.RunSummary) -> list[compare.Comparison]:
    """Every two rows, on labels and on all questions of each read-out."""
    labels = [item for item in run.comparisons if item.measure in run.floors]
    columns = [table.columns[0] for table in run.questions]
    return labels + [item for column in columns for item in column.comparisons]


def _gained(run: summary.RunSummary) -> str:
    """Where hiding changed what the network is good for."""
    parts = []
    for name in run.names:
        gains = [item for item in _compared(run) if item.a == name and item.is_gain]
        if gains:
            parts.append(f"{name} is {_tally(gains)}")
    if not parts:
        return ""
    plain = sentences.join(list(run.plain))
    over = f"the better of {plain}" if len(run.plain) > 1 else plain
    return f"Against {over}, {'; '.join(parts)}"


def _against_uniform(run: summary.RunSummary) -> str:
    """Each row that prefers something beside each that hides all things alike."""
    parts = []
    for b in run.uniform:
        tallies = []
        for a in run.names:
            pairs = [item for item in _compared(run) if (item.a, item.b) == (a, b)]
            if pairs and a not in run.plain:
                tallies.append(f"{a} is {_tally(pairs)}")
        if tallies:
            parts.append(f"against {b}, {'; '.join(tallies)}")
    if not parts:
        return ""
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}, with one seed: another may turn it"


def _tally(items: list[compare.Comparison]) -> str:
    """On which measures the first row is ahead, behind, or neither."""
    seen = [item for item in items if item.difference.is_seen]
    groups = {
        "ahead on": [c.measure for c in seen if c.difference.value > 0],
        "behind on": [c.measure for c in seen if c.difference.value < 0],
        "not clearly apart on": [c.measure for c in items if c not in seen],
    }
    parts = [
        f"{word} {sentences.join(names)}" for word, names in groups.items() if names
    ]
    return sentences.join(parts)
