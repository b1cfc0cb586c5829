"""Similarity of words to anchors, by vectors of words: MiniLM's, a model's, a file's.

It goes by word, so masks of any tokenizer's pieces can be made by it.
"""

import logging
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tokenizers
from jaxtyping import Float

from mmdiffmask import label_vectors
from mmdiffmask.data import tokenizer_files
from mmdiffmask.masking import anchors as anchor_lib
from mmdiffmask.models import safetensors

# Words that are read at once. Products of fixed size give a word the same bits
# whichever others are read with it, so masks cannot depend on them.
AT_ONCE = 32
TOLD = 2000  # words that take long enough to be told of
# Endings of the names that tables of input embeddings have in checkpoints.
TABLES = ("word_embeddings.weight", "embed_tokens.weight", "wte.weight")

# (words) -> word -> vector, of those that have one
Vectors = Callable[[Sequence[str]], Mapping[str, Float[np.ndarray, " d"]]]


class Similarity:
    """(words) -> each one's similarity to the anchors, at least 0. Paper: Eq. 3.

    A word without a vector has 0; `unknown` counts such words. What was computed is
    kept.
    """

    def __init__(self, words: Sequence[str], vectors: Vectors, reduce: str = "nearest"):
        """Reads the anchors' vectors.

        Args:
          words: the anchors.
          vectors: of words.
          reduce: "nearest" or "centroid" (`anchors.similarity`).

        Raises:
          ValueError: if there is no anchor, or one has no vector.
        """
        if not words:
            raise ValueError("no anchor is named")
        self._vectors, self._reduce = vectors, reduce
        of_anchor = vectors(words)
        lacking = [word for word in words if word not in of_anchor]
        if lacking:
            raise ValueError(
                f"no vector for the anchor {', '.join(lacking)}; leave it out with"
                " --anchors, or name other vectors"
            )
        self._ends = np.stack([of_anchor[word] for word in words])
        self._known: dict[str, float] = {}
        self.unknown = 0

    def __call__(self, words: Sequence[str]) -> Float[np.ndarray, " w"]:
        """The similarities of words, in their order."""
        new = sorted({word for word in words if word not in self._known})
        if new:
            self._read(new)
        return np.array([self._known[word] for word in words], np.float64)

    def _read(self, words: Sequence[str]) -> None:
        by_word = self._vectors(words)
        self._known |= dict.fromkeys(words, 0.0)
        self.unknown += len(words) - len(by_word)
        names = list(by_word)
        for first in range(0, len(names), AT_ONCE):
            part = names[first : first + AT_ONCE]
            rows = np.stack([by_word[name] for name in part])
            rows = np.concatenate([rows, np.repeat(rows[:1], AT_ONCE - len(part), 0)])
            values = anchor_lib.similarity(rows, self._ends, self._reduce)
            self._known |= dict(zip(part, values.tolist(), strict=False))


def vectors(
    source: str | os.PathLike | None, pieces: tokenizer_files.Pieces | None = None
) -> Vectors:
    """Where vectors of words come from.

    Args:
      source: None: MiniLM; an .npz file of an array a word; else a checkpoint
        (.safetensors, or a folder with model.safetensors) whose input embeddings serve,
        the mean over the pieces of a word.
      pieces: of the checkpoint's tokenizer; None: the one in its folder.

    Raises:
      ValueError: if it is missing or holds no such vectors.
    """
    if source is None:
        return _minilm(label_vectors.load())
    path = pathlib.Path(source)
    if path.suffix == ".npz":
        by_word = anchor_lib.load_embeddings(path)
        return lambda words: {w: by_word[w] for w in words if w in by_word}
    return _input_embeddings(path, pieces)


def _minilm(encoder: label_vectors.Encoder) -> Vectors:
    """MiniLM's, of the words that have one."""

    def read(words: Sequence[str]) -> dict[str, np.ndarray]:
        if len(words) > TOLD:
            logging.info("reading %d words by MiniLM", len(words))
        return encoder.vectors(word for word in words if encoder.has_vector(word))

    return read


def _input_embeddings(
    path: pathlib.Path, pieces: tokenizer_files.Pieces | None
) -> Vectors:
    """The mean of the rows that a word's pieces have in a checkpoint's first table."""
    file = path / "model.safetensors" if path.is_dir() else path
    if not file.is_file():
        raise ValueError(
            f"{file}: no such file; vectors are those of an .npz file, a .safetensors"
            " file, or a folder with model.safetensors"
        )
    arrays = safetensors.read(file)
    name = next((name for name in arrays if name.endswith(TABLES)), None)
    if name is None:
        raise ValueError(f"{file}: has no table of input embeddings: {TABLES[0]}")
    table = arrays[name]
    pieces = pieces or tokenizer_files.load(file.parent)
    if pieces.backend.get_vocab_size() > len(table):
        raise ValueError(
            f"{file}: has {len(table)} input embeddings, but the tokenizer"
            f" {pieces.name} {pieces.backend.get_vocab_size()} pieces; name the"
            " checkpoint of this tokenizer"
        )
    backend: tokenizers.Tokenizer = pieces.backend

    def read(words: Sequence[str]) -> dict[str, np.ndarray]:
        # As inside a text: byte-level pieces tell whether a space stands before them.
        texts = [f" {word}" for word in words]
        encoded = backend.encode_batch(texts, add_special_tokens=False)
        return {
            word: table[np.array(one.ids)].astype(np.float32).mean(0)
            for word, one in zip(words, encoded, strict=True)
            if one.ids
        }

    return read
