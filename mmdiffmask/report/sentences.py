"""Findings in words, each computed from the numbers it names."""

from mmdiffmask import statistics
from mmdiffmask.report import compare, curves, history, summary

CELL_WORDS = {
    "touched": "cells that the mask touches",
    "hidden": "wholly hidden cells",
    "same clip": "touched cells, among the same clip's",
}


def percent(value: float) -> str:
    """A share as the page writes it everywhere."""
    return curves.number(value, is_share=True)


NO_INTERVAL = "no interval: one clip, or no spread among clips"


def interval(score: statistics.Score) -> str:
    """`47.9 to 53.4 %`, or that there is none: a point would look like certainty."""
    if not score.has_interval:
        return NO_INTERVAL
    return f"{100 * score.low:.1f} to {100 * score.high:.1f}\N{NO-BREAK SPACE}%"


def points(value: float, is_signed: bool = True) -> str:
    """A difference of shares in percentage points."""
    text = f"{100 * value:+.1f}" if is_signed else f"{100 * value:.1f}"
    return text.replace("-", "\N{MINUS SIGN}")


def nats(value: float) -> str:
    """A mean log-probability."""
    return f"{value:.3f}".replace("-", "\N{MINUS SIGN}")


def comparison(item: compare.Comparison, plain: tuple[str, ...] = ()) -> str:
    """What one paired difference says, and what it could have said.

    Args:
      item: the difference.
      plain: the rows that hide nothing, if it is worth saying which one is better.
    """
    difference = item.difference
    b = (
        f"{item.b}, the better of {join(list(plain))},"
        if _is_chosen(item, plain)
        else ""
    )
    text = (
        f"{item.measure}: {item.a} minus {b or item.b} is"
        f" {points(difference.value)} points"
        f" ({ends(difference)}, {difference.n} clips)."
    )
    if difference.is_seen:
        better, worse = (item.a, item.b) if difference.value > 0 else (item.b, item.a)
        return f"{text} {better} is ahead of {worse} here."
    smallest = points(difference.smallest, is_signed=False)
    return (
        f"{text} No difference seen; the smallest difference that could have been seen"
        f" here is about {smallest} points."
    )


def ends(difference: statistics.Difference) -> str:
    """The interval of a difference, or that there is none."""
    if not difference.has_interval:
        return NO_INTERVAL
    return f"95 % interval {points(difference.low)} to {points(difference.high)}"


def _is_chosen(item: compare.Comparison, plain: tuple[str, ...]) -> bool:
    return item.is_gain and len(plain) > 1


def against_floors(run: summary.RunSummary) -> list[str]:
    """A sentence per label: the best row beside what needs no features."""
    sentences = []
    for label, floors in run.floors.items():
        best = max(run.rows, key=lambda row, n=label: row.probes[n].main.linear.value)
        score = best.probes[label].main.linear
        floor = max(floors.chance, floors.largest_class)
        verdict = "above" if score.is_above(floor) else "not above"
        side = f"the lower end of the interval is {verdict} both."
        if not score.has_interval:
            side = "without an interval it cannot be held against them."
        aside = " (which hides nothing)" if best.name in run.plain else ""
        sentences.append(
            f"{label}: the best row, {best.name}{aside}, gets {percent(score.value)}"
            f" ({interval(score)}). Always naming the most frequent answer gets"
            f" {percent(floors.largest_class)}, guessing {percent(floors.chance)}:"
            f" {side}"
        )
    return sentences


def retrieval(task: summary.RetrievalTask, names: list[str]) -> list[str]:
    """A sentence per strategy: how well it learned the task it was trained on.

    Args:
      task: held-out masks.
      names: the rows that hide something.
    """
    floor = task.scores.get(task.start)
    sentences = []
    for name in names:
        score = task.scores.get(name)
        if score is None:
            continue
        parts = [_side(score.is_above(task.chance), "chance", percent(task.chance))]
        if floor is not None:
            value = interval(floor) if floor.has_interval else percent(floor.value)
            parts.append(
                _side(score.is_above(floor.high), the_start(task.start), value)
            )
        if history.COPY in task.scores:
            copy = task.scores[history.COPY].value
            parts.append(_side(score.is_above(copy), "copying", percent(copy)))
        sentences.append(
            f"{name} finds {percent(score.value)} ({interval(score)}) of the"
            f" {CELL_WORDS[task.cells]} held out under {task.masks}:"
            f" {', '.join(parts)}."
        )
    return sentences


def the_start(start: str) -> str:
    """How a sentence names the weights that training began with."""
    named = {
        summary.UNTRAINED: "the untrained network",
        summary.START: "the network before training",
    }
    return named.get(start, f"the start ({start})")


def _side(is_above: bool, floor: str, value: str) -> str:
    return f"{'above' if is_above else 'not above'} {floor} ({value})"


def join(words: list[str]) -> str:
    """`a, b and c`; "" of no words."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def interval_width(run: summary.RunSummary) -> str:
    """How wide the accuracies' intervals are, and why."""
    scores = [cell.main.linear for row in run.rows for cell in row.probes.values()]
    for table in run.questions:
        scores += table.columns[0].scores.values()
    if not scores:
        return "No accuracy was measured."
    scores = [score for score in scores if score.has_interval]
    if not scores:
        return f"The accuracies have {NO_INTERVAL}."
    half = max((score.high - score.low) / 2 for score in scores)
    n = min(score.n for score in scores)
    return (
        f"The accuracies were counted on {n} clips, so each is known to about"
        f" \N{PLUS-MINUS SIGN}{points(half, is_signed=False)} points. The width shrinks"
        " with the square root of the number of clips: half as wide needs four times as"
        " many. It says how much other clips of the same kind would change the number;"
        " how much another run of the training would change it is not in it."
    )
