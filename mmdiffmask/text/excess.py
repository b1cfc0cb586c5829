"""Excess loss of words: what the start loses at each one, less what a reference does.

The idea is RHO-1's (Lin et al. 2024, arXiv 2404.07965): a word is worth learning where
the model does not know it and a reference shows that it can be learnt. Departs: a
word's loss is that of a masked language model at it, hidden, where RHO-1's models
predict the next token; the start stands for the model in training, so that masks stay
static; words are drawn in proportion, where RHO-1 learns from the top share of tokens.
"""

import dataclasses
import logging
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int

from mmdiffmask import seeds
from mmdiffmask.data import texts as corpora
from mmdiffmask.data import tokenizer_files, word_pieces
from mmdiffmask.masking.text_scores import Passage
from mmdiffmask.models.bert import losses, states
from mmdiffmask.text import encoders, kept

PASSES = 5  # over a window, each with a fifth of its words hidden
SEED = 0  # of what a pass hides: masks of all seeds go by the same losses
AT_ONCE = 256  # windows whose passes are read at once
HEAD = "mlm"


@dataclasses.dataclass(frozen=True, eq=False)
class Losses:
    """(passages) -> the loss of each word where it is hidden, the mean over its pieces.

    A word is hidden once, as a whole ([MASK] for each piece), by the pass that
    `pass_of_word` says, which shows all that it does not hide. The mean, not the sum:
    the budget of a mask counts pieces, and a word of many is to weigh no more for that.

    Attributes:
      encoder: with an MLM head.
      tokenizer: fingerprint of the one that masks are of.
    """

    encoder: encoders.Encoder
    tokenizer: str

    def __call__(self, passages: Sequence[Passage]) -> list[np.ndarray]:
        """Of each word of each passage.

        Raises:
          ValueError: if a passage is too long for the encoder.
        """
        name, known = "losses of hidden words", self.encoder.pieces.fingerprint
        parts = [name, f"{PASSES} passes, seed {SEED}", self.encoder.fingerprint, known]
        return kept.each([*parts, self.tokenizer], passages, self._compute)

    def read(self, passage: Passage) -> tuple[encoders.Reading, Int[np.ndarray, " m"]]:
        """The pieces that the encoder reads, and which pass hides each; -1: none."""
        reading = encoders.read(self.encoder, passage, self.tokenizer)
        word = passage.word_of_piece
        if reading.spans is not None:
            word = word_pieces.units_of_pieces(_spans_of_words(passage), reading.spans)
        return reading, np.append(pass_of_word(passage), -1)[word]  # -1 takes the last

    def _compute(
        self, passages: Sequence[Passage], note: encoders.Note
    ) -> list[np.ndarray]:
        result = []
        for first in range(0, len(passages), AT_ONCE):
            some = passages[first : first + AT_ONCE]
            result += self._of(some)
            note(len(some))
        return result

    def _of(self, passages: Sequence[Passage]) -> list[np.ndarray]:
        """The losses of some passages, all passes over which are read together."""
        encoder, pieces = self.encoder, self.encoder.pieces
        mask, ends = pieces.require_mask(), (len(pieces.before), len(pieces.after))
        read = [self.read(passage) for passage in passages]
        place, shown, labels = [], [], []
        for i, (reading, of_piece) in enumerate(read):
            whole = encoder.opened(reading.ids)
            of_whole = np.pad(of_piece, ends, constant_values=-1)
            for number in _passes(of_piece):
                is_hidden = of_whole == number
                place.append(i)
                shown.append(np.where(is_hidden, mask, whole))
                labels.append(np.where(is_hidden, whole, losses.IGNORED))
        values = [np.zeros(len(reading.ids)) for reading, _ in read]
        of_pass = states.mlm_losses(encoder.checkpoint, shown, labels)
        for i, value in zip(place, of_pass, strict=True):
            values[i] += encoder.inner(value)  # 0 but for what this pass hides
        result = []
        for passage, (reading, of_piece), value in zip(
            passages, read, values, strict=True
        ):
            counts = _is_of_word(passage, reading) & (of_piece >= 0)
            result.append(counts @ value / np.maximum(counts.sum(1), 1))
        return result


def pass_of_word(passage: Passage) -> Int[np.ndarray, " w"]:
    """Which pass hides each word, from 0: words are dealt out, shuffled by their text.

    So each pass hides a fifth of the words, but for a rest; of fewer than `PASSES`
    words each is hidden alone. No other text and no seed of masks enters it.
    """
    key = corpora.window_hash(passage.text, passage.number)
    order = seeds.generator(SEED, int(key)).permutation(len(passage.words))
    return order % PASSES


