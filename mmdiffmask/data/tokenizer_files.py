"""Tokenizers of encoders of text: of a file, a folder, or Hugging Face's cache.

Read are tokenizer.json, vocab.txt (BERT's word pieces) and vocab.json with merges.txt
(byte-level BPE, as RoBERTa's). Nothing is fetched from a network.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Sequence

import huggingface_hub
import numpy as np
import tokenizers
from huggingface_hub import constants
from jaxtyping import Int
from tokenizers import implementations, processors

from mmdiffmask.data import word_pieces

FILES = ("tokenizer.json", "vocab.txt", "vocab.json")  # the first that is there
MASKS = ("[MASK]", "<mask>")
# Spare entries of BERT's vocabularies that stand for nothing.
_SPARE = re.compile(r"\[unused\d+\]|madeupword\d+")


@dataclasses.dataclass(frozen=True)
class Pieces:
    """A tokenizer, and what masking needs to know of its vocabulary.

    Attributes:
      name: as the user called it.
      backend: of the tokenizers library.
      before: ids that open a text.
      after: ids that close it.
      mask: the id that stands for a hidden piece; None: it has none.
      ordinary: ids of pieces of texts, from which random ones are drawn.
      fingerprint: sha256 of all that it does.
    """

    name: str
    backend: tokenizers.Tokenizer
    before: tuple[int, ...]
    after: tuple[int, ...]
    mask: int | None
    ordinary: Int[np.ndarray, " v"]
    fingerprint: str

    def windows(
        self, texts: Sequence[str], length: int
    ) -> list[list[word_pieces.Window]]:
        """The windows of each text; one has at most `length` ids with what is around.

        Raises:
          ValueError: if no piece fits into a window.
        """
        room = length - len(self.before) - len(self.after)
        if room < 1:
            raise ValueError(f"a length of {length} pieces leaves no room for a text")
        encoded = self.backend.encode_batch(list(texts), add_special_tokens=False)
        return [
            word_pieces.windows(text, one.ids, one.offsets, room)
            for text, one in zip(texts, encoded, strict=True)
        ]

    def require_mask(self) -> int:
        """The id of the mask.

        Raises:
          ValueError: if it has none.
        """
        if self.mask is None:
            raise ValueError(
                f"tokenizer {self.name}: has no mask token ({' or '.join(MASKS)}); use"
                " random replacement, or a masked language model's tokenizer"
            )
        return self.mask


def load(name: str | os.PathLike) -> Pieces:
    """The tokenizer of a file, of a folder, or of a name in Hugging Face's cache.

    Raises:
      ValueError: if there is none of that name, or it cannot be read.
    """
    path = _find(str(name))
    beside = _settings(path.parent)
    try:
        backend = _read(path, beside)
    except ValueError:
        raise
    except Exception as error:  # the library raises Exception itself
        raise ValueError(
            f"{path}: not a tokenizer that can be read: {error}"
        ) from error
    # Some files pad and cut every text; words such as "[SEP]" of a text are words.
    backend.no_padding()
    backend.no_truncation()
    backend.encode_special_tokens = True
    opened = backend.encode("a")
    around = np.array(opened.special_tokens_mask, bool)
    inner = np.flatnonzero(~around)
    first, last = (inner[0], inner[-1]) if len(inner) else (len(around), len(around))
    added = backend.get_added_tokens_decoder()
    special = {i for i, token in added.items() if token.special}
    vocabulary = backend.get_vocab()
    spare = {i for word, i in vocabulary.items() if _SPARE.fullmatch(word)}
    named = beside.get("mask_token")
    named = named.get("content") if isinstance(named, dict) else named
    mask = next((t for t in (named, *MASKS) if t in vocabulary), None)
    return Pieces(
        name=str(name),
        backend=backend,
        before=tuple(opened.ids[:first]),
        after=tuple(opened.ids[last + 1 :]),
        mask=None if mask is None else vocabulary[mask],
        ordinary=np.array(sorted({*vocabulary.values()} - special - spare), np.int32),
        fingerprint=hashlib.sha256(backend.to_str().encode()).hexdigest(),
    )


def _find(name: str) -> pathlib.Path:
    """The file of a tokenizer that a user named."""
    path = pathlib.Path(name)
    if path.is_file():
        return path
    if path.is_dir():
        for file in FILES:
            if (path / file).is_file():
                return path / file
        raise ValueError(f"tokenizer {name}: the folder has none of {', '.join(FILES)}")
    for file in FILES:
        try:
            cached = huggingface_hub.try_to_load_from_cache(name, file)
        except ValueError:  # no name that a repository can have
            break
        if isinstance(cached, str):
            return pathlib.Path(cached)
    raise ValueError(
        f"tokenizer {name}: no such file or folder, and nothing of that name in Hugging"
        f" Face's cache ({constants.HF_HUB_CACHE}); name a folder with one of"
        f" {', '.join(FILES)}"
    )


def _settings(folder: pathlib.Path) -> dict:
    """What the files beside a vocabulary say of it; {} where there are none."""
    settings = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        path = folder / name
        if path.is_file():
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise ValueError(f"{path}: is no JSON ({error})") from None
            settings |= content if isinstance(content, dict) else {}
    return settings


def _read(path: pathlib.Path, beside: dict) -> tokenizers.Tokenizer:
    """The library's object; the file's ending says which kind of file it is."""
    if path.suffix == ".txt":
        return _word_pieces(path, beside)
    if path.name == "vocab.json":
        return _byte_level(path, beside)
    return tokenizers.Tokenizer.from_file(str(path))


def _word_pieces(path: pathlib.Path, beside: dict) -> tokenizers.Tokenizer:
    """BERT's; lower case where its settings say so, else where no entry has capitals.

    `[CLS]` and the like, and spare entries, do not count.
    """
    words = path.read_text(encoding="utf-8").splitlines()
    has_capitals = any(
        word != word.lower() for word in words if not word.startswith("[")
    )
    lacking = [word for word in ("[UNK]", "[CLS]", "[SEP]") if word not in words]
    if lacking:
        raise ValueError(f"{path}: lacks {', '.join(lacking)}: no vocabulary of BERT's")
    return implementations.BertWordPieceTokenizer(
        str(path),
        lowercase=bool(beside.get("do_lower_case", not has_capitals)),
        strip_accents=beside.get("strip_accents"),
        handle_chinese_chars=beside.get("tokenize_chinese_chars", True),
    )._tokenizer


def _byte_level(path: pathlib.Path, beside: dict) -> tokenizers.Tokenizer:
    """RoBERTa's or GPT-2's: byte-level BPE, with RoBERTa's ends where it has them."""
    merges = path.with_name("merges.txt")
    if not merges.is_file():
        raise ValueError(f"{path}: needs merges.txt beside it")
    backend = implementations.ByteLevelBPETokenizer(
        str(path),
        str(merges),
        add_prefix_space=bool(beside.get("add_prefix_space", False)),
    )._tokenizer
    ends = {name: backend.token_to_id(name) for name in ("<s>", "</s>")}
    special = [*ends, "<pad>", "<unk>", "<mask>", "<|endoftext|>"]
    backend.add_special_tokens(
        [name for name in special if backend.token_to_id(name) is not None]
    )
    if None not in ends.values():
        backend.post_processor = processors.RobertaProcessing(
            ("</s>", ends["</s>"]), ("<s>", ends["<s>"])
        )
    return backend
