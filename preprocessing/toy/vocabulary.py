"""Writes the shipped closed vocabulary "toy": what the toy set's texts can name.

`python -m preprocessing.toy.vocabulary` writes mmdiffmask/data/toy_words.json again.
Run it after a change of the toy set's words.
"""

import json
import logging
import pathlib

from mmdiffmask.data import vocabulary
from preprocessing.toy import words


def classes() -> dict[str, dict]:
    """Word class -> its texts; what pictures show first, then forms of answers."""
    things = [*words.PLAIN_CLASSES, *words.VEHICLES]
    colours, scenes = list(words.COLOURS), list(words.SCENES.values())
    who = ("the person in {}", "somebody in {}")
    shown = {
        "colour": colours,
        "object": things,
        "action": list(words.ACTION_PHRASES.values()),
        "scene": scenes,
        "motion": ["moves", "stays still"],
    }
    answers = {
        "object answer": [f"{a} {thing}" for thing in things for a in ("the", "a")],
        "who answer": [form.format(c) for c in colours for form in who],
        "name": list(words.NAMES),
        "topic answer": [f"the {topic}" for topic in words.TOPICS],
    }
    found = {k: {"is_content": True, "texts": v} for k, v in shown.items()}
    # One frame does not show whether something moves.
    found["motion"]["is_content"] = False
    return found | {k: {"is_content": False, "texts": v} for k, v in answers.items()}


def write(path: pathlib.Path = vocabulary.TOY) -> vocabulary.Vocabulary:
    """Writes the file; returns what it holds."""
    path.write_text(json.dumps(classes(), indent=1) + "\n", encoding="utf-8")
    return vocabulary.load(path)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.info("%s: %d entries", vocabulary.TOY, len(write()))