def _passes(of_piece: Int[np.ndarray, " m"]) -> list[int]:
    """The passes that hide something."""
    return np.unique(of_piece[of_piece >= 0]).tolist()


def _is_of_word(passage: Passage, reading: encoders.Reading) -> Bool[np.ndarray, "w m"]:
    """Whether each word has a character of each piece that the encoder reads."""
    if reading.spans is None:
        return passage.word_of_piece == np.arange(len(passage.words))[:, None]
    word, piece = _spans_of_words(passage), reading.spans
    return (piece[:, 0] < word[:, 1:]) & (word[:, :1] < piece[:, 1])


def _spans_of_words(passage: Passage) -> Int[np.ndarray, "w 2"]:
    """The first character and the end of each word, by the passage's pieces."""
    is_word = passage.word_of_piece >= 0
    word, spans = passage.word_of_piece[is_word], passage.spans[is_word]
    result = np.zeros((len(passage.words), 2), np.int64)
    result[:, 0] = np.iinfo(np.int64).max
    np.minimum.at(result[:, 0], word, spans[:, 0])
    np.maximum.at(result[:, 1], word, spans[:, 1])
    return result


@dataclasses.dataclass(frozen=True, eq=False)
class Excess:
    """(passages) -> the start's loss at each word less the reference's, of any sign.

    Attributes:
      start: what a run starts from.
      reference: reads the same pieces, with the same words hidden.
    """

    start: Losses
    reference: Losses

    def __call__(self, passages: Sequence[Passage]) -> list[np.ndarray]:
        """Of each word of each passage; where none is above 0 it says so.

        Raises:
          ValueError: if a passage is too long for one of the two.
        """
        pairs = zip(self.start(passages), self.reference(passages), strict=True)
        values = [start - reference for start, reference in pairs]
        if not any((value > 0).any() for value in values):
            logging.warning(
                "the reference knows no word of %d windows better than the start, so"
                " words are hidden there at random",
                len(values),
            )
        return values

    def readings(self, passages: Sequence[Passage]) -> int:
        """How many readings of a window that takes, of both models together."""
        return 2 * sum(len(_passes(self.start.read(p)[1])) for p in passages)


def load(encoder: encoders.Encoder, name: str | None, tokenizer: str) -> Excess:
    """What scores words.

    Args:
      encoder: the start.
      name: of the reference, as `encoders.load` takes it.
      tokenizer: fingerprint of the one that masks are of.

    Raises:
      ValueError: as `reference`, or if the start has no MLM head.
    """
    other = reference(name, encoder.pieces)
    if HEAD not in encoder.checkpoint.params:
        raise ValueError(
            f"the encoder {encoder.pieces.name} has no MLM head, so its loss at hidden"
            " words is not known; name a masked language model, or a run of"
            " mmdiffmask pretrain, with --encoder"
        )
    return Excess(Losses(encoder, tokenizer), Losses(other, tokenizer))


def reference(name: str | None, pieces: tokenizer_files.Pieces) -> encoders.Encoder:
    """The reference, which reads texts by the pieces of the start.

    Args:
      name: as of `load`.
      pieces: the start's tokenizer.

    Raises:
      ValueError: if there is none, it has another vocabulary or no MLM head, or the
        tokenizer has no mask.
    """
    if name is None:
        raise ValueError(
            "excess loss needs a reference: name a masked language model's folder, or"
            " that of a finished run of texts, with --reference (of a run:"
            " masking.reference)"
        )
    encoder = encoders.load(name)
    if encoder.pieces.backend.get_vocab() != pieces.backend.get_vocab():
        raise ValueError(
            f"the reference {name} has another vocabulary than {pieces.name}, so their"
            " losses do not compare; name one of the start's own pieces"
        )
    if HEAD not in encoder.checkpoint.params:
        raise ValueError(
            f"the reference {name} has no MLM head, so its loss at hidden words is not"
            " known; name a masked language model, or a run of mmdiffmask pretrain"
        )
    if pieces.mask is None:
        raise ValueError(
            f"tokenizer {pieces.name}: has no mask token, behind which excess loss"
            " hides words; name a masked language model's"
        )
    return dataclasses.replace(encoder, pieces=pieces)
