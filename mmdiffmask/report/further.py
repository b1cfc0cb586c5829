"""Further scores of the probe as columns of a table, a line for each row."""

from collections.abc import Iterator, Mapping

from mmdiffmask.probe import further, results, table
from mmdiffmask.report import sentences
from mmdiffmask.report.summary import FurtherCell, FurtherColumn
from mmdiffmask.training.read_outs import clips


def columns(probes: Mapping[str, results.Probed]) -> tuple[FurtherColumn, ...]:
    """The columns of all rows, in the order of the first row that has them.

    Args:
      probes: row -> its probe.
    """
    by_name: dict[tuple[str, str], dict[str, FurtherCell]] = {}
    for row, probed in probes.items():
        for measure, rule, cell in _of_probe(probed):
            by_name.setdefault((measure, rule), {})[row] = cell
    order = list(dict.fromkeys(measure for measure, _ in by_name))
    names = sorted(by_name, key=lambda name: order.index(name[0]))
    return tuple(FurtherColumn(*name, by_name[name]) for name in names)


def _of_probe(probed: results.Probed) -> Iterator[tuple[str, str, FurtherCell]]:
    resamples = probed.key.probe.get("bootstrap", 0)
    for label, entry in probed.labels.items():
        yield from _of_label(label, entry, resamples)
    questions = probed.questions
    if questions is None:
        return
    for read_out, scores in questions.read_outs.items():
        for one in further.of_few(read_out, "", scores):
            yield one.measure, one.rule, _cell(one)
    for one in further.of_questions(questions, resamples):
        yield one.measure, one.rule, _cell(one)
    for read_out, entries in questions.streams.items():
        for name, entry in entries.items():
            for one in further.of_few(read_out, "", entry):
                yield read_out, f"{name} alone, {one.rule}", _cell(one)


def _of_label(
    label: str, entry: results.Label, resamples: int
) -> Iterator[tuple[str, str, FurtherCell]]:
    """With fewer labels, other read-outs below the first; then both sides of boxes."""
    first, *others = clips.ordered(entry.heads)
    below: dict[str, list[str]] = {}
    for name in others:
        for one in further.of_few(label, name, entry.heads[name]):
            text = sentences.percent(one.accuracy.value)
            below.setdefault(one.rule, []).append(f"{clips.words(name).short} {text}")
    for one in further.of_few(label, first, entry.heads[first]):
        yield label, one.rule, _cell(one, below.get(one.rule, ()))
    if entry.inside is not None:
        for one in further.of_sides(label, entry.inside):
            yield label, one.rule, _cell(one)
        yield label, further.INSIDE_MINUS_OUTSIDE, _difference(entry.inside, resamples)


def _cell(one: further.Further, below: list[str] | tuple[str, ...] = ()) -> FurtherCell:
    if one.draws:
        shown = ", ".join(f"{100 * value:.1f}" for value in one.draws)
        notes = [f"draws {shown}", f"{one.labels} labels"]
    else:
        notes = [sentences.interval(one.accuracy)]
    if one.log_probability is not None:
        notes.append(f"log-probability {sentences.nats(one.log_probability)}")
    return FurtherCell(sentences.percent(one.accuracy.value), (*notes, *below))


def _difference(sides: results.Inside, resamples: int) -> FurtherCell:
    """In percentage points, on the same clips."""
    gap = table.inside_minus_outside(sides, resamples)
    ends = sentences.NO_INTERVAL
    if gap.has_interval:
        ends = f"{sentences.points(gap.low)} to {sentences.points(gap.high)}"
    seen = sentences.points(gap.smallest, is_signed=False)
    notes = (ends, f"one of {seen} would have been seen")
    return FurtherCell(f"{sentences.points(gap.value)} points", notes)
