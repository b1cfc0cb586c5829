"""One self-contained HTML page about a run."""

import base64
import importlib.resources

import jinja2
import markupsafe

from mmdiffmask.report import curves, pictures, sentences, summary

PAPER = "https://arxiv.org/abs/2305.14577"
RESERVE = "https://arxiv.org/abs/2201.02639"
KINDS = {
    "body": "a person's body",
    "face": "a face",
    "object": "another labelled thing",
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
    template = importlib.resources.files("mmdiffmask.report").joinpath("page.html")
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": sentences.percent,
        "interval": sentences.interval,
        "jpeg": _jpeg,
        "duration": duration,
    }
    page = environment.from_string(template.read_text(encoding="utf-8"))
    return page.render(run=run, **_derived(run))


def _derived(run: summary.RunSummary) -> dict:
    """What the template shows beside the summary's own values."""
    hidden = [task for task in run.retrieval if task.cells == "hidden"]
    return {
        "paper": PAPER,
        "reserve": RESERVE,
        "labels": list(run.floors),
        "kinds": [(_css(pictures.COLOUR[k]), name) for k, name in KINDS.items()],
        "colour": {n: curves.colour_of(n, run.names) for n in run.names},
        # Safe: curves.draw escapes every name it writes.
        "panels": [
            (p, markupsafe.Markup(curves.draw(p, run.names))) for p in run.panels
        ],
        "in_short": sentences.in_short(run),
        "floors": sentences.against_floors(run),
        "comparisons": [sentences.comparison(item) for item in run.comparisons],
        "seen": sum(item.difference.is_seen for item in run.comparisons),
        "learned": [s for task in hidden for s in sentences.retrieval(task, run.names)],
        "retrieval_names": _retrieval_names(run),
        "cell_words": sentences.CELL_WORDS,
        "width": sentences.interval_width(run),
        "anchors": sentences.join([f"“{word}”" for word in run.anchors] or ["none"]),
    }


def _retrieval_names(run: summary.RunSummary) -> list[str]:
    """Rows of the retrieval table: strategies in order, then the floors."""
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
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
