"""Scores beside those on all labels of the whole clip, one by one.

With fewer labels, from one stream alone, among other wrong answers, inside boxes: what
settings of the probe ask for.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from mmdiffmask import statistics
from mmdiffmask.probe import results, table

INSIDE_MINUS_OUTSIDE = "inside minus outside"


@dataclasses.dataclass(frozen=True)
class Further:
    """One such score.

    Attributes:
      measure: a label, or a read-out of questions.
      read_out: the features that a label was read from; "" of questions.
      rule: what is different.
      accuracy: with its interval over clips; of fewer labels a point, the mean of the
        draws.
      count: clips or questions that were scored.
      log_probability: mean of the right one's, in nats; None where there is none.
      draws: accuracy of each draw of fewer labels.
      labels: with fewer labels, how many, of the draw that has most.
    """

    measure: str
    read_out: str
    rule: str
    accuracy: statistics.Score
    count: int
    log_probability: float | None = None
    draws: tuple[float, ...] = ()
    labels: int = 0


def of_few(
    measure: str, read_out: str, entry: results.LabelHead | results.Scores
) -> Iterator[Further]:
    """With a fraction of the labels: the mean of its draws."""
    count = len(entry.is_right)
    for fraction in dict.fromkeys(one.fraction for one in entry.few):
        draws = [one for one in entry.few if one.fraction == fraction]
        logs = [one.log_probability for one in draws]
        value = float(np.mean([one.accuracy for one in draws]))
        yield Further(
            measure,
            read_out,
            f"{100 * fraction:g} % of labels",
            statistics.Score(value, value, value, count),
            count,
            None if None in logs else float(np.mean(logs)),
            draws=tuple(one.accuracy for one in draws),
            labels=max(one.labels for one in draws),
        )


def of_questions(questions: results.Questions, resamples: int) -> Iterator[Further]:
    """From single streams, and where wrong candidates are right ones elsewhere."""
    groups = {
        "{} alone": questions.streams,
        f"{table.DISTRACTED}, {{}}": questions.right_distractors,
    }
    for words, group in groups.items():
        for read_out, entries in group.items():
            for name, entry in entries.items():
                rule = words.format(name)
                yield scored(read_out, rule, entry, questions, resamples)


def scored(
    read_out: str,
    rule: str,
    entry: results.Scores,
    questions: results.Questions,
    resamples: int,
) -> Further:
    """A score over all questions, its interval over clips."""
    everything = np.ones(len(questions.kinds), bool)
    return Further(
        read_out,
        "",
        rule,
        table.by_clip(entry.is_right, questions.clips, everything, resamples),
        len(questions.kinds),
        results.mean_log(entry.log_probability),
    )


def of_sides(label: str, sides: results.Inside) -> Iterator[Further]:
    """From cells inside boxes, and from as many outside."""
    heads = {"inside boxes": sides.inside, "as many cells outside": sides.outside}
    for rule, head in heads.items():
        accuracy = statistics.accuracy(np.array(head.is_right, float))
        log = results.mean_log(head.log_probability)
        yield Further(label, "", rule, accuracy, accuracy.n, log)
