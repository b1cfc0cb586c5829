"""Heads of labels and of questions by folds of the held-out clips: each scored once."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mmdiffmask import softmax
from mmdiffmask.probe import choices, folds, linear, ties
from mmdiffmask.probe import neighbours as neighbours_lib


@dataclasses.dataclass(frozen=True)
class Result:
    """What heads say of rows that they were not fitted on.

    Attributes:
      l2: penalty of each fold that has rows, in order.
      dev_loss: penalty -> loss that it was chosen by, mean over these folds.
      is_right: per row, a tie as its share (`ties.hits`).
      is_right_knn: the same by nearest neighbours; None of questions.
      log_probability: of the right one; NaN where the other folds lack its class.
      gradient: largest entry of the gradient at any of the optima that scored.
      predicted: of a label, the class that is named, of equal ones the first; ().
    """

    l2: tuple[float, ...]
    dev_loss: dict[float, float]
    is_right: Float[np.ndarray, " e"]
    is_right_knn: Float[np.ndarray, " e"] | None
    log_probability: Float[np.ndarray, " e"]
    gradient: float
    predicted: tuple[str, ...] = ()


class _Scored(NamedTuple):
    """Scores of some rows by a head, and which of each is right (-1: none)."""

    scores: Float[np.ndarray, "e k"]
    right: Int[np.ndarray, " e"]
    near: Float[np.ndarray, "e k"] | None = None  # by nearest neighbours
    classes: tuple[str, ...] = ()  # of a label


class _OfLabel(NamedTuple):
    """A head of a label, with all rows as it sees them."""

    features: Float[np.ndarray, "e d"]
    target: Int[np.ndarray, " e"]
    classes: tuple[str, ...]
    head: softmax.Head
    is_fitted: folds.Rows

    @property
    def gradient(self) -> float:
        """Its largest entry at the optimum."""
        return self.head.gradient


@dataclasses.dataclass(frozen=True)
class _Label:
    """What folds ask of a label."""

    part: linear.Labelled
    neighbours: int
    may_lack: bool = False  # rows to fit on may all be of one class

    def fit(self, is_fitted: folds.Rows, l2: Sequence[float]) -> dict[float, _OfLabel]:
        part = self.part
        kept = [n for n, taken in zip(part.labels, is_fitted, strict=True) if taken]
        classes = tuple(sorted(set(kept)))
        if len(classes) < (1 if self.may_lack else 2):
            raise ValueError(
                f"probe.folds: the {len(kept)} clips that are left to fit on are of"
                f" {len(classes)} class; take fewer folds or a larger fraction"
            )
        x = softmax.standardiser(part.features[is_fitted])(part.features)
        target = linear.class_index(part.labels, classes)
        heads = softmax.fit_each(x[is_fitted], target[is_fitted], len(classes), l2)
        return {
            penalty: _OfLabel(x, target, classes, head, is_fitted)
            for penalty, head in heads.items()
        }

    def loss(self, one: _OfLabel, is_scored: folds.Rows) -> tuple[float, int]:
        known = is_scored & (one.target != linear.UNKNOWN)
        count = int(known.sum())
        if not count:
            return 0.0, 0
        mean = linear.cross_entropy(one.head, one.features[known], one.target[known])
        return mean * count, count

    def score(self, one: _OfLabel, is_scored: folds.Rows) -> _Scored:
        x, fitted = one.features[is_scored], one.is_fitted
        near = neighbours_lib.votes(
            one.features[fitted],
            one.target[fitted],
            x,
            n_classes=len(one.classes),
            neighbours=self.neighbours,
        )
        scores = x @ one.head.kernel + one.head.bias
        return _Scored(scores, one.target[is_scored], near, one.classes)


@dataclasses.dataclass(frozen=True)
class _Answers:
    """What folds ask of questions."""

    questions: choices.Questions
    link: choices.Link

    def fit(
        self, is_fitted: folds.Rows, l2: Sequence[float]
    ) -> dict[float, choices.Head]:
        return choices.fitted(self._some(is_fitted), l2, self.link)

    def loss(self, head: choices.Head, is_scored: folds.Rows) -> tuple[float, int]:
        part = self._some(is_scored)
        if not (count := len(part.right)):
            return 0.0, 0
        return choices.loss(head, part, self.link) * count, count

    def score(self, head: choices.Head, is_scored: folds.Rows) -> _Scored:
        part = self._some(is_scored)
        return _Scored(choices.scores(head, part.features), part.right)

    def _some(self, is_taken: folds.Rows) -> choices.Questions:
        return self.questions.some(np.flatnonzero(is_taken))


def labels(
    part: linear.Labelled,
    fold: Int[np.ndarray, " e"],
    l2: Sequence[float],
    neighbours: int,
    is_drawn: folds.Rows | None = None,
    may_lack: bool = False,
) -> Result:
    """Heads of one label: a fold is scored by those of the others.

    Args:
      part: held-out clips that have the label.
      fold: of each.
      l2: penalties, chosen among as `folds.losses` says.
      neighbours: of the nearest neighbours.
      is_drawn: clips whose labels are seen; None: all. Every clip is scored.
      may_lack: whether those to fit on may be of one class, which is then named.

    Raises:
      ValueError: if clips to fit on are all of one class and may not be, or as
        `softmax.fit`.
    """
    return _crossed(_Label(part, neighbours, may_lack), fold, l2, is_drawn)


def dev_losses(
    part: linear.Labelled, fold: Int[np.ndarray, " e"], l2: Sequence[float]
) -> dict[float, float]:
    """Penalty -> loss of rows under heads of the other folds; see `folds.dev_losses`.

    Raises:
      ValueError: as `labels`.
    """
    task = _Label(part, neighbours=1)
    return folds.dev_losses(fold, l2, task.fit, task.loss)


def answers(
    questions: choices.Questions,
    fold: Int[np.ndarray, " e"],
    l2: Sequence[float],
    link: choices.Link,
    is_drawn: folds.Rows | None = None,
) -> Result:
    """Heads over candidate answers: a fold is scored by those of the others.

    Args:
      questions: on held-out clips.
      fold: of each.
      l2: penalties, chosen among as `folds.losses` says.
      link: as `choices.objective`.
      is_drawn: questions whose right answer is seen; None: all. Every one is scored.

    Raises:
      ValueError: as `softmax.fit`.
    """
    return _crossed(_Answers(questions, link), fold, l2, is_drawn)


def _crossed(
    task: _Label | _Answers,
    fold: Int[np.ndarray, " e"],
    l2: Sequence[float],
    is_drawn: folds.Rows | None,
) -> Result:
    """Every fold scored by a head of the others, under the penalty of their choice."""
    is_drawn = np.ones(len(fold), bool) if is_drawn is None else is_drawn
    of_fold = folds.losses(
        fold,
        l2,
        lambda is_fitted, penalties: task.fit(is_fitted & is_drawn, penalties),
        lambda head, is_scored: task.loss(head, is_scored & is_drawn),
        may_lack=isinstance(task, _Label) and task.may_lack,
    )
    chosen, gradients = {}, []
    is_right, is_near, logs = (np.zeros(len(fold)) for _ in range(3))
    predicted = np.full(len(fold), "", object)
    for name, its_losses in of_fold.items():
        chosen[name] = linear.least(its_losses)
        is_scored = fold == name
        head = task.fit(~is_scored & is_drawn, (chosen[name],))[chosen[name]]
        gradients.append(head.gradient)
        scored = task.score(head, is_scored)
        is_right[is_scored] = ties.hits(scored.scores, scored.right)
        logs[is_scored] = ties.log_probability(scored.scores, scored.right)
        if scored.near is not None:
            is_near[is_scored] = ties.hits(scored.near, scored.right)
            predicted[is_scored] = np.array(scored.classes)[scored.scores.argmax(1)]
    penalties = sorted(set(l2))
    return Result(
        l2=tuple(chosen.values()),
        dev_loss={
            s: float(np.mean([x[s] for x in of_fold.values()])) for s in penalties
        },
        is_right=is_right,
        is_right_knn=None if scored.near is None else is_near,
        log_probability=logs,
        gradient=max(gradients),
        predicted=() if scored.near is None else tuple(map(str, predicted)),
    )
