"""Fewer labels: which clips or questions a head may be fitted on, drawn by hash."""

import hashlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from mmdiffmask import config
from mmdiffmask.probe import results

LEAST_DEV = 10  # labels of dev that choose a penalty, however few train may have


class Scored(NamedTuple):
    """What heads of some labels reach on all that is scored.

    Attributes:
      labels: how many were fitted on.
      hits: per row.
      log_probability: per row; NaN where there is none.
      macro_f1: None where classes are not told apart.
    """

    labels: int
    hits: Float[np.ndarray, " e"]
    log_probability: Float[np.ndarray, " e"]
    macro_f1: float | None = None


def draw(
    names: Sequence[str], fraction: float, number: int, least: int = 1
) -> Bool[np.ndarray, " e"]:
    """Which of some names are drawn: the first by their hash, which the draw decides.

    A draw of a smaller fraction lies within that of a larger one.

    Args:
      names: of clips or questions.
      fraction: of them, rounded up.
      number: of the draw.
      least: how many at least, as far as there are so many.
    """
    most = min(max(math.ceil(fraction * len(names)), least), len(names))
    order = sorted(
        range(len(names)),
        key=lambda i: hashlib.sha256(f"draw {number} of {names[i]}".encode()).digest(),
    )
    is_drawn = np.zeros(len(names), bool)
    is_drawn[order[:most]] = True
    return is_drawn


def check_classes(
    fraction: float, kept: Sequence[str], every: Sequence[str], label: str
) -> None:
    """Checks that a fraction leaves every class a clip.

    Args:
      fraction: that was drawn.
      kept: classes of the clips that were drawn.
      every: classes of all clips that they were drawn of.
      label: its name.

    Raises:
      ValueError: naming the class that is left without one.
    """
    absent = sorted(set(every) - set(kept))
    if absent:
        raise ValueError(
            f"probe.fractions={fraction}: {len(kept)} clips that were drawn leave"
            f" {len(absent)} of {len(set(every))} classes of {label} without a clip,"
            f" for one {absent[0]!r}; take a larger fraction, or leave the label out"
        )


def each(settings: config.Probe) -> Iterator[tuple[float, int]]:
    """Every fraction with the number of each of its draws."""
    yield from itertools.product(
        sorted(set(settings.fractions)), range(settings.fraction_draws)
    )


def scored(
    settings: config.Probe, score: Callable[[float, int], Scored]
) -> Sequence[results.Few]:
    """The scores of every fraction and draw; empty where none is asked for.

    Args:
      settings: the fractions, and how many draws of each.
      score: (fraction, draw) -> what heads of that draw reach.
    """
    few = []
    for fraction, number in each(settings):
        one = score(fraction, number)
        known = one.log_probability[~np.isnan(one.log_probability)]
        few.append(
            results.Few(
                fraction=fraction,
                draw=number,
                labels=one.labels,
                accuracy=float(np.mean(one.hits)),
                log_probability=float(known.mean()) if len(known) else None,
                macro_f1=one.macro_f1,
            )
        )
    return few or ()


def lines(few: Mapping[str, Sequence[results.Few]]) -> list[str]:
    """A small table as text: a line for each score and fraction, over its draws."""
    table = []
    for name, entries in few.items():
        for fraction, group in itertools.groupby(entries, lambda one: one.fraction):
            table.append(
                f"{name:17} {100 * fraction:5.3g} % of labels: {summed(group)}"
            )
    return table


def summed(group: Iterator[results.Few] | Sequence[results.Few]) -> str:
    """One fraction in words: mean over draws, each draw, labels, log-probability."""
    draws = list(group)
    each_draw = ", ".join(f"{100 * one.accuracy:.1f}" for one in draws)
    mean = float(np.mean([one.accuracy for one in draws]))
    logs = [one.log_probability for one in draws if one.log_probability is not None]
    log = f"  log-p {np.mean(logs):.3f}" if logs else ""
    labels = sorted({one.labels for one in draws})
    count = " to ".join(str(n) for n in dict.fromkeys((labels[0], labels[-1])))
    return f"{100 * mean:.1f} (draws {each_draw}){log}  {count} labels"
