"""Curves of language and pictures together, from the lines of metrics.jsonl."""

from mmdiffmask.report import curves, history

NAMING = "Hidden words, named with the right video and with another one"
START_TERMS = "Losses that the start was trained on, on held-out clips"
# Metrics of the kind "terms" -> (title, what is predicted).
TERMS = {
    "loss_imgs_to_audio": (
        "Pictures to sound or speech",
        "Predicted: the sound or words that go with the frames",
    ),
    "loss_text_to_audio": (
        "Text to sound or speech",
        "Predicted: the sound or words at a gap of the narration",
    ),
    "loss_stuff_to_span": (
        "Everything to a hidden span",
        "Predicted: the hidden words, from text, sound and frames",
    ),
    "loss_closed_span": (
        "Hidden words among all words",
        "Predicted: the hidden word, among the whole vocabulary",
    ),
    "loss_pooled_cells": (
        "Words in the picture",
        "Predicted: the clip that shows a word, by its best cells",
    ),
}


def word_panels(rows: history.History) -> tuple[curves.Panel, ...]:
    """Per class of words: accuracy with the right video, solid, and a wrong one.

    Only where the metrics have them; "all" comes first.
    """
    rows = history.trained(rows)
    classes = {
        line["stream"]
        for lines in rows.values()
        for line in lines
        if line["kind"] == "eval" and line["masks"] == "words"
    }
    note = "Solid: with the clip's own frames. Dashed: with another clip's."
    panels = []
    for name in sorted(classes, key=lambda name: (name != "all", name)):
        title = "All classes of words" if name == "all" else f"Words: {name}"
        if lines := _word_lines(rows, name):
            panels.append(curves.Panel(title, note, lines, (), True, NAMING))
    return tuple(panels)


def _word_lines(rows: history.History, word_class: str) -> tuple[curves.Line, ...]:
    lines = []
    for row, of_row in rows.items():
        for metric, video in (
            ("right_video", "right video"),
            ("wrong_video", "another video"),
        ):
            values = history.held_out(of_row, "words", metric, word_class)
            if values:
                dashed = {"row": row, "is_dashed": metric == "wrong_video"}
                lines.append(history.line_of(f"{row}, {video}", values, **dashed))
    return tuple(lines)


def term_panels(rows: history.History) -> tuple[curves.Panel, ...]:
    """Held-out loss of each language term, where the metrics have it."""
    panels = []
    for metric, (title, note) in TERMS.items():
        values_of_row = {
            name: history.held_out(lines, "terms", metric)
            for name, lines in history.trained(rows).items()
        }
        values_of_row = {n: values for n, values in values_of_row.items() if values}
        if values_of_row:
            first = next(iter(values_of_row.values()))[0]
            levels = (
                (curves.Level("before training", first["value"]),)
                if first["step"] == 0
                else ()
            )
            lines = tuple(
                history.line_of(n, values) for n, values in values_of_row.items()
            )
            panels.append(curves.Panel(title, note, lines, levels, group=START_TERMS))
    return tuple(panels)
