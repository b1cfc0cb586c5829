"""What masks of texts hide: words by class, whole or cut, and the words hidden most."""

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

MOST = 15  # words of the list, as many as the paper's Figure 3 has for a corpus


class Hidden(NamedTuple):
    """A mask of a window.

    Attributes:
      words: of the window, in lower case.
      word_of_piece: place of each piece's word among them; -1 = of none.
      is_masked: which pieces are hidden.
    """

    words: Sequence[str]
    word_of_piece: Int[np.ndarray, " n"]
    is_masked: Bool[np.ndarray, " n"]


@dataclasses.dataclass(frozen=True)
class TextMaskSummary:
    """What a run's masks were made of.

    Attributes:
      windows: how many were looked at.
      hidden_share: of all pieces that is hidden.
      in_words: share of what is hidden that is of words, not punctuation.
      cut_words: share of the words touched that are hidden in part.
      of_class: class of words -> its share of the words that are hidden whole.
      lift: class of words -> how often one of it is hidden, over how often any is.
      most: the words hidden most but for those of `left_out`: word, how often it is
        hidden, how often it stands there.
      anchors: that the masks go by; ().
    """

    windows: int
    hidden_share: float
    in_words: float
    cut_words: float
    of_class: Mapping[str, float]
    lift: Mapping[str, float]
    most: Sequence[Sequence[str | int]]
    anchors: Sequence[str] = ()


def summarise(
    masks: Iterable[Hidden],
    class_of_word: Mapping[str, str],
    left_out: Sequence[str],
    anchors: Sequence[str] = (),
) -> TextMaskSummary:
    """Counts what masks were made of.

    Args:
      masks: of the windows.
      class_of_word: of every word in them.
      left_out: classes that the list of words leaves out, as Figure 3's does.
      anchors: that the masks go by.
    """
    stands: collections.Counter[str] = collections.Counter()
    hidden: collections.Counter[str] = collections.Counter()
    windows = pieces = masked = in_words = touched = 0
    for words, word_of_piece, is_masked in masks:
        is_of_word = word_of_piece >= 0
        size = np.bincount(word_of_piece[is_of_word], minlength=len(words))
        gone = np.bincount(word_of_piece[is_of_word & is_masked], minlength=len(words))
        stands.update(words)
        whole = (gone == size) & (size > 0)
        hidden.update(words[i] for i in np.flatnonzero(whole))
        windows, pieces = windows + 1, pieces + len(is_masked)
        masked, in_words = masked + int(is_masked.sum()), in_words + int(gone.sum())
        touched += int((gone > 0).sum())
    classes = list(dict.fromkeys(class_of_word.values()))
    every, total = max(stands.total(), 1), max(hidden.total(), 1)
    of_class, of_all = (
        {
            name: sum(n for word, n in counts.items() if class_of_word[word] == name)
            for name in classes
        }
        for counts in (hidden, stands)
    )
    listed = [word for word in hidden if class_of_word[word] not in left_out]
    most = sorted(listed, key=lambda word: (-hidden[word], word))[:MOST]
    share = total / every
    return TextMaskSummary(
        windows=windows,
        hidden_share=masked / max(pieces, 1),
        in_words=in_words / max(masked, 1),
        cut_words=1.0 - hidden.total() / max(touched, 1),
        of_class={name: n / total for name, n in of_class.items()},
        lift={name: of_class[name] / n / share for name, n in of_all.items() if n},
        most=[[word, hidden[word], stands[word]] for word in most],
        anchors=list(anchors),
    )
