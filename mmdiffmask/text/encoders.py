"""What an encoder of texts makes of windows: attention from [CLS], words like the text.

The encoder reads a window by its own pieces. Where masks are of another tokenizer's
pieces, the attention to a piece is spread over its characters.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from flax import traverse_util
from jaxtyping import Float, Int

from mmdiffmask import encoder_files, label_vectors
from mmdiffmask.data import tokenizer_files
from mmdiffmask.masking.text_scores import Passage
from mmdiffmask.models.bert import checkpoints, states
from mmdiffmask.text import kept

Note = Callable[[int], object]


@dataclasses.dataclass(frozen=True, eq=False)
class Encoder:
    """A BERT or RoBERTa with its tokenizer; `fingerprint` is of both."""

    pieces: tokenizer_files.Pieces
    checkpoint: checkpoints.Checkpoint
    fingerprint: str

    def opened(self, ids: Int[np.ndarray, " n"]) -> Int[np.ndarray, " m"]:
        """Pieces with those that open and close a text.

        Raises:
          ValueError: if the encoder cannot read as many.
        """
        whole = np.array([*self.pieces.before, *ids, *self.pieces.after], np.int32)
        longest = self.checkpoint.settings.longest
        if len(whole) > longest:
            raise ValueError(
                f"a window has {len(whole)} pieces of the encoder {self.pieces.name},"
                f" which reads at most {longest}; set --length lower"
            )
        return whole

    def inner(self, values: Float[np.ndarray, "m ..."]) -> Float[np.ndarray, "n ..."]:
        """Values of pieces without those that open and close the text."""
        first = len(self.pieces.before)
        return values[first : len(values) - len(self.pieces.after)]

    def means(
        self, ids: Sequence[np.ndarray], note: Note | None = None
    ) -> list[Float[np.ndarray, " d"]]:
        """The mean of the last states of each text's pieces; 0 for a text of none.

        Args:
          ids: without those that open and close a text.
          note: as of `states.encode`.

        Raises:
          ValueError: if a text is too long.
        """
        opened = [self.opened(one) for one in ids]
        encoded = states.encode(self.checkpoint, opened, note)
        nothing = np.zeros(self.checkpoint.settings.hidden, np.float32)
        return [
            self.inner(state).mean(0) if len(one) else nothing
            for state, one in zip(encoded, ids, strict=True)
        ]


@functools.lru_cache(maxsize=2)
def load(name: str | None = None) -> Encoder:
    """The encoder that a name stands for.

    Args:
      name: as of `encoder_files.folder`; None: MiniLM.

    Raises:
      ValueError: if there is none; says what to do.
    """
    if name in (None, encoder_files.MINILM):
        try:
            checkpoint = label_vectors.load().checkpoint
        except ValueError as error:
            raise ValueError(f"{error}; or name an encoder with --encoder") from None
    else:
        checkpoint = encoder_files.read(name)
    folder = encoder_files.folder(name or encoder_files.MINILM)
    pieces = dataclasses.replace(tokenizer_files.load(folder), name=name or "MiniLM")
    size = checkpoint.settings.vocabulary
    if pieces.backend.get_vocab_size() > size:
        raise ValueError(
            f"{folder}: the encoder knows {size} pieces, its tokenizer"
            f" {pieces.backend.get_vocab_size()}; they are of two models"
        )
    return Encoder(pieces, checkpoint, _fingerprint(checkpoint, pieces))


def of_start(encoder: Encoder, params: checkpoints.Params) -> Encoder:
    """The encoder with a run's first weights, an MLM head among them."""
    headed = checkpoints.with_mlm(encoder.checkpoint)
    checkpoint = dataclasses.replace(headed, params={**headed.params, **params})
    return Encoder(encoder.pieces, checkpoint, _fingerprint(checkpoint, encoder.pieces))


def _fingerprint(
    checkpoint: checkpoints.Checkpoint, pieces: tokenizer_files.Pieces
) -> str:
    """sha256 of weights and tokenizer."""
    digest = hashlib.sha256(pieces.fingerprint.encode())
    for path, value in sorted(traverse_util.flatten_dict(checkpoint.params).items()):
        digest.update(f"{path}{value.shape}".encode())
        digest.update(np.ascontiguousarray(jax.device_get(value)))
    return digest.hexdigest()


