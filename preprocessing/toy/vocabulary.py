"""The toy set's words to the shipped closed vocabulary "toy".

`python -m preprocessing.toy.vocabulary` writes mmdiffmask/data/toy_words.json again.
Run it after a change of the toy set's words.
"""

import json
import logging
import pathlib

import mmdiffmask
from mmdiffmask import atomic
from preprocessing.toy import words

PATH = pathlib.Path(mmdiffmask.__file__).with_name("data") / "toy_words.json"


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
    by_class = {k: {"is_content": True, "texts": v} for k, v in shown.items()}
    # One frame does not show whether something moves.
    by_class["motion"]["is_content"] = False
    return by_class | {k: {"is_content": False, "texts": v} for k, v in answers.items()}


def write(path: pathlib.Path = PATH) -> int:
    """Writes the file; how many entries it has."""
    vocabulary = classes()
    atomic.write(path, json.dumps(vocabulary, indent=1) + "\n")
    return sum(len(entry["texts"]) for entry in vocabulary.values())


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.info("%s: %d entries", PATH, write())
