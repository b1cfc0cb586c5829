"""Held-out scores and curves, from the lines of metrics.jsonl."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmdiffmask import statistics
from mmdiffmask.masking import strategies
from mmdiffmask.report import curves, summary

COPY = "copy"
CELLS = {"touched": "touched", "hidden": "hidden", "same clip": "in_clip"}
POINTS = 60  # of a training curve: what a phone can show
PATCHES = "The task: telling what was hidden"

Lines = Sequence[dict[str, Any]]
History = Mapping[str, Lines]  # row -> its metrics.jsonl


def held_out(lines: Lines, masks: str, metric: str, stream: str = "all") -> Lines:
    """The held-out values of one metric that were counted, by step."""
    wanted = (masks, metric, stream)
    rows = [
        line
        for line in lines
        if line["kind"] == "eval"
        and (line["masks"], line["metric"], line["stream"]) == wanted
        and line["value"] is not None
    ]
    return sorted(rows, key=lambda line: line["step"])


def last(lines: Lines, masks: str, metric: str, first: bool = False) -> dict:
    """The last (or first) of `held_out`; empty where there is none."""
    rows = held_out(lines, masks, metric)
    return rows[0 if first else -1] if rows else {}


def trained(history: History) -> History:
    """The rows that were trained."""
    return {
        name: lines
        for name, lines in history.items()
        if any(line["kind"] == "train" for line in lines)
    }


def line_of(name: str, rows: Lines) -> curves.Line:
    """A curve with its intervals through some of the lines."""

    def column(key: str) -> tuple[float, ...]:
        return tuple(math.nan if r.get(key) is None else r[key] for r in rows)

    steps = tuple(row["step"] for row in rows)
    return curves.Line(name, steps, column("value"), column("low"), column("high"))


def _start_floor(history: History, is_random_start: bool) -> str:
    """What the start is called as a floor: a row of the table where it is one."""
    if is_random_start:
        return summary.UNTRAINED
    return next((n for n in history if n not in trained(history)), summary.START)


def _score(row: dict) -> statistics.Score:
    return statistics.Score(row["value"], row["low"], row["high"], row["count"])


def _shown_masks(history: History) -> list[str]:
    """The strategies whose held-out masks every row was scored on."""
    names = dict.fromkeys(
        line["masks"]
        for lines in history.values()
        for line in lines
        if line["kind"] == "eval" and line["metric"] == "loss"
    )
    return [k for k in names if all(last(x, k, "loss") for x in history.values())]


def retrieval_tasks(
    history: History, is_random_start: bool
) -> tuple[summary.RetrievalTask, ...]:
    """Held-out retrieval of every row, beside chance and its floors."""
    start = _start_floor(history, is_random_start)
    first = next(iter(history.values()))
    tasks = []
    for kind in _shown_masks(history):
        for cells, suffix in CELLS.items():
            metric = f"retrieval_{suffix}"
            rows = {name: last(x, kind, metric) for name, x in history.items()}
            rows = {name: row for name, row in rows.items() if row}
            if not rows:
                continue
            rows.setdefault(start, last(first, kind, metric, first=True))
            rows[COPY] = _best_copy(history, kind, f"copy_{suffix}")
            scores = {name: _score(row) for name, row in rows.items() if row}
            chance = _chance(first, kind, cells)
            task = summary.RetrievalTask(
                masks=strategies.label(kind),
                cells=cells,
                candidates=1 / chance,
                chance=chance,
                scores=scores,
                start=start,
            )
            tasks.append(task)
    return tuple(tasks)


def _best_copy(history: History, kind: str, metric: str) -> dict:
    """The copy floor of the last checkpoint, of any row, whose features copy best."""
    rows = [last(lines, kind, metric) for lines in history.values()]
    return max((row for row in rows if row), key=lambda row: row["value"], default={})


def _chance(lines: Lines, kind: str, cells: str) -> float:
    """How often guessing finds a cell."""
    metric = "chance_in_clip" if cells == "same clip" else "chance"
    return last(lines, kind, metric)["value"]


def patch_panels(
    history: History, has_replay_terms: bool, is_random_start: bool
) -> tuple[curves.Panel, ...]:
    """Curves of the masked patches, in training and held out, with their floors.

    Args:
      history: all rows.
      has_replay_terms: as in `summary.RunSummary`.
      is_random_start: whether the start was random weights.
    """
    rows = trained(history)
    if not rows:
        return ()
    panels = _training_panels(rows, has_replay_terms)
    for kind in _shown_masks(history):
        word = strategies.label(kind)
        panels.append(_loss_panel(rows, kind, f"Held-out loss under {word}"))
        # Masks of patches may hide no cell wholly.
        if all(last(lines, kind, "retrieval_hidden") for lines in history.values()):
            title = f"Finding wholly hidden cells, held out under {word}"
            start = _start_floor(history, is_random_start)
            panels.append(_finding_panel(rows, kind, title, start))
    return tuple(panels)


def _training_panels(rows: History, has_replay_terms: bool) -> list[curves.Panel]:
    """The loss as it was trained on; where it is a sum, its patch term apart."""
    whole = _training_lines(rows, "loss")
    guess = curves.Level("guessing", _guess(rows))
    if not has_replay_terms:
        note = (
            "Each on its own masks, so the heights are not comparable; all should fall."
        )
        return [curves.Panel("Loss in training", note, whole, (guess,), group=PATCHES)]
    note = (
        "The sum of all terms; a row that hides nothing lacks that of the patches, so"
        " the heights are not comparable; all should fall."
    )
    panels = [curves.Panel("Loss in training", note, whole, group=PATCHES)]
    if part := _training_lines(rows, "loss_patches"):
        note = "The term of the hidden patches alone, each row on its own masks."
        title = "Loss of hidden patches in training"
        panels.append(curves.Panel(title, note, part, (guess,), group=PATCHES))
    return panels


def _training_lines(rows: History, name: str) -> tuple[curves.Line, ...]:
    """A value of the updates, averaged to few enough points."""
    lines = []
    for row, metrics in rows.items():
        known = [x for x in metrics if x["kind"] == "train" and x.get(name) is not None]
        if not known:
            continue
        size = -(-len(known) // POINTS)
        parts = [known[i : i + size] for i in range(0, len(known), size)]
        values = tuple(float(np.mean([x[name] for x in part])) for part in parts)
        lines.append(curves.Line(row, tuple(p[-1]["step"] for p in parts), values))
    return tuple(lines)


def _guess(rows: History) -> float:
    """The loss of guessing, by the last update of the rows that predict patches."""
    ends = [[x for x in lines if x["kind"] == "train"][-1] for lines in rows.values()]
    return max((row.get("log_candidates") or 0.0 for row in ends), default=0.0)


def _loss_panel(rows: History, kind: str, title: str) -> curves.Panel:
    first = next(iter(rows.values()))
    lines = tuple(line_of(n, held_out(x, kind, "loss")) for n, x in rows.items())
    level = curves.Level("guessing", last(first, kind, "log_candidates")["value"])
    note = "The same held-out masks for every row."
    return curves.Panel(title, note, lines, (level,), group=PATCHES)


def _finding_panel(rows: History, kind: str, title: str, start: str) -> curves.Panel:
    metric, first = "retrieval_hidden", next(iter(rows.values()))
    levels = [curves.Level("guessing", _chance(first, kind, "hidden"))]
    floors = {
        start: last(first, kind, metric, first=True),
        COPY: _best_copy(rows, kind, "copy_hidden"),
    }
    levels += [curves.Level(n, row["value"]) for n, row in floors.items() if row]
    note = "The same held-out masks for every row; bands are 95 % over clips."
    lines = tuple(line_of(n, held_out(x, kind, metric)) for n, x in rows.items())
    return curves.Panel(title, note, lines, tuple(levels), is_share=True, group=PATCHES)
