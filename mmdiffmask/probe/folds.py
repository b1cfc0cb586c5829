"""Folds of the held-out clips: who is in which, and the penalty chosen without one."""

import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Int

Head = TypeVar("Head")
Rows = Bool[np.ndarray, " e"]
# (rows to fit on, penalties) -> penalty -> head
Fit = Callable[[Rows, Sequence[float]], Mapping[float, Head]]
# (head, rows to score) -> summed loss, and over how many
Loss = Callable[[Head, Rows], tuple[float, int]]


def deal(group_of_clip: Mapping[str, str], count: int) -> dict[str, int]:
    """Clip -> its fold: groups, in the order of their hash, are dealt out in turn.

    So a group (an episode) lies in one fold, and folds differ by one group at most.

    Args:
      group_of_clip: of all clips that are scored.
      count: of folds.

    Raises:
      ValueError: if there are fewer groups than folds.
    """
    groups = sorted(
        set(group_of_clip.values()),
        key=lambda group: hashlib.sha256(f"fold of {group}".encode()).digest(),
    )
    if len(groups) < count:
        raise ValueError(
            f"probe.folds={count}: the clips to be scored are of {len(groups)} groups"
            " (clips, or episodes), and each fold needs one; take fewer folds, or add"
            " clips"
        )
    fold_of_group = {group: i % count for i, group in enumerate(groups)}
    return {clip: fold_of_group[group] for clip, group in group_of_clip.items()}


def losses(
    fold: Int[np.ndarray, " e"],
    l2: Sequence[float],
    fit: Fit,
    loss: Loss,
    may_lack: bool = False,
) -> dict[int, dict[float, float]]:
    """Fold -> penalty -> mean loss on the other folds, none of which fitted its heads.

    For every two folds heads are fitted on all others. What they lose on one of the
    two counts for the choice of the other, so no fold has a say in its own.

    Args:
      fold: of each row.
      l2: the penalties to choose among.
      fit: makes the heads.
      loss: of one of them.
      may_lack: whether no row may be able to choose the penalty of a fold, as with a
        label or two; all losses are 0 then.

    Raises:
      ValueError: as `fit`; if no row can choose the penalty of a fold and one must.
    """
    names = np.unique(fold).tolist()
    sums: dict[int, dict[float, float]] = {name: {} for name in names}
    counts = dict.fromkeys(names, 0)
    for pair in itertools.combinations(names, 2):
        heads = fit(~np.isin(fold, pair), l2)
        for chosen_for, scored in (pair, pair[::-1]):
            for penalty, head in heads.items():
                value, count = loss(head, fold == scored)
                old = sums[chosen_for].get(penalty, 0.0)
                sums[chosen_for][penalty] = old + value
            counts[chosen_for] += count
    for name, count in counts.items():
        if not count and not may_lack:
            raise ValueError(
                f"probe.folds: no row outside fold {name} can choose its penalty; take"
                " fewer folds, or add clips"
            )
    return {
        name: {
            penalty: value / max(counts[name], 1) for penalty, value in of_fold.items()
        }
        for name, of_fold in sums.items()
    }


def dev_losses(
    fold: Int[np.ndarray, " e"], l2: Sequence[float], fit: Fit, loss: Loss
) -> dict[float, float]:
    """Penalty -> mean loss of each fold under heads of the others.

    It chooses a penalty for heads of all these rows, which score other ones.

    Args:
      fold: of each row.
      l2: the penalties to choose among.
      fit: makes the heads.
      loss: of one of them.

    Raises:
      ValueError: as `fit`.
    """
    sums: dict[float, float] = dict.fromkeys(l2, 0.0)
    total = 0
    for name in np.unique(fold):
        for penalty, head in fit(fold != name, l2).items():
            value, count = loss(head, fold == name)
            sums[penalty] += value
        total += count
    return {penalty: value / total for penalty, value in sums.items()}
