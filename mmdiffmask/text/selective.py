"""Which pieces matter for a text's label: Gu et al. (2020), and the paper's Eq. 8.

Both go by a classifier of labelled texts, and only by texts that it tells rightly.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from mmdiffmask import softmax
from mmdiffmask.data import texts as corpora
from mmdiffmask.masking.text_scores import Passage
from mmdiffmask.models.bert import states
from mmdiffmask.text import encoders, kept, labelled

THRESHOLD = 0.01  # of probability: Gu et al.
CLASS_WEIGHT = 3.0  # of pieces that matter, in the classifier of pieces: Gu et al.
TEXTS = 200  # whose pieces are tried one by one, at most
# Words whose pieces are never tried.
FUNCTION_WORDS = frozenset(
    "a about after all also an and any are as at be been before between both but by can"
    " did do does during each for from had has have he her his how i if in into is it"
    " its may more most no nor not of on or other our over same she should so some such"
    " than that the their them then there these they this those through to under until"
    " up very was we were what when where which while who will with would you"
    " your".split()
)


@dataclasses.dataclass(frozen=True, eq=False)
class Importance:
    """(passages) -> how likely each piece matters, by Gu et al.'s rule.

    The rule tries the pieces of some labelled texts; a linear classifier of pieces, on
    their last states, learns from that and marks all texts. Departs: classifiers are
    linear on frozen features, and at most `TEXTS` texts are tried.

    Attributes:
      classifier: of texts.
      tokenizer: fingerprint of the one that masks are of.
    """

    classifier: labelled.Classifier
    tokenizer: str

    def __call__(self, passages: Sequence[Passage]) -> list[np.ndarray]:
        """Of each piece of each passage, from 0 to 1.

        Raises:
          ValueError: if no text is told rightly, or a passage is too long.
        """
        parts = ["importance", *self.classifier.key, self.tokenizer]
        return kept.each(parts, passages, self._compute)

    @functools.cached_property
    def tried(self) -> list[labelled.Example]:
        """The examples whose pieces are tried.

        Raises:
          ValueError: if there is none.
        """
        _require(self.classifier.right)
        return self.classifier.right[:TEXTS]

    @property
    def passes(self) -> int:
        """How many readings of a part of a text its rule takes."""
        return sum(int(is_tried(e.passage).sum()) for e in self.tried)

    @functools.cached_property
    def marks(self) -> list[Bool[np.ndarray, " n"]]:
        """Which pieces of the examples that were tried matter."""
        passages = [example.passage for example in self.tried]
        parts = ["pieces that matter", *self.classifier.key]
        values = kept.each(parts, passages, lambda _, note: self._try(note))
        return [value > 0 for value in values]

    def _try(self, note: encoders.Note) -> list[np.ndarray]:
        """1 for pieces that matter; of all texts the same piece at a time."""
        examples, classifier = self.tried, self.classifier
        ids = [example.passage.ids for example in examples]
        label = np.array([example.label for example in examples])
        whole = classifier.probabilities(ids)[np.arange(len(ids)), label]
        may_matter = [is_tried(example.passage) for example in examples]
        read: list[list[int]] = [[] for _ in ids]  # the buffer s of each text
        result = [np.zeros(len(one), np.int8) for one in ids]
        for i in range(max(map(len, ids))):
            going = [k for k, one in enumerate(ids) if i < len(one)]
            chosen = [k for k in going if may_matter[k][i]]
            parts = [np.array([*read[k], ids[k][i]]) for k in chosen]
            likely = classifier.probabilities(parts)
            for k, row in zip(chosen, likely, strict=True):
                result[k][i] = whole[k] - row[label[k]] < THRESHOLD
            for k in going:
                if not result[k][i]:
                    read[k].append(int(ids[k][i]))
                if i == len(ids[k]) - 1:
                    note(1)
        return result

    @functools.cached_property
    def _of_pieces(self) -> softmax.Standardised:
        """The classifier of pieces."""
        encoder = self.classifier.encoder
        opened = [encoder.opened(example.passage.ids) for example in self.tried]
        encoded = states.encode(encoder.checkpoint, opened)
        target = np.concatenate(self.marks).astype(int)
        if target.min() == target.max():
            raise ValueError(
                "pieces of the labelled texts all matter alike, so there is nothing to"
                " learn; name more of them with --labelled"
            )
        features = np.concatenate([encoder.inner(state) for state in encoded])
        return softmax.fit_weighted(features, target, [1.0, CLASS_WEIGHT])

    def _compute(
        self, passages: Sequence[Passage], note: encoders.Note
    ) -> list[np.ndarray]:
        encoder = self.classifier.encoder
        readings = [encoders.read(encoder, p, self.tokenizer) for p in passages]
        opened = [encoder.opened(reading.ids) for reading in readings]
        encoded = states.encode(encoder.checkpoint, opened, note)
        likely = [
            self._of_pieces.probabilities(encoder.inner(state))[:, 1]
            for state in encoded
        ]
        return [
            encoders.averaged(*row)
            for row in zip(likely, readings, passages, strict=True)
        ]


def _require(right: Sequence[labelled.Example]) -> None:
    if not right:
        raise ValueError(
            "the classifier tells no labelled text rightly, so no piece matters for a"
            " label"
        )


def is_tried(passage: Passage) -> Bool[np.ndarray, " n"]:
    """Whether each piece is of a word that may matter."""
    may_matter = [word not in FUNCTION_WORDS for word in passage.words]
    return np.array([*may_matter, False])[passage.word_of_piece]  # -1 takes the last


@dataclasses.dataclass(frozen=True, eq=False)
class Gain:
    """(passages) -> P(label | text) - P(label | text up to the piece), at least 0.

    Paper: Eq. 8. 0 for texts without a label, or that the classifier tells wrongly; the
    mean over its labels where a text has several.

    Attributes:
      classifier: of texts.
      tokenizer: fingerprint of the one that masks are of.
    """

    classifier: labelled.Classifier
    tokenizer: str

    def __call__(self, passages: Sequence[Passage]) -> list[np.ndarray]:
        """Of each piece of each passage.

        Raises:
          ValueError: if no text is told rightly, or a passage is too long.
        """
        _require(self.classifier.right)
        parts = ["gain", *self.classifier.key, self.tokenizer]
        return kept.each(parts, passages, self._compute)

    def _compute(
        self, passages: Sequence[Passage], note: encoders.Note
    ) -> list[np.ndarray]:
        result = []
        for passage in passages:
            labels = self.classifier.labels_of_text.get(
                corpora.content_id(passage.text), ()
            )
            result.append(self._of(passage, labels))
            note(1)
        return result

    @property
    def passes(self) -> int:
        """How many readings of a part of a text all labelled texts take."""
        return sum(len(example.passage.ids) for example in self.classifier.right)

    def _of(self, passage: Passage, labels: Sequence[int]) -> np.ndarray:
        reading = encoders.read(self.classifier.encoder, passage, self.tokenizer)
        size = len(reading.ids)
        gains = np.zeros(size)
        if labels:
            whole = self.classifier.probabilities([reading.ids])[0]
            right = [label for label in labels if label == whole.argmax()]
            if right:
                parts = [reading.ids[: i + 1] for i in range(size)]
                likely = self.classifier.probabilities(parts)[:, right[0]]
                gains = np.maximum(whole[right[0]] - likely, 0.0) / len(labels)
        return encoders.averaged(gains, reading, passage)
