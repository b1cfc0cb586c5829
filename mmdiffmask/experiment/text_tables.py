"""What tables of texts show beside scores: words that masks hide, and anchors."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from mmdiffmask.contrasts import F1
from mmdiffmask.experiment.result_file import Result
from mmdiffmask.masking import published_texts, text_strategies
from mmdiffmask.masking.text_summary import TextMaskSummary
from mmdiffmask.probe import finished


@dataclasses.dataclass(frozen=True)
class HiddenWords:
    """What a row's masks of texts hide, means over its seeds.

    Attributes:
      share: of all pieces that is hidden.
      in_words: share of it that is of words.
      cut: share of the words touched that are hidden in part.
      of_class: class of words -> share of the words hidden whole.
      lift: class of words -> how often one is hidden, over how often any is.
      most: the words hidden most, of the first seed, with how often each is hidden.
      windows: that were looked at.
    """

    share: float
    in_words: float
    cut: float
    of_class: dict[str, float]
    lift: dict[str, float]
    most: tuple[tuple[str, int], ...]
    windows: int


def words_of(every: Sequence[Result]) -> HiddenWords | None:
    """The words that a row hides; None where it hides none, or did not note them."""
    masks = [x.masks for x in every if isinstance(x.masks, TextMaskSummary)]
    if not masks:
        return None

    def mean(name: str) -> float:
        return statistics.fmean(getattr(one, name) for one in masks)

    def means(name: str) -> dict[str, float]:
        keys = dict.fromkeys(key for one in masks for key in getattr(one, name))
        return {
            key: statistics.fmean(getattr(one, name).get(key, 0.0) for one in masks)
            for key in keys
        }

    return HiddenWords(
        share=mean("hidden_share"),
        in_words=mean("in_words"),
        cut=mean("cut_words"),
        of_class=means("of_class"),
        lift=means("lift"),
        most=tuple((str(word), int(n)) for word, n, _ in masks[0].most),
        windows=masks[0].windows,
    )


def anchors_of(settings: Mapping[str, Any]) -> tuple[int, str]:
    """How many anchors a row asks for, and how words are compared with them."""
    named = settings["masking.anchors"]
    count = len(named) or settings["masking.anchor_count"]
    return count, settings["masking.similarity"]


def published(settings: Mapping[str, Any]) -> str:
    """What `published_texts` knows a row by; "" where it has other anchors."""
    if not finished.is_hiding(settings):
        return ""
    if settings["terms.dga"] > 0:
        return published_texts.DGA
    name = settings["masking.strategy"]
    if not text_strategies.find(name).is_anchored:
        return name
    count, similarity = anchors_of(settings)
    if count != published_texts.ANCHORS:
        return ""
    return name if similarity == "nearest" else f"{name}{published_texts.CENTROID}"


def knows_labels(settings: Mapping[str, Any]) -> bool:
    """Whether a row's masks were made with the labels of TRAIN.

    Then folds over TRAIN's rows tell nothing: their labels are in the weights.
    """
    if not finished.is_hiding(settings):
        return False
    strategy = text_strategies.find(settings["masking.strategy"])
    return bool({"importance", "gain"} & set(strategy.needs))


def is_shown(measure: str, settings: Mapping[str, Any]) -> bool:
    """Whether a row has a place in a column: masks that know labels have none in folds.

    Rows of dev and test with new texts, and the official test, stay.
    """
    label = settings["data.label_field"]
    is_of_folds = settings["probe.folds"] > 0 and measure.removesuffix(F1) == label
    return not (is_of_folds and knows_labels(settings))
