"""The scores of a label: of each read-out, with fewer labels, of rows of texts."""

import dataclasses
from collections.abc import Sequence

from mmdiffmask import statistics

Hits = Sequence[int | float]  # 1 = right, 0 = wrong, a tie as its share (`ties.hits`)
# Natural logarithm of the probability of the right one, as `ties.log_probability`; None
# where there is none, as no head can name a class that it was not fitted on.
LogProbability = Sequence[float | None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Few:
    """What heads that saw a fraction of the labels reach, on all that is scored.

    Attributes:
      fraction: of the labels.
      draw: number of the draw.
      labels: how many it is; with folds, of all of them together.
      accuracy: share of what is right.
      log_probability: mean of the right one's; None where there is none.
      macro_f1: of texts; None elsewhere.
    """

    fraction: float
    draw: int
    labels: int
    accuracy: float
    log_probability: float | None = None
    macro_f1: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelHead:
    """One label from one kind of features.

    Attributes:
      l2: penalty of the linear head, chosen on dev; None with folds.
      l2_of_fold: with folds, the penalty that the others chose for each.
      dev_loss: penalty, as text -> its loss on dev, or the loss that folds chose by.
      is_right: per clip of val, by the linear head.
      is_right_knn: by the nearest neighbours.
      log_probability: per clip of val, by the linear head; empty where a version
        before did not note it.
      few: with fewer labels (`probe.fractions`).
      predicted: of texts, number of the class that the linear head names for each.
    """

    l2: float | None = None
    l2_of_fold: Sequence[float] = ()
    dev_loss: dict[str, float] = dataclasses.field(default_factory=dict)
    is_right: Hits
    is_right_knn: Hits
    log_probability: LogProbability = ()
    few: Sequence[Few] = ()
    predicted: Sequence[int] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inside:
    """What cells inside boxes tell of a label, and as many outside.

    Attributes:
      inside: scores of clips whose other cells are blank.
      outside: likewise.
      clips: those of train and val that have the label and cells on both sides.
    """

    inside: LabelHead
    outside: LabelHead
    clips: Sequence[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class OfTexts:
    """What is known of the rows of a label, beside their answers.

    Attributes:
      classes: their names; a class is known by its number among them.
      target: class of each row.
      groups: of each row; those of the same text, signs around entities left out, are
        one, and what is known of one row is known of all.
      floors: name of what needs no encoder -> the class that it names for each row.
      parts: name of a part of the rows -> 1 of each row in it.
    """

    classes: Sequence[str]
    target: Sequence[int]
    groups: Sequence[str]
    floors: dict[str, Sequence[int]] = dataclasses.field(default_factory=dict)
    parts: dict[str, Sequence[int]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Label:
    """The read-outs of one label.

    In the file the heads stand beside the other fields, each by its name.

    Attributes:
      heads: read-out -> its head and scores.
      floors: what needs no features.
      unknown: class that train lacks -> how many clips of val are of it.
      clips: the clips of val that have the label, in the order of the hits.
      inside: of `probe.inside_boxes`; None where that was not asked for.
      texts: of texts, whose rows `clips` then names; None of clips.
    """

    heads: dict[str, LabelHead]
    floors: statistics.Floors
    unknown: dict[str, int] = dataclasses.field(default_factory=dict)
    clips: Sequence[str]
    inside: Inside | None = None
    texts: OfTexts | None = None