@dataclasses.dataclass(frozen=True, eq=False)
class Attention:
    """(passages) -> the attention from [CLS] to each piece, sums to 1 in a passage.

    Paper: Eq. 6 and 7; mean over heads, without special pieces.

    Attributes:
      encoder: reads the windows, unmasked.
      tokenizer: fingerprint of the one that the windows' pieces are of.
      layer: whose attention; -1: the last.
    """

    encoder: Encoder
    tokenizer: str
    layer: int = -1

    def __call__(self, passages: Sequence[Passage]) -> list[np.ndarray]:
        """The attention to each of the pieces of each passage.

        Raises:
          ValueError: if a passage is too long for the encoder.
        """
        name = f"attention of layer {self.layer}"
        parts = [name, self.encoder.fingerprint, self.tokenizer]
        return kept.each(parts, passages, self._compute)

    def _compute(self, passages: Sequence[Passage], note: Note) -> list[np.ndarray]:
        encoder = self.encoder
        readings = [read(encoder, p, self.tokenizer) for p in passages]
        ids = [encoder.opened(reading.ids) for reading in readings]
        values = states.cls_attention(encoder.checkpoint, ids, self.layer, note)
        result = []
        for passage, reading, value in zip(passages, readings, values, strict=True):
            inner = encoder.inner(value).astype(np.float64)
            if reading.spans is not None:
                inner = moved(inner, reading.spans, passage.spans)
            result.append(inner / max(inner.sum(), 1e-12))
        return result


class Reading(NamedTuple):
    """An encoder's m pieces of a passage; `spans` None: they are the passage's own."""

    ids: Int[np.ndarray, " m"]
    spans: Int[np.ndarray, "m 2"] | None


def read(encoder: Encoder, passage: Passage, tokenizer: str) -> Reading:
    """The pieces by which an encoder reads a passage.

    Args:
      encoder: reads it.
      passage: its pieces, words and place in its text.
      tokenizer: fingerprint of the one that its pieces are of.
    """
    if tokenizer == encoder.pieces.fingerprint:
        return Reading(passage.ids, None)
    if passage.spans is None:
        raise ValueError("where the pieces of a window stand in its text is not known")
    start, end = int(passage.spans[:, 0].min()), int(passage.spans[:, 1].max())
    one = encoder.pieces.backend.encode(
        passage.text[start:end], add_special_tokens=False
    )
    spans = np.array(one.offsets, np.int64).reshape(-1, 2) + start
    return Reading(np.array(one.ids, np.int32), spans)


def moved(
    values: Float[np.ndarray, " m"],
    spans: Int[np.ndarray, "m 2"],
    to: Int[np.ndarray, "n 2"],
) -> Float[np.ndarray, " n"]:
    """Values of some pieces as values of others, by the characters that they share.

    A piece's value is spread evenly over its characters.

    Args:
      values: of the pieces.
      spans: first character and end of each.
      to: the same of the other pieces.
    """
    size = max(int(spans.max(initial=0)), int(to.max(initial=0)))
    by_character = np.zeros(size + 1)
    for value, (start, end) in zip(values, spans, strict=True):
        if end > start:
            by_character[start + 1 : end + 1] += value / (end - start)
    total = np.cumsum(by_character)
    return total[to[:, 1]] - total[to[:, 0]]


def averaged(
    values: Float[np.ndarray, " m"], reading: Reading, passage: Passage
) -> Float[np.ndarray, " n"]:
    """Values of an encoder's pieces as those of a passage's, the mean by characters."""
    if reading.spans is None:
        return values
    sizes = [np.maximum(x[:, 1] - x[:, 0], 1) for x in (reading.spans, passage.spans)]
    return moved(values * sizes[0], reading.spans, passage.spans) / sizes[1]


@dataclasses.dataclass(frozen=True, eq=False)
class Likeness:
    """(passages) -> the similarity of each word to its passage, at least 0.

    The cosine of the mean of the last states of the word's pieces, read alone, and
    that of the passage's pieces: KeyBERT's ranking by one encoder.

    Attributes:
      encoder: reads words and windows.
    """

    encoder: Encoder
    _of_word: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __call__(self, passages: Sequence[Passage]) -> list[np.ndarray]:
        """The similarity of each word of each passage.

        Raises:
          ValueError: if a passage is too long for the encoder.
        """
        parts = ["likeness", self.encoder.fingerprint]
        return kept.each(parts, passages, self._compute)

    def _compute(self, passages: Sequence[Passage], note: Note) -> list[np.ndarray]:
        new = sorted({w for p in passages for w in p.words} - self._of_word.keys())
        self._of_word.update(zip(new, self._vectors(new, None), strict=True))
        texts = [_stretch(p) for p in passages]
        return [
            np.array([_cosine(self._of_word[w], vector) for w in p.words])
            for p, vector in zip(passages, self._vectors(texts, note), strict=True)
        ]

    def _vectors(self, texts: Sequence[str], note: Note | None) -> list[np.ndarray]:
        """The mean of the last states of each text's own pieces; 0 if it has none."""
        encoded = self.encoder.pieces.backend.encode_batch(
            list(texts), add_special_tokens=False
        )
        return self.encoder.means([np.array(e.ids, np.int32) for e in encoded], note)


def _stretch(passage: Passage) -> str:
    """The characters of a window."""
    if passage.spans is None:
        return " ".join(passage.words)
    if not len(passage.spans):
        return ""
    return passage.text[passage.spans[:, 0].min() : passage.spans[:, 1].max()]


def _cosine(a: Float[np.ndarray, " d"], b: Float[np.ndarray, " d"]) -> float:
    """The cosine of two vectors, at least 0; 0 where one of them is 0."""
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return max(float(a @ b) / length, 0.0) if length else 0.0
