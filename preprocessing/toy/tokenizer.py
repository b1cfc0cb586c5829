"""The toy set's texts to the shipped tokenizer "toy".

`python -m preprocessing.toy.tokenizer` writes mmdiffmask/data/toy_tokenizer.json
again, in seconds and with the same bytes as long as the toy set says the same.
Run it after a change of the toy set's words.
"""

import logging
import os
import pathlib
from collections.abc import Iterator

import mmdiffmask
from preprocessing import bpe
from preprocessing.toy import language, words

PATH = pathlib.Path(mmdiffmask.__file__).with_name("data") / "toy_tokenizer.json"
VOCABULARY = 512  # the size `tiny` has
CLIPS_PER_DOMAIN = 400  # every word and phrase occurs many times
SEED = 0


def texts() -> Iterator[str]:
    """Subtitles, questions, candidates and time spans of all three domains."""
    for domain in words.DOMAINS:
        yield from language.texts(domain, "train", CLIPS_PER_DOMAIN, SEED)
    for start in range(101):  # "0 to 1", "1 to 2": every digit pair alike
        yield f"{start} to {start + 1}"


def write(path: str | os.PathLike = PATH) -> int:
    """Trains and writes the tokenizer; how many entries it has."""
    return bpe.train(texts(), VOCABULARY, path)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.info("%s: %d entries", PATH, write())
