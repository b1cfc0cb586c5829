"""Labelled texts, and a linear classifier of them on an encoder's frozen features."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mmdiffmask import softmax
from mmdiffmask.data import texts as corpora
from mmdiffmask.masking.text_scores import Passage
from mmdiffmask.text import encoders, kept


class Example(NamedTuple):
    """A text, as the encoder's pieces of it, with one of its labels."""

    passage: Passage
    label: int


@dataclasses.dataclass(frozen=True, eq=False)
class Classifier:
    """(pieces of a text) -> how likely each label is.

    Attributes:
      encoder: reads the texts; its features are frozen.
      examples: distinct pairs of text and label, by a hash of the text.
      labels: their names.
    """

    encoder: encoders.Encoder
    examples: Sequence[Example]
    labels: Sequence[str]

    @functools.cached_property
    def key(self) -> tuple[str, str]:
        """What it depends on."""
        rows = [f"{e.passage.text}\n{self.labels[e.label]}" for e in self.examples]
        return self.encoder.fingerprint, corpora.content_id("\n\n".join(rows))

    @functools.cached_property
    def labels_of_text(self) -> Mapping[str, list[int]]:
        """The labels of each text, by its `content_id`."""
        result: dict[str, list[int]] = {}
        for example in self.examples:
            key = corpora.content_id(example.passage.text)
            result.setdefault(key, []).append(example.label)
        return result

    @functools.cached_property
    def _features(self) -> Float[np.ndarray, "e d"]:
        passages = [example.passage for example in self.examples]
        values = kept.each(
            ["features", self.encoder.fingerprint],
            passages,
            lambda some, note: self.encoder.means([p.ids for p in some], note),
        )
        return np.stack(values)

    @functools.cached_property
    def _target(self) -> Int[np.ndarray, " e"]:
        return np.array([example.label for example in self.examples])

    @functools.cached_property
    def _head(self) -> softmax.Standardised:
        return softmax.fit_weighted(
            self._features, self._target, [1.0] * len(self.labels)
        )

    @functools.cached_property
    def right(self) -> list[Example]:
        """The examples that it tells rightly, in their order."""
        best = self._head.probabilities(self._features).argmax(1)
        return [self.examples[i] for i in np.flatnonzero(best == self._target)]

    def probabilities(
        self, ids: Sequence[np.ndarray], note: encoders.Note | None = None
    ) -> Float[np.ndarray, "e c"]:
        """Of each label, given these pieces alone.

        Args:
          ids: of each text, without those that open and close it.
          note: as of `states.encode`.
        """
        if not len(ids):
            return np.zeros((0, len(self.labels)))
        return self._head.probabilities(np.stack(self.encoder.means(ids, note)))


def load(
    texts: corpora.Texts, label_field: str, encoder: encoders.Encoder
) -> Classifier:
    """The classifier of some labelled texts.

    Args:
      texts: with their labels; those without one are left out.
      label_field: where the labels stand, for messages.
      encoder: reads them; what is too long for it is cut.

    Raises:
      ValueError: if there are fewer than two labels.
    """
    pairs = {(t.text, t.label) for t in texts if t.label is not None}
    labels = sorted({label for _, label in pairs})
    if len(labels) < 2:
        raise ValueError(
            f"{', '.join(texts.paths)}: {len(labels)} labels in the field"
            f" {label_field!r}; this method needs two: name labelled files with"
            " --labelled, the field with --label-field"
        )
    ordered = sorted(pairs, key=lambda pair: (corpora.content_id(pair[0]), pair[1]))
    windows = encoder.pieces.windows(
        [text for text, _ in ordered], encoder.checkpoint.settings.longest
    )
    examples = [
        Example(
            Passage(text, 0, w.ids, w.unit_of_piece, w.words, w.spans),
            labels.index(label),
        )
        for (text, label), of_text in zip(ordered, windows, strict=True)
        for w in of_text[:1]
    ]
    return Classifier(encoder, examples, labels)
