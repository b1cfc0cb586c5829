"""The questions' tables in words, and their differences row by row."""

from mmdiffmask.report import compare, sentences

READ_OUTS = {
    "zero-shot": "Nothing is fitted. The network reads the question with a gap where"
    " the answer belongs, and the candidate counts that is nearest to what it expects"
    " there.",
    "match": "As zero-shot, but a linear layer, fitted on training questions, weighs"
    " the parts of “what is expected in the gap” times “the candidate”.",
    "answer": "The paper's. Each candidate is put behind the question, and a linear"
    " layer, fitted on training questions, scores the network's output for the pair.",
}
FLOORS = {
    "answers only": "The candidates alone.",
    "question + answers": "Nothing of the clip.",
    "+ subtitles": "The question and the subtitles.",
    "+ audio": "The question and the sound.",
    "frames blanked": "All but the frames.",
    "untrained": "All, but random weights.",
}


def of_table(table: compare.QuestionTable, plain: tuple[str, ...]) -> list[str]:
    """What all questions together say: the floors first, then who is best."""
    column = table.columns[0]
    above = [name for name in column.scores if _is_above(table, name)]
    below = [name for name in column.scores if name not in above]
    floor = f"chance ({sentences.percent(table.chance)})"
    if column.best_floor != compare.CHANCE:
        value = sentences.percent(column.floors[column.best_floor].value)
        floor = f"the best floor, {column.best_floor} ({value}),"
    who = sentences.join(above) if above else "no row"
    text = f"Above {floor} by more than the interval: {who}."
    if below and above:
        text += f" Not: {sentences.join(below)}."
    best = max(column.scores, key=lambda name: column.scores[name].value)
    score = column.scores[best]
    verdict = (
        f"The best row is {best}, {sentences.percent(score.value)}"
        f" ({sentences.interval(score)})"
    )
    if best in plain and len(plain) < len(column.scores):
        verdict += ", which hides nothing: by this read-out hiding patches did not help"
    return [text, f"{verdict}."]


def _is_above(table: compare.QuestionTable, name: str) -> bool:
    """Whether a row is above the best floor, and above chance."""
    column = table.columns[0]
    is_above = column.scores[name].is_above(table.chance)
    if column.over_floor:
        over = column.over_floor[name]
        is_above = is_above and over.is_seen and over.value > 0
    return is_above


def in_words(item: compare.Comparison) -> str:
    """A paired difference as a short sentence."""
    difference = item.difference
    if difference.is_seen:
        return f"{item.a if difference.value > 0 else item.b} is ahead"
    smallest = sentences.points(difference.smallest, is_signed=False)
    return f"no difference seen; one of about {smallest} points would have been"


# The heading of a row of differences, and the difference in each column.
Pair = tuple[str, list[compare.Comparison]]


def gains(table: compare.QuestionTable, plain: tuple[str, ...]) -> list[Pair]:
    """Each row that hides something, minus the better of those that do not.

    Empty where one row or none hides nothing: then `pairs` say it all.
    """
    columns = [c for c in table.columns if c.comparisons]
    if len(plain) < 2 or not columns:
        return []
    gains_of_row: dict[str, list[compare.Comparison]] = {}
    for column in columns:
        for item in column.comparisons:
            if item.is_gain:
                gains_of_row.setdefault(item.a, []).append(item)
    start = sentences.join(list(plain))
    minus = "\N{MINUS SIGN}"
    return [
        (f"{row} {minus} better of {start}", items)
        for row, items in reversed(gains_of_row.items())
    ]


def pairs(table: compare.QuestionTable) -> list[Pair]:
    """Every two rows; those furthest down the table first."""
    columns = [c.comparisons for c in table.columns if c.comparisons]
    rows = [list(items) for items in zip(*columns, strict=True)]
    return [
        (f"{items[0].a} \N{MINUS SIGN} {items[0].b}", items) for items in reversed(rows)
    ]


def seen(tables: tuple[compare.QuestionTable, ...]) -> tuple[int, int]:
    """How many of the differences' intervals leave out zero, and of how many."""
    every = [c for t in tables for column in t.columns for c in column.comparisons]
    return sum(item.difference.is_seen for item in every), len(every)
