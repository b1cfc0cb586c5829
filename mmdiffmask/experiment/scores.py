"""The scores of a run's result, one by one: of labels, questions and their kinds."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mmdiffmask import statistics
from mmdiffmask.contrasts import F1
from mmdiffmask.experiment.result_file import Result
from mmdiffmask.probe import further, results, table, text_scores
from mmdiffmask.training.read_outs import clips

HEAD, NEAR = "head", "near"  # by a linear head, by the nearest neighbours


@dataclasses.dataclass(frozen=True)
class RunScore:
    """What a run got on a measure.

    Attributes:
      measure: a label, a read-out of questions, or a kind of these ("match/who").
      read_out: the features that a label was read from; "" of questions.
      rule: HEAD, NEAR, or what was different ("1 % of labels", a floor).
      accuracy: with its interval over clips.
      count: clips or questions that were scored.
      log_probability: mean of the right one's, in nats; None where there is none.
      is_main: whether tables show it.
      is_further: whether they show it among the further scores.
    """

    measure: str
    read_out: str
    rule: str
    accuracy: statistics.Score
    count: int
    log_probability: float | None = None
    is_main: bool = True
    is_further: bool = False


def of_result(result: Result) -> list[RunScore]:
    """Every score of a run."""
    scores: list[RunScore] = []
    for name, label in result.probe.labels.items():
        if label.texts is not None:
            scores += _of_texts(name, label, result.probe.key.probe["bootstrap"])
            continue
        if label.inside is not None:
            scores += map(_shown, further.of_sides(name, label.inside))
        for place, read_out in enumerate(clips.ordered(label.heads)):
            scores += _of_head(name, read_out, label.heads[read_out], place == 0)
    if result.probe.questions is not None:
        scores += _of_questions(result.probe.questions, result.probe.key.probe)
    return scores


def _of_head(
    label: str, read_out: str, head: results.LabelHead, is_main: bool
) -> list[RunScore]:
    linear, near = (
        statistics.accuracy(np.array(hits, float))
        for hits in (head.is_right, head.is_right_knn)
    )
    mean = results.mean_log(head.log_probability)
    return [
        RunScore(label, read_out, HEAD, linear, linear.n, mean, is_main),
        RunScore(label, read_out, NEAR, near, near.n, is_main=False),
        *(_shown(x, is_main) for x in further.of_few(label, read_out, head)),
    ]


def _of_texts(name: str, label: results.Label, resamples: int) -> list[RunScore]:
    """Macro F1 and accuracy of all rows and of each part; fewer labels behind."""
    scores: list[RunScore] = []
    parts = text_scores.parts_of(name, label)
    for place, read_out in enumerate(clips.ordered(label.heads)):
        head, is_main = label.heads[read_out], place == 0
        logs = np.array(head.log_probability or [None] * len(label.clips), float)
        values = text_scores.of_choice(
            name, label, head.predicted, resamples if is_main else 0
        )
        for measure, score in values.items():
            is_taken = parts[measure.removesuffix(F1)]
            known = logs[is_taken & ~np.isnan(logs)]
            log = float(known.mean()) if len(known) and measure in parts else None
            one = RunScore(measure, read_out, HEAD, score, int(is_taken.sum()), log)
            scores.append(dataclasses.replace(one, is_main=is_main))
        scores += _few_of_texts(name, read_out, head) if is_main else []
    return scores


def _few_of_texts(name: str, read_out: str, head: results.LabelHead) -> list[RunScore]:
    shown = [_shown(one) for one in further.of_few(name, read_out, head)]
    for rule, value, count in text_scores.of_few(head):
        score = statistics.Score(value, value, value, count)
        one = further.Further(f"{name}{F1}", read_out, rule, score, count)
        shown.append(_shown(one))
    return shown


def _shown(one: further.Further, is_further: bool = True) -> RunScore:
    return RunScore(
        one.measure,
        one.read_out,
        one.rule,
        one.accuracy,
        one.count,
        one.log_probability,
        is_main=False,
        is_further=is_further,
    )


def _of_questions(questions: results.Questions, probe: dict) -> list[RunScore]:
    kinds = np.array(questions.kinds)
    groups = {"": np.ones(len(kinds), bool)}
    if len(set(kinds)) > 1:
        groups |= {f"/{name}": kinds == name for name in dict.fromkeys(kinds) if name}
    scores = []
    for read_out, entry in questions.read_outs.items():
        for suffix, is_kind in groups.items():
            accuracy = table.by_clip(
                entry.is_right, questions.clips, is_kind, probe["bootstrap"]
            )
            logs = _some(entry.log_probability, is_kind)
            scores.append(
                RunScore(
                    f"{read_out}{suffix}",
                    "",
                    HEAD,
                    accuracy,
                    int(is_kind.sum()),
                    results.mean_log(logs),
                    is_main=not suffix,
                )
            )
        scores += map(_shown, further.of_few(read_out, "", entry))
    return scores + _beside(questions, probe["bootstrap"])


def _beside(questions: results.Questions, resamples: int) -> list[RunScore]:
    """Floors, single streams, and where wrong candidates are right ones elsewhere."""
    floors = [
        _shown(further.scored(read_out, name, entry, questions, resamples), False)
        for read_out, entries in questions.floors.items()
        for name, entry in entries.items()
    ]
    return [*floors, *map(_shown, further.of_questions(questions, resamples))]


def sides(result: Result) -> dict[str, statistics.Difference]:
    """Label -> what cells inside boxes tell more than as many outside.

    Labels without boxes, or of a run that was not asked, are left out.
    """
    resamples = result.probe.key.probe["bootstrap"]
    return {
        name: table.inside_minus_outside(label.inside, resamples)
        for name, label in result.probe.labels.items()
        if label.inside is not None
    }


def _some(logs: results.LogProbability, is_kind: np.ndarray) -> Sequence[float | None]:
    return [logs[i] for i in np.flatnonzero(is_kind)] if logs else ()
