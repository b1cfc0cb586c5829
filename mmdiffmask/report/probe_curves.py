"""Curves of the labels that the probe reads out while a run trains."""

import dataclasses
from collections.abc import Mapping

from mmdiffmask import statistics
from mmdiffmask.report import curves, history
from mmdiffmask.training import journal
from mmdiffmask.training.read_outs import clips

LABELS = "Labels, read out of the frozen network while it trained"
LOGS = "log_probability"


def panels(
    rows: history.History, floors: Mapping[str, statistics.Floors]
) -> tuple[curves.Panel, ...]:
    """Accuracy and mean log-probability of each label; () without such lines.

    Args:
      rows: metrics.jsonl of each row.
      floors: label -> what needs no features, where the probe has scored it.
    """
    rows = {
        name: [line for line in lines if line["kind"] == journal.PROBE]
        for name, lines in history.trained(rows).items()
    }
    labels = dict.fromkeys(line["label"] for lines in rows.values() for line in lines)
    return tuple(
        panel for label in labels for panel in _of_label(label, rows, floors.get(label))
    )


def _of_label(
    label: str, rows: history.History, floors: statistics.Floors | None
) -> list[curves.Panel]:
    """Both panels of a label, by the read-out that rows are compared by."""
    of_label = {
        name: [line for line in lines if line["label"] == label]
        for name, lines in rows.items()
    }
    names = {line["read_out"] for lines in of_label.values() for line in lines}
    main = clips.ordered(names)[0]
    known = {
        name: sorted(
            (line for line in lines if line["read_out"] == main),
            key=lambda line: line["step"],
        )
        for name, lines in of_label.items()
    }
    known = {name: lines for name, lines in known.items() if lines}
    whole = clips.words(main).whole
    levels = ()
    if floors is not None:
        levels = (curves.Level("largest class", floors.largest_class),)
    accuracy = curves.Panel(
        f"{label}: named rightly",
        f"From {whole}, of held-out clips; bands are 95 % over clips.",
        _lines(known, "accuracy"),
        levels,
        is_share=True,
        group=LABELS,
    )
    logs = curves.Panel(
        f"{label}: log-probability",
        "Mean log-probability of the right label (natural); nearer to 0 is better.",
        _lines(known, LOGS),
        group=LABELS,
    )
    has_logs = any(line[LOGS] is not None for x in known.values() for line in x)
    return [accuracy, logs] if has_logs else [accuracy]


def _lines(rows: history.History, score: str) -> tuple[curves.Line, ...]:
    lines = []
    for name, of_row in rows.items():
        values = [line | {"value": line[score]} for line in of_row]
        line = history.line_of(name, values)
        is_bare = score == LOGS  # the interval is the accuracy's
        lines.append(dataclasses.replace(line, low=(), high=()) if is_bare else line)
    return tuple(lines)
