"""What a row costs: processor seconds, and what its strategy needs beforehand."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from mmdiffmask.experiment.result_file import Result
from mmdiffmask.masking import strategies, text_strategies
from mmdiffmask.probe import finished

# What strategies of texts need (`text_strategies.Need`) -> what that takes.
PASSES = {
    "anchors": "one of MiniLM over every word of the corpus, kept on the machine",
    "counts": "none: words are counted",
    "attention": "one of the start over every text, kept on the machine",
    "likeness": "one of an encoder over every text and word",
    "entities": "whatever made the spans",
    "importance": "a finetuned classifier, one for every piece of every labelled text",
    "gain": "a finetuned classifier, one for every piece of every labelled text",
    "reference": "five of the start and of a reference over every text, kept on the"
    " machine, and whatever made the reference",
}

HOUR = 3600  # seconds


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a row takes.

    Attributes:
      seconds: stage -> processor seconds of a run, mean over its seeds.
      boxes: where its boxes are from; "" where it needs none.
      passes: further passes of a model that it needs; "" where it needs none.
    """

    seconds: dict[str, float]
    boxes: str
    passes: str

    @property
    def total(self) -> float:
        """Processor seconds of a run; 0 where they were not noted."""
        return sum(self.seconds.values())


def of_row(strategy: str, results: Sequence[Result]) -> Cost:
    """The cost of a row.

    Args:
      strategy: of the registry; "" where the row hides nothing.
      results: of its seeds.
    """
    stages = dict.fromkeys(stage for result in results for stage in result.seconds)
    seconds = {
        stage: statistics.fmean(result.seconds.get(stage, 0.0) for result in results)
        for stage in stages
    }
    settings = results[0].claim.settings
    if finished.is_of_texts(settings):
        known = text_strategies.REGISTRY.get(strategy)
        needs = getattr(known, "needs", ())
        return Cost(seconds, "", "; ".join(PASSES[name] for name in needs))
    known = strategies.REGISTRY.get(strategy)
    if known is None:
        return Cost(seconds, "", "")
    boxes = _boxes(known, settings, results[0].detectors)
    return Cost(seconds, boxes, _passes(known, settings))


def _boxes(
    strategy: strategies.Strategy,
    settings: Mapping[str, Any],
    detectors: Mapping[str, float],
) -> str:
    if not strategy.units.boxes:
        return ""
    kinds = " and ".join(strategy.units.boxes)
    if settings.get("data.toy.boxes") == "true":
        return f"{kinds}: as rendered, no detector"
    if not detectors:
        return f"{kinds}: a detector over all clips; records do not note its hours"
    hours = ", ".join(f"{name} {s / HOUR:.2g} h" for name, s in detectors.items())
    return f"{kinds}: detectors over all clips, once for all rows: {hours}"


def _passes(strategy: strategies.Strategy, settings: Mapping[str, Any]) -> str:
    if strategy.file is not None:
        return "whatever made the file"
    if not strategy.is_by_attention:
        return ""
    if settings["masking.attention"] == "live":
        return "none: attention of the update's own clean pass"
    return "one of the start over every clip, kept on the machine"
