"""The tables of an experiment as one HTML page, and as text for a terminal."""

import functools
import types
from typing import Any

from mmdiffmask.experiment import held_out, text_page
from mmdiffmask.experiment.cells import Cell
from mmdiffmask.experiment.tables import ExperimentRow, Tables
from mmdiffmask.masking import published, published_texts, strategies
from mmdiffmask.probe import contrasted
from mmdiffmask.report import sentences, templates

PAPER = "https://arxiv.org/abs/2305.14577"
CELLS = {
    "touched": "cells that the mask touches",
    "hidden": "wholly hidden cells",
    "in_clip": "touched cells, among the same clip's",
}
SOURCES = {
    "toy": "the rendered toy set",
    "video": "videos of the user's own",
    published.TVQA: "TVQA",
    published.SOCIAL_IQ: "Social-IQ 2.0",
}


def html(tables: Tables) -> str:
    """The page; nothing is loaded from elsewhere, and every name is escaped."""
    items = items_of(tables)
    filters = {
        "percent": sentences.percent,
        "points": sentences.points,
        "nats": sentences.nats,
        "ends": functools.partial(ends, items=items),
        "minutes": minutes,
    }
    return templates.load("tables.html", "mmdiffmask.experiment", filters).render(
        tables=tables, run=tables, **_derived(tables)
    )


def items_of(tables: Tables) -> str:
    """What a bootstrap draws."""
    return "texts" if tables.is_of_texts else "clips"


def _derived(tables: Tables) -> dict[str, Any]:
    """What the template shows beside the tables' own values."""
    if tables.is_of_texts:
        return _shared(tables, published_texts) | text_page.derived(tables)
    on_masks = held_out.shown(tables.rows, CELLS.__contains__)
    return _shared(tables, published) | {
        "source": SOURCES.get(tables.source, tables.source),
        "in_boxes": published.IN_BOXES,
        "most_in_boxes": max(
            mean for cells in published.IN_BOXES.values() for mean, _ in cells.values()
        ),
        "label": strategies.label,
        "held_out": on_masks,
        "held_out_columns": [
            (strategies.label(masks), CELLS[name]) for masks, name in on_masks.columns
        ],
    }


def _shared(tables: Tables, numbers: types.ModuleType) -> dict[str, Any]:
    """What pages of video and of texts show alike, with the numbers published on it."""
    of_paper = {table.number: tables.of_paper(table) for table in numbers.TABLES}
    return {
        "paper": PAPER,
        "seeds": sorted({seed for row in tables.rows for seed in row.seeds}),
        "data": numbers.DATA,
        "accuracy_tables": [
            (table, of_paper[table.number])
            for table in numbers.TABLES[1:]
            if of_paper[table.number]
        ],
        "not_there": [
            _missing(table, tables)
            for table in numbers.TABLES
            if not of_paper[table.number]
        ],
        "cells_of_paper": dict(numbers.TABLES[0].cells),
        "floor_names": list(
            dict.fromkeys(name for x in tables.floors.values() for name in x)
        ),
        "has_logs": any(
            cell.log_probability is not None
            for row in tables.rows
            for cell in row.cells.values()
        ),
        "best": numbers.BEST,
        "paper_tables": numbers.TABLES,
        "tested": sum(item.is_counted for item in tables.contrasts),
        "no_interval": sentences.NO_INTERVAL,
        "items": items_of(tables),
    }


def _missing(table: published.PaperTable, tables: Tables) -> str:
    """Which rows a table of the paper has and the experiment lacks."""
    there = {row.published for row in tables.rows}
    label = text_page.label if tables.is_of_texts else strategies.label
    names = [label(name) for name in table.cells if name not in there]
    return (
        f"The paper's Table {table.number} ({table.title}) has rows that are not here:"
        f" {', '.join(names)}."
    )


def ends(cell: Cell, items: str = "clips") -> str:
    """The interval of a cell, and what it is over."""
    if cell.low is None or cell.high is None:
        return "no interval" if cell.n == 1 else "no spread over seeds"
    over = "seeds" if cell.n > 1 else items
    return f"{100 * cell.low:.1f} to {100 * cell.high:.1f} over {over}"


def minutes(seconds: float) -> str:
    """Processor minutes, of little ones with a digit."""
    return f"{seconds / 60:.1f}"


def lines(tables: Tables) -> list[str]:
    """The accuracies, the masks and the contrasts as text."""
    if tables.is_of_texts:
        return text_page.lines(tables, _grid)
    width = max(len(row.name) for row in tables.rows)
    text = [
        "Accuracy in %, mean (sd) over seeds [95 % interval: over seeds, of one seed"
        " over clips]",
        *_grid(tables, width),
        "",
        "What masks were made of: % of what is hidden that lies in boxes, beside the"
        " most that can",
        *[_mask_line(row, width) for row in tables.rows if row.hidden is not None],
    ]
    if tables.contrasts:
        text += ["", *contrasted.lines(tables.contrasts)]
    text += [f"named after some runs had begun: {name}" for name in tables.late]
    return text


def _grid(tables: Tables, width: int) -> list[str]:
    texts = [
        [_short(row.cells.get(name)) for name in tables.measures] for row in tables.rows
    ]
    columns = [
        max(len(name), *(len(of_row[i]) for of_row in texts))
        for i, name in enumerate(tables.measures)
    ]

    def line(name: str, cells: list[str]) -> str:
        padded = [f"{x:{w}}" for x, w in zip(cells, columns, strict=True)]
        return "  ".join([f"{name:{width}}", *padded]).rstrip()

    pairs = zip(tables.rows, texts, strict=True)
    return [
        line("row", list(tables.measures)),
        *(line(row.name, of_row) for row, of_row in pairs),
    ]


def _short(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    sd = "" if cell.sd is None else f" ({100 * cell.sd:.1f})"
    if cell.low is None or cell.high is None:
        return f"{100 * cell.mean:.1f}{sd}"
    return f"{100 * cell.mean:.1f}{sd} [{100 * cell.low:.1f}, {100 * cell.high:.1f}]"


def _mask_line(row: ExperimentRow, width: int) -> str:
    hidden = row.hidden
    return (
        f"{row.name:{width}}  {100 * hidden.in_boxes.mean:5.1f} of at most"
        f" {100 * hidden.bound:5.1f}  (boxes: {100 * hidden.boxes_share:.1f} % of the"
        " picture)"
    )
