"""What the page and the text of tables say of texts alone."""

from collections.abc import Callable
from typing import Any

from mmdiffmask import contrasts
from mmdiffmask.experiment import held_out
from mmdiffmask.experiment.tables import ExperimentRow, Tables
from mmdiffmask.masking import published_texts, text_strategies
from mmdiffmask.probe import contrasted

METRICS = {"loss": "all hidden pieces", "hits": "hits"}


def label(name: str) -> str:
    """What pages call a row of the paper; one that is no strategy here by its name."""
    strategy, sign, similarity = name.partition("/")
    if strategy not in text_strategies.REGISTRY:
        return name.upper()
    text = text_strategies.find(strategy).label
    return f"{text}, {similarity} of the anchors" if sign else text


def derived(tables: Tables) -> dict[str, Any]:
    """What the template shows beside what it shows of video, too."""
    on_masks = held_out.shown(tables.rows, lambda _: True)
    official = contrasts.OF_FOLDS[2]
    classes = [name for row in tables.rows if row.words for name in row.words.of_class]
    return {
        "label": label,
        "has_folds": any(name.endswith(official) for name in tables.measures),
        "unseen": [item for item in tables.contrasts if not item.is_seen],
        "word_classes": list(dict.fromkeys(classes)),
        "anchor_rows": anchor_rows(tables),
        "held_out": on_masks,
        "held_out_columns": [
            (label(masks), METRICS.get(name, name.removeprefix("loss_")))
            for masks, name in on_masks.columns
        ],
    }


def anchor_rows(tables: Tables) -> list[ExperimentRow]:
    """The rows of Figure 4, by their number of anchors; none where all have the same.

    They hide the units of the paper's best row by the nearest anchor.
    """
    base = next(reversed(published_texts.TABLES[0].cells))
    rows = [
        row
        for row in tables.rows
        if row.strategy == base and row.anchors and row.anchors[1] == "nearest"
    ]
    rows.sort(key=lambda row: row.anchors[0])
    return rows if len({row.anchors[0] for row in rows}) > 1 else []


def lines(tables: Tables, grid: Callable[[Tables, int], list[str]]) -> list[str]:
    """Scores, floors, hidden words and contrasts as text.

    Args:
      tables: to be written.
      grid: (tables, width of the rows' names) -> lines of the scores.
    """
    floors = list(dict.fromkeys(f for x in tables.floors.values() for f in x))
    names = [*(row.name for row in tables.rows)]
    width = max(map(len, names))
    text = [
        "Scores in %, mean (sd) over seeds [95 % interval: over seeds, of one seed over"
        " texts]",
        *grid(tables, width),
        "",
        "Without an encoder:",
    ]
    for floor in floors:
        values = [
            f"{name} {100 * tables.floors[name][floor]:.1f}"
            for name in tables.measures
            if floor in tables.floors.get(name, {})
        ]
        text.append(f"{floor}: {', '.join(values)}")
    shown = [row for row in tables.rows if row.words]
    if shown:
        text += ["", "Words that masks hide most, function words left out:"]
    text += [
        f"{row.name:{width}}  {', '.join(word for word, _ in row.words.most)}"
        for row in shown
    ]
    if tables.contrasts:
        text += ["", *contrasted.lines(tables.contrasts)]
    return text + [f"named after some runs had begun: {name}" for name in tables.late]
