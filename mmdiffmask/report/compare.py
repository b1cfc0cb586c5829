"""Differences of rows on the same clips, from what each of them answered."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from mmdiffmask import statistics
from mmdiffmask.probe import results

ALL = "all questions"
CHANCE = "chance"
FEW_CLIPS = 5  # intervals over fewer say nothing


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two rows on the same clips.

    Attributes:
      measure: a label, or a read-out of questions.
      a: a row.
      b: another.
      difference: a minus b.
      is_gain: whether a hides something and b is, on this measure, the better of the
        rows that hide nothing. design.md section 7: gains are stated against that one.
    """

    measure: str
    a: str
    b: str
    difference: statistics.Difference
    is_gain: bool = False


@dataclasses.dataclass(frozen=True)
class KindOfQuestion:
    """What every row answered of one kind of questions.

    Attributes:
      kind: its name; ALL for all of them.
      questions: how many.
      clips: of how many clips.
      scores: row -> accuracy; the interval is over clips.
      log_probability: row -> mean of the right answer's; without rows that a version
        before probed.
      floors: what needs less than the whole -> accuracy.
      best_floor: the best of the floors, or CHANCE where none is above it.
      comparisons: every pair of rows.
      over_floor: row -> the row minus the best floor; empty where that is CHANCE.
    """

    kind: str
    questions: int
    clips: int
    scores: dict[str, statistics.Score]
    floors: dict[str, statistics.Score]
    best_floor: str
    comparisons: tuple[Comparison, ...]
    over_floor: dict[str, statistics.Difference]
    log_probability: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class QuestionTable:
    """One read-out of the questions.

    Attributes:
      read_out: "zero-shot", "match" or "answer".
      chance: of guessing.
      columns: all questions first, then each kind.
      left_out: kinds that too few clips have a question of.
    """

    read_out: str
    chance: float
    columns: tuple[KindOfQuestion, ...]
    left_out: tuple[str, ...] = ()


def compare(
    measure: str,
    is_right: Mapping[str, Float[np.ndarray, " e"] | Bool[np.ndarray, " e"]],
    plain: Sequence[str],
    seed: int,
    resamples: int,
) -> tuple[Comparison, ...]:
    """Every pair of rows of one measure, the later row minus the earlier one.

    Args:
      measure: the label.
      is_right: row -> right, wrong or the share of a tie per clip, on the same clips
        in the same order.
      plain: the rows that hide nothing.
      seed: of the bootstrap.
      resamples: of the bootstrap.
    """
    shares = {name: float(np.mean(right)) for name, right in is_right.items()}
    return tuple(
        Comparison(
            measure,
            a,
            b,
            statistics.difference(is_right[a], is_right[b], seed, resamples),
            _is_gain(a, b, shares, plain),
        )
        for b, a in itertools.combinations(is_right, 2)
    )


def _is_gain(a: str, b: str, shares: Mapping[str, float], plain: Sequence[str]) -> bool:
    """Whether b is the better of the plain rows, and a none of them.

    Which one is better is seen on the same clips, so this leans against a.
    """
    known = [name for name in plain if name in shares]
    return a not in known and b in known and b == max(known, key=shares.__getitem__)


