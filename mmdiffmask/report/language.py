"""Curves of the language side: does it look, and does it forget?"""

from mmdiffmask.report import curves, history

LOOKS = "Does it look? Naming hidden words with the right and with another video"
KEEPS = "Does it forget? The start's own exercises, on held-out clips"
# Metrics of the kind "terms" -> (title, what the exercise is).
TERMS = {
    "loss_imgs_to_audio": (
        "Pictures to sound or speech",
        "Which sound or words go with these frames?",
    ),
    "loss_text_to_audio": (
        "Text to sound or speech",
        "Which sound or words stand at a gap of the narration?",
    ),
    "loss_stuff_to_span": (
        "Everything to a hidden span",
        "Which words are hidden, given text, sound and frames?",
    ),
    "loss_closed_span": (
        "Hidden words among all words",
        "Which word of the whole vocabulary is hidden?",
    ),
    "loss_pooled_cells": (
        "Words in the picture",
        "Which clip shows this word, judged by its best cells?",
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
    made = []
    for name in sorted(classes, key=lambda name: (name != "all", name)):
        title = "All classes of words" if name == "all" else f"Words: {name}"
        if lines := _word_lines(rows, name):
            made.append(curves.Panel(title, note, lines, (), True, LOOKS))
    return tuple(made)


def _word_lines(rows: history.History, word_class: str) -> tuple[curves.Line, ...]:
    lines = []
    for row, of_row in rows.items():
        for metric, video in (
            ("right_video", "right video"),
            ("wrong_video", "another video"),
        ):
            values = history.held_out(of_row, "words", metric, word_class)
            if values:
                dashed = {"of": row, "is_dashed": metric == "wrong_video"}
                lines.append(history.line_of(f"{row}, {video}", values, **dashed))
    return tuple(lines)


def term_panels(rows: history.History) -> tuple[curves.Panel, ...]:
    """Held-out loss of each language term, where the metrics have it."""
    made = []
    for metric, (title, note) in TERMS.items():
        found = {
            name: history.held_out(lines, "terms", metric)
            for name, lines in history.trained(rows).items()
        }
        found = {name: values for name, values in found.items() if values}
        if found:
            first = next(iter(found.values()))[0]
            levels = (
                (curves.Level("before training", first["value"]),)
                if first["step"] == 0
                else ()
            )
            lines = tuple(history.line_of(n, values) for n, values in found.items())
            made.append(curves.Panel(title, note, lines, levels, group=KEEPS))
    return tuple(made)
