"""Right answers in the text of continued pretraining: told wherever they are used."""

import logging
from collections.abc import Iterable
from typing import Any

from mmdiffmask import config

SENTENCE = (
    "training.gold_answer=true: continued pretraining reads the right answers of"
    " training questions (label leakage), so accuracies on questions show no learning"
    " from unlabelled video"
)


def check(experiment: config.Experiment, entries: Iterable[Any]) -> None:
    """Warns of a run that trains with right answers before its eyes.

    Args:
      experiment: its settings.
      entries: of the clips that are trained on.

    Raises:
      ValueError: if none of them has a right answer, so that nothing is shown.
    """
    if not is_leaking(experiment):
        return
    if not any(entry.answer_index >= 0 for entry in entries):
        raise ValueError(
            "training.gold_answer=true: no training record has a right answer; leave it"
            " out"
        )
    logging.warning(SENTENCE)


def is_leaking(experiment: config.Experiment) -> bool:
    """Whether a run reads right answers; one that hides nothing reads no text."""
    return experiment.training.gold_answer and experiment.is_hiding