def question_tables(
    rows: Mapping[str, results.Questions],
    plain: Sequence[str],
    seed: int,
    resamples: int,
) -> tuple[QuestionTable, ...]:
    """A table per read-out.

    Args:
      rows: row -> its read-outs of questions. Floors are those of the first row that
        has some.
      plain: the rows that hide nothing.
      seed: of the bootstrap.
      resamples: of the bootstrap.

    Raises:
      ValueError: if rows answered other questions.
    """
    first_name, first = next(iter(rows.items()))
    for name, entry in rows.items():
        if list(entry.ids) != list(first.ids):
            raise ValueError(
                f"rows {first_name} and {name} answered other questions, so they do"
                " not belong on one page; probe them anew with the same settings"
            )
    kind_of = np.array([kind or "other" for kind in first.kinds])
    clip_of = np.unique(np.array(first.clips), return_inverse=True)[1]
    floors = next((e.floors for e in rows.values() if e.floors), {})
    chosen = {ALL: np.ones(len(kind_of), bool)}
    kinds = list(dict.fromkeys(kind_of.tolist()))
    chosen |= {kind: kind_of == kind for kind in kinds if len(kinds) > 1}
    enough = {k: c for k, c in chosen.items() if _count(clip_of[c]) >= FEW_CLIPS}
    shown = enough or {ALL: chosen[ALL]}
    bootstrap = _Bootstrap(seed, resamples)
    left_out = tuple(kind for kind in chosen if kind not in shown)
    tables = []
    for read_out in first.read_outs:
        answers = _Answers(
            read_out=read_out,
            right={n: _right(e.read_outs[read_out]) for n, e in rows.items()},
            logs={
                n: np.array(e.read_outs[read_out].log_probability, float)
                for n, e in rows.items()
                if e.read_outs[read_out].log_probability
            },
            floor={n: _right(e) for n, e in floors.get(read_out, {}).items()},
            clip=clip_of,
            chance=first.chance,
        )
        columns = (
            _column(kind, answers.take(is_of_kind), plain, bootstrap)
            for kind, is_of_kind in shown.items()
        )
        tables.append(QuestionTable(read_out, answers.chance, tuple(columns), left_out))
    return tuple(tables)


class _Bootstrap(NamedTuple):
    """How the intervals are drawn."""

    seed: int
    resamples: int


@dataclasses.dataclass(frozen=True)
class _Answers:
    """What rows and floors answered to the same questions.

    Attributes:
      read_out: how they answered.
      right: row -> right, wrong or the share of a tie, per question.
      logs: row -> log-probability of the right answer, where it was noted.
      floor: floor -> as `right`.
      clip: number of the clip of each question.
      chance: of guessing.
    """

    read_out: str
    right: dict[str, Float[np.ndarray, " e"]]
    logs: dict[str, Float[np.ndarray, " e"]]
    floor: dict[str, Float[np.ndarray, " e"]]
    clip: Int[np.ndarray, " e"]
    chance: float

    def take(self, is_taken: Bool[np.ndarray, " e"]) -> "_Answers":
        """Those to some of the questions."""
        return dataclasses.replace(
            self,
            right={name: x[is_taken] for name, x in self.right.items()},
            logs={name: x[is_taken] for name, x in self.logs.items()},
            floor={name: x[is_taken] for name, x in self.floor.items()},
            clip=self.clip[is_taken],
        )


def _count(clips: np.ndarray) -> int:
    return len(np.unique(clips))


def _right(scores: results.Scores) -> Float[np.ndarray, " e"]:
    return np.array(scores.is_right, float)


def _column(
    kind: str, answers: _Answers, plain: Sequence[str], bootstrap: _Bootstrap
) -> KindOfQuestion:
    """One kind of questions: rows and floors on the same resamples of the clips."""
    right, floor = answers.right, answers.floor
    names = [*right, *(("floor", name) for name in floor)]  # a floor may share a name
    table = np.stack([*right.values(), *floor.values()], 1)
    drawn = statistics.Resampled(
        table, answers.clip, seed=bootstrap.seed, resamples=bootstrap.resamples
    )
    column = {name: i for i, name in enumerate(names)}
    rows = {name: drawn.score(column[name]) for name in right}
    floors = {name: drawn.score(column["floor", name]) for name in floor}
    best = max(floors, key=lambda name: floors[name].value, default=CHANCE)
    best = best if floors and floors[best].value > answers.chance else CHANCE
    pairs, over = [], {}
    if drawn.clips >= FEW_CLIPS:
        shares = {name: score.value for name, score in rows.items()}
        for b, a in itertools.combinations(right, 2):
            difference = drawn.difference(column[a], column[b])
            is_gain = _is_gain(a, b, shares, plain)
            pairs.append(Comparison(answers.read_out, a, b, difference, is_gain))
        if best != CHANCE:
            best_column = column["floor", best]
            over = {n: drawn.difference(column[n], best_column) for n in right}
    return KindOfQuestion(
        kind=kind,
        questions=len(table),
        clips=drawn.clips,
        scores=rows,
        floors=floors,
        best_floor=best,
        comparisons=tuple(pairs),
        over_floor=over,
        log_probability={name: float(x.mean()) for name, x in answers.logs.items()},
    )
