"""Findings in words, each computed from the numbers it names."""

from mmdiffmask.probe import metrics
from mmdiffmask.report import curves, summary

FEW_CLIPS = 5  # intervals over fewer say nothing
UNTRAINED = "untrained network"
COPY = "copy"
CELL_WORDS = {
    "touched": "cells that the mask touches",
    "hidden": "wholly hidden cells",
    "same clip": "touched cells, among the same clip's",
}


def percent(value: float) -> str:
    """A share as the page writes it everywhere."""
    return curves.number(value, True)


def interval(score: metrics.Score) -> str:
    """`47.9 to 53.4 %`."""
    return f"{100 * score.low:.1f} to {100 * score.high:.1f}\N{NO-BREAK SPACE}%"


def points(value: float, is_signed: bool = True) -> str:
    """A difference of shares in percentage points."""
    text = f"{100 * value:+.1f}" if is_signed else f"{100 * value:.1f}"
    return text.replace("-", "\N{MINUS SIGN}")


def comparison(item: summary.Comparison) -> str:
    """What one paired difference says, and what it could have said."""
    found = item.difference
    text = (
        f"{item.measure}: {item.a} minus {item.b} is {points(found.value)} points"
        f" (95 % interval {points(found.low)} to {points(found.high)},"
        f" {found.n} clips)."
    )
    if found.is_seen:
        better, worse = (item.a, item.b) if found.value > 0 else (item.b, item.a)
        return f"{text} {better} is ahead of {worse} here."
    smallest = points(found.smallest, is_signed=False)
    return (
        f"{text} No difference seen; the smallest difference that could have been seen"
        f" here is about {smallest} points."
    )


def against_floors(run: summary.RunSummary) -> list[str]:
    """A sentence per label: the best row beside what needs no features."""
    found = []
    for label, floors in run.floors.items():
        best = max(run.rows, key=lambda row, n=label: row.probes[n].joint.value)
        score = best.probes[label].joint
        floor = max(floors.chance, floors.largest_class)
        is_above = score.low > floor
        verdict = "above" if is_above else "not above"
        found.append(
            f"{label}: the best row, {best.name}, gets {percent(score.value)}"
            f" ({interval(score)}). Always naming the most frequent answer gets"
            f" {percent(floors.largest_class)}, guessing {percent(floors.chance)}: the"
            f" lower end of the interval is {verdict} both."
        )
    return found


def retrieval(task: summary.RetrievalTask, names: tuple[str, ...]) -> list[str]:
    """A sentence per strategy: did it learn the task it was trained on?"""
    floor = task.scores.get(UNTRAINED)
    found = []
    for name in names:
        score = task.scores.get(name)
        if name == "none" or score is None:
            continue
        parts = [_side(score.low > task.chance, "chance", percent(task.chance))]
        if floor is not None:
            is_above = score.low > floor.high
            parts.append(_side(is_above, "the untrained network", interval(floor)))
        if COPY in task.scores:
            copy = task.scores[COPY].value
            parts.append(_side(score.low > copy, "copying", percent(copy)))
        found.append(
            f"{name} finds {percent(score.value)} ({interval(score)}) of the"
            f" {CELL_WORDS[task.cells]} under held-out {task.masks} masks:"
            f" {', '.join(parts)}."
        )
    return found


def _side(is_above: bool, what: str, value: str) -> str:
    return f"{'above' if is_above else 'not above'} {what} ({value})"


def in_short(run: summary.RunSummary) -> list[str]:
    """The findings for a reader in a hurry, by counting the labels' comparisons."""
    pairs = [c for c in run.comparisons if c.measure in run.floors]
    is_enough = run.clips.get("dev", 0) >= FEW_CLIPS
    found = [_learned(task, run.names) for task in run.retrieval if is_enough]
    found = [text for text in found if text]
    for b, question in (
        ("none", "Did {a} masking improve what can be read out of the frozen network?"),
        ("random", "Did {a} masking beat random masking there?"),
    ):
        for a in run.names:
            items = [c for c in pairs if (c.a, c.b) == (a, b)]
            if items:
                found.append(f"{question.format(a=a)} {_tally(items)}")
    return found


def _learned(task: summary.RetrievalTask, names: tuple[str, ...]) -> str:
    """Who learned to find a strategy's wholly hidden cells; "" for other tasks."""
    floor = task.scores.get(UNTRAINED)
    trained = [name for name in names if name != "none" and name in task.scores]
    if task.cells != "hidden" or floor is None or not trained:
        return ""
    limit = max(task.chance, floor.high)
    able = [name for name in trained if task.scores[name].low > limit]
    best = max(trained, key=lambda name: task.scores[name].value)
    text = (
        f"Cells hidden wholly by {task.masks} masks: {best} finds most,"
        f" {percent(task.scores[best].value)}; guessing finds {percent(task.chance)},"
        f" the untrained network {percent(floor.value)}"
    )
    if COPY in task.scores:
        text += f", copying from other frames {percent(task.scores[COPY].value)}"
    who = join(able) if able else "no row"
    return f"{text}. Clearly above guessing and the untrained network: {who}."


def _tally(items: list[summary.Comparison]) -> str:
    """Which measures went up, down, or showed nothing."""
    up = [c.measure for c in items if c.difference.low > 0]
    down = [c.measure for c in items if c.difference.high < 0]
    same = [c.measure for c in items if not c.difference.is_seen]
    parts = []
    if up:
        parts.append(f"better on {join(up)}")
    if down:
        parts.append(f"worse on {join(down)}")
    if same:
        smallest = [c.difference.smallest for c in items if not c.difference.is_seen]
        parts.append(
            f"no difference seen on {join(same)} (one of about"
            f" {points(max(smallest), is_signed=False)} points would have been, four"
            " times in five)"
        )
    answer = (
        "Mixed" if up and down else "No" if not up else "In part" if same else "Yes"
    )
    return f"{answer}: {'; '.join(parts)}."


def join(words: list[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def interval_width(run: summary.RunSummary) -> str:
    """How wide the accuracies' intervals are, and why."""
    scores = [cell.joint for row in run.rows for cell in row.probes.values()]
    if not scores:
        return "No accuracy was measured."
    half = max((score.high - score.low) / 2 for score in scores)
    n = min(score.n for score in scores)
    return (
        f"The accuracies were counted on {n} clips, so each is known to about"
        f" \N{PLUS-MINUS SIGN}{points(half, is_signed=False)} points. The width shrinks"
        " with the square root of the number of clips: half as wide needs four times as"
        " many. It says how much other clips of the same kind would change the number;"
        " how much another run of the training would change it is not in it."
    )
