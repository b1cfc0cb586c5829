"""Trains the shipped "toy" tokenizer on the toy set's text.

`python -m preprocessing.toy.tokenizer` writes mmdiffmask/data/toy_tokenizer.json
again, in seconds and with the same bytes as long as the toy set says the same.
Run it after a change of the toy set's words.
"""

import logging
import os
from collections.abc import Iterator

from mmdiffmask.data import tokenizers
from preprocessing.toy import language, words

VOCABULARY = 512  # the size `tiny` has
CLIPS_PER_DOMAIN = 400  # every word and phrase occurs many times
SEED = 0


def texts() -> Iterator[str]:
    """Subtitles, questions, candidates and time spans of all three domains."""
    for domain in words.DOMAINS:
        yield from language.texts(domain, "train", CLIPS_PER_DOMAIN, SEED)
    for start in range(101):  # "0 to 1", "1 to 2": every digit pair alike
        yield f"{start} to {start + 1}"


def write(path: str | os.PathLike = tokenizers.TOY) -> tokenizers.Tokenizer:
    """Trains and writes the tokenizer; returns it."""
    return tokenizers.train_bpe(texts(), VOCABULARY, path)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    entries = write().vocabulary
    logging.info("%s: %d entries", tokenizers.TOY, entries)
