"""Contrasts of rows over seeds, from what every run answered."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from mmdiffmask import contrast_statistics, statistics
from mmdiffmask.contrasts import F1, LOG, Contrast, Term, kind_of
from mmdiffmask.probe import results
from mmdiffmask.training.read_outs import clips

Runs = Mapping[str, Mapping[int, results.Probed]]  # row -> seed -> its scores


@dataclasses.dataclass(frozen=True)
class Measured:
    """A contrast with all that several seeds say of it.

    Attributes:
      name: of the contrast.
      seeds: those that every row in it has.
      reason: why it is not compared; "" where it is.
      is_counted: whether it counts in Holm's family: two or more seeds measured it.
      over_seeds: mean, interval and test; None where it is not compared.
      adjusted_p: by Holm's correction over all contrasts that count.
      smallest: the true difference that so many seeds see in 80 % of repetitions, at
        Holm's first level.
      over_clips: the mean over the seeds, with an interval over clips.
    """

    name: str
    seeds: tuple[int, ...]
    reason: str = ""
    is_counted: bool = False
    over_seeds: contrast_statistics.OverSeeds | None = None
    adjusted_p: float | None = None
    smallest: float | None = None
    over_clips: statistics.Difference | None = None

    @property
    def is_seen(self) -> bool:
        """Whether the test leaves out zero after the correction."""
        p = self.adjusted_p
        return p is not None and p <= contrast_statistics.LEVEL


def measure(
    contrasts: Sequence[Contrast], runs: Runs, resamples: int, seed: int = 0
) -> tuple[Measured, ...]:
    """Every contrast, in order.

    Holm's family is all that two or more seeds measured. Without a spread over seeds a
    contrast is not seen (p = 1), but counts: what came out makes no family smaller.

    Args:
      contrasts: as the config names them.
      runs: scores of the runs that there are.
      resamples: of the bootstrap over clips.
      seed: of the bootstrap.

    Raises:
      ValueError: if a run lacks a measure, or runs were scored on other clips.
    """
    each = [_of_seeds(contrast, runs, resamples, seed) for contrast in contrasts]
    counted = [item.over_seeds for item in each if item.is_counted]
    adjusted = iter(contrast_statistics.holm([t.p if t else 1.0 for t in counted]))
    return tuple(
        _corrected(item, next(adjusted), len(counted)) if item.is_counted else item
        for item in each
    )


def _corrected(item: Measured, adjusted_p: float, tests: int) -> Measured:
    """A contrast with what depends on the family."""
    test = item.over_seeds
    if test is None:
        return item
    smallest = contrast_statistics.smallest_effect(test.sd, test.n, tests)
    return dataclasses.replace(item, adjusted_p=adjusted_p, smallest=smallest)


def _of_seeds(contrast: Contrast, runs: Runs, resamples: int, seed: int) -> Measured:
    """A contrast without what depends on the others."""
    named = functools.partial(Measured, contrast.name)
    rows = list(dict.fromkeys(term.row for term in contrast.terms))
    by_row = [set(runs.get(row, ())) for row in rows]
    seeds = tuple(sorted(set.intersection(*by_row)))
    if len(seeds) < 2:
        count = "one seed" if seeds else "no seed"
        reason = f"{count} with every row in it: a comparison needs two or more"
        return named(seeds, reason)
    lacking = [
        (name, reason)
        for term in contrast.terms
        for s in seeds
        if (reason := runs[term.row][s].left_out.get(name := _scored(term)))
    ]
    if lacking:
        return named(seeds, "{}: {}".format(*lacking[0]))
    answers = [[_answers(runs[t.row][s], t) for s in seeds] for t in contrast.terms]
    _check_alike(contrast, answers)
    weights = np.array([term.weight for term in contrast.terms], float)
    shares = np.array([[a.value for a in of_term] for of_term in answers])
    over_seeds = contrast_statistics.over_seeds(weights @ shares)
    if over_seeds is None:
        reason = "no spread over seeds: nothing to test by"
        return named(seeds, reason, is_counted=True)
    columns = [
        column
        for term, of_term in zip(contrast.terms, answers, strict=True)
        for column in _columns(float(term.weight), of_term)
    ]
    over_clips = contrast_statistics.over_clips(columns, seed, resamples)
    return named(seeds, is_counted=True, over_seeds=over_seeds, over_clips=over_clips)


@dataclasses.dataclass(frozen=True)
class _Answers:
    """What a run answered on a measure: of each id its score, and its clip.

    A score is right, wrong or a tie's share, or the right one's log-probability. Of
    texts the group is the clip, and there may be counts of classes, for macro F1.
    """

    ids: tuple[str, ...]
    clips: tuple[str, ...]
    hits: Float[np.ndarray, " e"]
    counts: Float[np.ndarray, "e m"] | None = None

    @property
    def value(self) -> float:
        """The score of the run."""
        if self.counts is None:
            return float(self.hits.mean())
        return float(statistics.macro_f1(self.counts.sum(0, keepdims=True))[0])


def _columns(
    weight: float, of_seeds: Sequence[_Answers]
) -> list[contrast_statistics.Column]:
    """A term over its seeds; the mean of shares is the share of means, F1's is not."""
    first = of_seeds[0]
    if first.counts is None:
        mean = np.mean([one.hits for one in of_seeds], 0)
        return [contrast_statistics.Column(weight, mean, first.clips)]
    share = weight / len(of_seeds)
    return [
        contrast_statistics.Column(share, one.hits, one.clips, one.counts)
        for one in of_seeds
    ]


