"""The content of probe.json as lines to read: accuracies, intervals, floors."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool

from mmdiffmask import statistics
from mmdiffmask.probe import fewer, results, text_scores

BOOTSTRAP_SEED = 0
DISTRACTED = "among right answers of other questions"


def lines(probed: results.Probed) -> str:
    """Every read-out: accuracy, interval, what needs less than it."""
    shown = [
        f"after {probed.step} steps; accuracy in % with its 95 % interval, mean"
        " log-probability of the right one in nats"
    ]
    if n_folds := probed.key.probe.get("folds"):
        shown.append(
            f"heads of each of {n_folds} folds of the held-out clips are fitted on the"
            " others"
        )
    for label, entry in probed.labels.items():
        if entry.texts is not None:
            shown += _of_texts(label, entry, probed.key.probe["bootstrap"])
            continue
        for read_out, head in entry.heads.items():
            score = statistics.accuracy(np.array(head.is_right, float))
            shown.append(
                f"{label:10} {read_out:6} {100 * score.value:5.1f}"
                f" {_interval(score)}{_log(head.log_probability)}"
                f"  chance {100 * entry.floors.chance:.1f}"
                f"  largest class {100 * entry.floors.largest_class:.1f}"
                f"  {score.n} clips"
            )
        if entry.unknown:
            shown.append(lacking(label, entry.unknown, len(entry.clips)))
    shown += probed.left_out.values()
    if probed.questions is not None:
        shown += _question_lines(probed.questions, probed.key.probe["bootstrap"])
    return "\n".join(shown + further(probed))


def _of_texts(label: str, entry: results.Label, resamples: int) -> list[str]:
    """Accuracy and macro F1 of every read-out and floor, over groups of texts."""
    shown = []
    for read_out, head in entry.heads.items():
        scores = text_scores.of_choice(label, entry, head.predicted, resamples)
        shown += [
            f"{measure:26} {read_out:6} {100 * score.value:5.1f} {_interval(score)}"
            f"{_log(head.log_probability) if measure == label else ''}"
            f"  {score.n} distinct texts"
            for measure, score in scores.items()
        ]
    for measure, floors in text_scores.floors(label, entry).items():
        values = [f"{floor} {100 * value:.1f}" for floor, value in floors.items()]
        shown.append(f"{measure:26} floors {'; '.join(values)}")
    return shown


def further(probed: results.Probed) -> list[str]:
    """What settings ask for beside accuracies on all labels of the whole clip."""
    shown: list[str] = []
    for label, entry in probed.labels.items():
        shown += fewer.lines({f"{label} {n}": h.few for n, h in entry.heads.items()})
        if entry.inside is not None:
            shown.append(_sides(label, entry.inside, probed.key.probe["bootstrap"]))
    questions = probed.questions
    for read_out, scores in questions.read_outs.items() if questions else ():
        resamples = probed.key.probe.get("bootstrap", 0)
        second = questions.right_distractors.get(read_out, {})
        shown += [
            _line(read_out, f"{DISTRACTED}, {name}", its, questions, resamples)
            for name, its in second.items()
        ]
        shown += _stream_lines(read_out, questions, resamples)
        shown += fewer.lines({read_out: scores.few})
    return shown


def _sides(label: str, sides: results.Inside, resamples: int) -> str:
    """Cells inside boxes against as many outside, and their difference."""
    heads = (sides.inside, sides.outside)
    values = [f"{100 * np.mean(head.is_right):.1f}" for head in heads]
    difference = inside_minus_outside(sides, resamples)
    ends = "no interval: one clip or no spread"
    if difference.has_interval:
        ends = (
            f"95 % interval {100 * difference.low:+.1f} to {100 * difference.high:+.1f}"
        )
    return (
        f"{label:10} inside boxes {values[0]}{_log(sides.inside.log_probability)}, as"
        f" many cells outside {values[1]}{_log(sides.outside.log_probability)}:"
        f" difference {100 * difference.value:+.1f} ({ends}; one of"
        f" {100 * difference.smallest:.1f} would have been seen)  {difference.n} clips"
    )


def inside_minus_outside(
    sides: results.Inside, resamples: int
) -> statistics.Difference:
    """What cells inside boxes tell more than as many outside, on the same clips."""
    hits = [np.array(head.is_right, float) for head in (sides.inside, sides.outside)]
    return statistics.difference(*hits, BOOTSTRAP_SEED, resamples)


def lacking(label: str, unknown: Mapping[str, int], clips: int) -> str:
    """Says which clips of val no head can name."""
    count = sum(unknown.values())
    names = ", ".join(sorted(unknown))
    return (
        f"{label}: {count} of {clips} clips of val are of classes that train lacks"
        f" ({names}): none of them can be named rightly"
    )


def _interval(score: statistics.Score) -> str:
    if not score.has_interval:
        return "[no interval: one clip or no spread]"
    return f"[{100 * score.low:.1f}, {100 * score.high:.1f}]"


def _log(logs: results.LogProbability) -> str:
    """Their mean; "" where there is none, as of a probe of a version before."""
    mean = results.mean_log(logs)
    return "" if mean is None else f"  log-p {mean:.3f}"


def _question_lines(questions: results.Questions, resamples: int) -> list[str]:
    """`questions` of probe.json to read: accuracy, interval over clips, best floor."""
    kinds = np.array(questions.kinds)
    names = [name for name in dict.fromkeys(questions.kinds) if name]
    groups = {"all questions": np.ones(len(kinds), bool)}
    if len(names) > 1 or not (kinds == names[:1]).all():
        groups |= {name: kinds == name for name in names}
    result = []
    for read_out, entry in questions.read_outs.items():
        floors = questions.floors.get(read_out, {})
        result += _answers_only(read_out, questions, resamples)
        for name, is_kind in groups.items():
            score = by_clip(entry.is_right, questions.clips, is_kind, resamples)
            best = {
                floor: float(np.mean(np.array(scores.is_right)[is_kind]))
                for floor, scores in floors.items()
            } | {"chance": questions.chance}
            floor = max(best, key=lambda name, best=best: best[name])
            # Empty where a version before noted none.
            pairs = zip(entry.log_probability, is_kind, strict=False)
            logs = [value for value, is_taken in pairs if is_taken]
            result.append(
                f"{read_out:10} {name:14} {100 * score.value:5.1f}"
                f" {_interval(score)}{_log(logs)}"
                f"  best floor {100 * best[floor]:.1f} ({floor})"
                f"  {int(is_kind.sum())} questions of {score.n}"
                f" clip{'' if score.n == 1 else 's'}"
            )
    return result


def _answers_only(
    read_out: str, questions: results.Questions, resamples: int
) -> list[str]:
    """The floor that data sets are to be read beside: no question, no clip."""
    entry = questions.floors.get(read_out, {}).get(results.ANSWERS_ONLY)
    if entry is None:
        return []
    return [_line(read_out, results.ANSWERS_ONLY, entry, questions, resamples)]


def _line(
    read_out: str,
    name: str,
    scores: results.Scores,
    questions: results.Questions,
    resamples: int,
) -> str:
    """A score over all questions."""
    everything = np.ones(len(questions.kinds), bool)
    score = by_clip(scores.is_right, questions.clips, everything, resamples)
    return (
        f"{read_out:10} {name:14} {100 * score.value:5.1f}"
        f" {_interval(score)}{_log(scores.log_probability)}"
    )


def _stream_lines(
    read_out: str, questions: results.Questions, resamples: int
) -> list[str]:
    """One stream alone, over all questions."""
    shown = []
    for name, entry in questions.streams.get(read_out, {}).items():
        shown.append(_line(read_out, f"{name} alone", entry, questions, resamples))
        shown += fewer.lines({f"{read_out} {name}": entry.few})
    return shown


def by_clip(
    is_right: Sequence[int | float],
    clips: Sequence[str],
    is_kind: Bool[np.ndarray, " e"],
    resamples: int,
) -> statistics.Score:
    """Share of right questions; the 95 % interval is over clips, a bootstrap.

    Questions of one clip share its frames, so clips are drawn, not questions. Where
    all questions are right, or none, resampling shows no spread: Wilson's interval
    for so many clips then. `n` counts clips.
    """
    right = np.array(is_right)[is_kind]
    _, clip = np.unique(np.array(clips)[is_kind], return_inverse=True)
    count = np.bincount(clip)
    hits = np.bincount(clip, weights=right)
    score = statistics.ratio(hits, count, BOOTSTRAP_SEED, resamples)
    if 0 < right.sum() < len(right):
        return score
    low, high = statistics.wilson(len(count) if right.all() else 0, len(count))
    return statistics.Score(score.value, low, high, len(count))
