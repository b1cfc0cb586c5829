"""Texts to a byte-level BPE tokenizer of MERLOT-Reserve's form, a JSON file."""

import json
import os
import pathlib
from collections.abc import Iterable

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from mmdiffmask import atomic
from mmdiffmask.tokens import SPECIAL_TOKENS


def train(texts: Iterable[str], vocabulary: int, path: str | os.PathLike) -> int:
    """Trains a tokenizer and writes it; how many entries it has.

    The same texts in the same order give the same bytes. Every text can be encoded:
    the alphabet has all bytes that lowercased UTF-8 text can hold.

    Args:
      texts: what to learn merges from.
      vocabulary: entries at most, special tokens and bytes included.
      path: the JSON file to write.

    Raises:
      ValueError: if `vocabulary` has no room for special tokens and bytes.
    """
    alphabet = _alphabet()
    least = len(SPECIAL_TOKENS) + len(alphabet)
    if vocabulary < least:
        raise ValueError(
            f"a vocabulary of {vocabulary} is too small: special tokens and bytes"
            f" alone are {least}"
        )
    backend = tokenizers.Tokenizer(models.BPE())
    backend.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=True, lowercase=True
    )
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=alphabet,
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    text = json.dumps(json.loads(backend.to_str()), ensure_ascii=False, indent=0)
    atomic.write(pathlib.Path(path), text + "\n")
    return backend.get_vocab_size()


def _alphabet() -> list[str]:
    """Signs of the bytes that lowercased, cleaned UTF-8 text can hold.

    Without capitals, control characters and bytes that UTF-8 never uses, more of a
    small vocabulary is left for words.
    """
    lead_and_continuation = [*range(0x80, 0xC0), *range(0xC2, 0xF5)]
    plain = [b for b in range(0x20, 0x7F) if not chr(b).isupper()]
    sign = _sign_of_byte()
    return sorted(sign[b] for b in (*plain, *lead_and_continuation))


def _sign_of_byte() -> dict[int, str]:
    """The printable sign that byte-level BPE writes for each byte.

    Bytes that print stand for themselves; the others, in order, are the characters
    from 256 on.
    """
    printing = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [b for b in range(256) if b not in printing]
    sign = {b: chr(b) for b in printing}
    return sign | {b: chr(256 + i) for i, b in enumerate(others)}