def _scored(term: Term) -> str:
    """What was scored, however the score is measured."""
    return term.measure.removesuffix(kind_of(term.measure))


def _answers(probed: results.Probed, term: Term) -> _Answers:
    name = _scored(term)
    if name in probed.labels:
        label = probed.labels[name]
        head = label.heads[clips.ordered(label.heads)[0]]
        names, every = tuple(label.clips), range(len(label.clips))
        if label.texts is None:
            return _measured(term, head, names, names, every)
        return _of_texts(term, label, head, "")
    whole, _, part = name.rpartition("/")
    if whole in probed.labels and (label := probed.labels[whole]).texts is not None:
        head = label.heads[clips.ordered(label.heads)[0]]
        return _of_texts(term, label, head, part)
    questions, (read_out, _, kind) = probed.questions, name.partition("/")
    if questions is None or read_out not in questions.read_outs:
        raise ValueError(
            f"row {term.row} has no score of {term.measure}; probe it with the"
            " settings of the experiment"
        )
    kept = [i for i, name in enumerate(questions.kinds) if not kind or name == kind]
    if not kept:
        raise ValueError(f"no question of val is of the kind {kind} ({term.measure})")
    scores = questions.read_outs[read_out]
    return _measured(term, scores, questions.ids, questions.clips, kept)


def _of_texts(
    term: Term, label: results.Label, head: results.LabelHead, part: str
) -> _Answers:
    """The scores of the rows of a part ("": all); chance is over groups of texts."""
    texts = label.texts
    if part and part not in texts.parts:
        raise ValueError(f"no text of the corpus is in {term.measure}: leave it out")
    is_in = texts.parts[part] if part else [1] * len(label.clips)
    kept = [i for i, is_kept in enumerate(is_in) if is_kept]
    answers = _measured(term, head, label.clips, texts.groups, kept)
    if not term.measure.endswith(F1):
        return answers
    predicted, target = np.array(head.predicted), np.array(texts.target)
    counts = statistics.class_counts(predicted, target, len(texts.classes))
    return dataclasses.replace(answers, counts=counts[kept])


def _measured(
    term: Term,
    scores: results.LabelHead | results.Scores,
    ids: Sequence[str],
    names: Sequence[str],
    kept: Sequence[int],
) -> _Answers:
    """The scores at some positions; of log-probabilities, those that there are."""
    values = np.array(scores.is_right, float)
    if term.measure.endswith(LOG):
        values = np.array(scores.log_probability, float)  # None becomes NaN
        if not len(values):
            raise ValueError(
                f"row {term.row}: a version before probed it, without"
                f" log-probabilities ({term.measure}); probe it again"
            )
        kept = [i for i in kept if not np.isnan(values[i])]
        if not kept:
            raise ValueError(f"no clip of val has a class of train ({term.measure})")
    chosen_ids, chosen_names = (tuple(x[i] for i in kept) for x in (ids, names))
    return _Answers(chosen_ids, chosen_names, values[kept])


def _check_alike(contrast: Contrast, answers: Sequence[Sequence[_Answers]]) -> None:
    """Raises ValueError if rows or seeds were scored on other clips or questions."""
    first: dict[str, tuple[str, ...]] = {}
    for term, of_term in zip(contrast.terms, answers, strict=True):
        for one in of_term:
            if first.setdefault(term.measure, one.ids) != one.ids:
                raise ValueError(
                    f"contrast {contrast.name}: its runs were scored on other clips or"
                    f" questions for {term.measure}; probe them on the same records"
                )


def lines(measured: Sequence[Measured]) -> list[str]:
    """A table as text, in percentage points and hundredths of a nat."""
    tests = sum(item.is_counted for item in measured)
    table = [
        f"Contrasts in percentage points, of log-probabilities in hundredths of a nat;"
        f" Holm's correction over {tests}; smallest: seen in 80 % of repetitions",
        f"{'n':>3}    mean {'sd':>6} {'95 % over seeds':>17} {'p':>8}"
        f" {'Holm p':>8} {'smallest':>8} {'95 % over clips':>17}  contrast",
    ]
    for item in measured:
        test, of_clips = item.over_seeds, item.over_clips
        if test is None or of_clips is None:
            table.append(
                f"{len(item.seeds):3} not compared ({item.reason})  {item.name}"
            )
            continue
        ends = f"{100 * test.low:+.2f} to {100 * test.high:+.2f}"
        clip_ends = "no spread"
        if of_clips.has_interval:
            clip_ends = f"{100 * of_clips.low:+.2f} to {100 * of_clips.high:+.2f}"
        table.append(
            f"{test.n:3} {100 * test.mean:+7.2f} {100 * test.sd:6.2f} {ends:>17}"
            f" {test.p:8.2g} {item.adjusted_p:8.2g} {100 * item.smallest:8.2f}"
            f" {clip_ends:>17}  {item.name}"
        )
    return table
