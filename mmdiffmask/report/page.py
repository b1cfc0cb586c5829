"""One self-contained HTML page, from the summary of its runs."""

import base64
import collections
import itertools

import markupsafe

from mmdiffmask.report import (
    answers,
    compare,
    curves,
    language,
    opening,
    pictures,
    probe_curves,
    sentences,
    summary,
    templates,
)

PAPER = "https://arxiv.org/abs/2305.14577"
RESERVE = "https://arxiv.org/abs/2201.02639"
KINDS = {
    "body": "a person's body",
    "face": "a face",
    "object": "another labelled thing",
}

GROUP_NOTES = {
    language.NAMING: "Words of the narration are hidden, and the network names them. If"
    " it looks at the frames, it names them more often with the clip's own frames than"
    " with those of another clip; where the two lines lie together, it only guesses"
    " from the text.",
    probe_curves.LABELS: "Heads were fitted anew at each point, as the probe of the"
    " finished network fits them; training knows nothing of them.",
    language.START_TERMS: "The losses of the tasks that the start was trained on (lower"
    " is better): a line that rises above where it began has forgotten some of it.",
}


def build(run: summary.RunSummary) -> str:
    """The page: pictures and curves inside it, nothing loaded from elsewhere.

    Every text of `run` is escaped; names of clips and labels come from users.

    Raises:
      ValueError: if a row lacks a label that the floors name.
    """
    for row in run.rows:
        missing = sorted(set(run.floors) - set(row.probes))
        if missing:
            raise ValueError(f"row {row.name} has no result for label {missing[0]}")
    filters = {
        "percent": sentences.percent,
        "interval": sentences.interval,
        "jpeg": _jpeg,
        "points": sentences.points,
        "nats": sentences.nats,
        "in_words": answers.in_words,
        "duration": duration,
    }
    return templates.load("page.html", filters=filters).render(run=run, **_derived(run))


def _derived(run: summary.RunSummary) -> dict:
    """What the template shows beside the summary's own values."""
    hidden = [task for task in run.retrieval if task.cells == "hidden"]
    hiding = [name for name in run.names if name not in run.plain]
    return {
        "paper": PAPER,
        "reserve": RESERVE,
        "labels": list(run.floors),
        "kinds": [(_css(pictures.COLOUR[k]), name) for k, name in KINDS.items()],
        "colour": {n: curves.colour_of(n, run.names) for n in run.names},
        "panel_groups": _panel_groups(run),
        "tables": [_question_table(table, run.plain) for table in run.questions],
        "floor_words": collections.defaultdict(str, answers.FLOORS),
        "asked_seen": answers.seen(run.questions),
        "plain": sentences.join(list(run.plain)),
        "has_none": any(row.masks is None and not row.steps for row in run.rows),
        "has_replay": any(row.masks is None and row.steps for row in run.rows),
        "has_random": bool(run.uniform),
        "has_floors": any(column.floors for t in run.questions for column in t.columns),
        "hiding": hiding,
        "no_interval": sentences.NO_INTERVAL,
        "group_notes": collections.defaultdict(str, GROUP_NOTES),
        "start_floor": next((task.start for task in run.retrieval), ""),
        "opening": opening.in_words(run),
        "measures": opening.measures(run),
        "floors": sentences.against_floors(run),
        "comparisons": [
            sentences.comparison(item, run.plain) for item in run.comparisons
        ],
        "has_logs": any(
            scores.main.log_probability is not None
            for row in run.rows
            for scores in row.probes.values()
        ),
        "seen": sum(item.difference.is_seen for item in run.comparisons),
        "learned": [s for task in hidden for s in sentences.retrieval(task, hiding)],
        "retrieval_names": _retrieval_names(run),
        "cell_words": sentences.CELL_WORDS,
        "width": sentences.interval_width(run),
        "anchors": sentences.join([f"“{word}”" for word in run.anchors] or ["none"]),
    }


def _panel_groups(run: summary.RunSummary) -> list[tuple[str, list]]:
    """(heading, its panels with their drawings), in the order of the panels."""
    groups = itertools.groupby(run.panels, key=lambda panel: panel.group)
    # Safe: curves.draw escapes every name it writes.
    return [
        (name, [(p, markupsafe.Markup(curves.draw(p, run.names))) for p in panels])
        for name, panels in groups
    ]


def _question_table(table: compare.QuestionTable, plain: tuple[str, ...]) -> dict:
    """A read-out with its sentences and differences."""
    return {
        "table": table,
        "what": answers.READ_OUTS.get(table.read_out, ""),
        "sentences": answers.of_table(table, plain),
        "gains": answers.gains(table, plain),
        "pairs": answers.pairs(table),
    }


def _retrieval_names(run: summary.RunSummary) -> list[str]:
    """Lines of the retrieval table: the rows in order, then the floors."""
    scored = {name for task in run.retrieval for name in task.scores}
    rows = [name for name in run.names if name in scored]
    return rows + sorted(scored - set(rows), reverse=True)


def _css(rgb: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def _jpeg(data: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")


def duration(seconds: float | int) -> str:
    """`2 h 5 min`, `3 min 12 s` or `4.2 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    return f"{minutes // 60} h {minutes % 60} min"
