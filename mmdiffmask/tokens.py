"""Ids and lengths that vocabulary, sequences, model and losses agree on.

`data.tokenizers` refuses a vocabulary that has other special tokens at ids 0 to 9.
"""

import hashlib

import numpy as np

SPECIAL_TOKENS = (
    "<|PAD|>",
    "<|START|>",
    "<|END|>",
    "<|MASK|>",
    "<|MASKAUDIO|>",
    "<|AUDIOSPAN|>",
    "<|LTOVPOOL|>",
    "<|unused0|>",
    "<|UNK|>",
    "<|RESETCTX|>",
)
PAD, START, END, MASK, MASKAUDIO, AUDIOSPAN, LTOVPOOL = range(7)
N_SPECIAL = len(SPECIAL_TOKENS)  # ids below are no words
SPAN_LENGTH = 15  # most tokens of a text span (reserve.md section 2.5)
TOKENS_PER_SOUND = 6  # a sub-segment of sound is pooled to so many


def name_hash(name: str) -> np.uint32:
    """The first 4 bytes of sha256 of the name, big-endian."""
    return np.uint32(int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big"))
