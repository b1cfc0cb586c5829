"""All numbers of an experiment as one table, a line for each: results.csv."""

import csv
import io
from collections.abc import Iterator, Mapping

from mmdiffmask import contrasts
from mmdiffmask.experiment import scores
from mmdiffmask.experiment.plan import Planned
from mmdiffmask.experiment.result_file import Result
from mmdiffmask.masking.text_summary import TextMaskSummary
from mmdiffmask.probe import further

COLUMNS = ("row", "seed", "measure", "read_out", "statistic", "value", "n")
ACCURACY, LOG, F1_NAME = "accuracy", "log_probability", "macro F1"
GAP = "accuracy_difference"
MASKS, COST, TRAINING = "masks", "cost", "training"
Line = tuple[str, str, str, float, int]  # without row and seed


def text(results: Mapping[Planned, Result]) -> str:
    """The table with its heading.

    `n` counts what a value is of: clips, questions, predicted cells; 1 of seconds.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one, result in results.items():
        for *names, value, n in _lines(result):
            writer.writerow((one.row, one.seed, *names, f"{value:.6g}", n))
    return file.getvalue()


def _lines(result: Result) -> Iterator[Line]:
    for score in scores.of_result(result):
        statistic = F1_NAME if score.measure.endswith(contrasts.F1) else ACCURACY
        read_out = score.read_out
        if score.rule != scores.HEAD:
            read_out = ", ".join(filter(None, (read_out, score.rule)))
        yield score.measure, read_out, statistic, score.accuracy.value, score.count
        if score.log_probability is not None:
            yield score.measure, read_out, LOG, score.log_probability, score.count
    for label, gap in scores.sides(result).items():
        yield label, further.INSIDE_MINUS_OUTSIDE, GAP, gap.value, gap.n
    for line in result.held_out:
        if line["value"] is not None:
            measure = f"held-out {line['masks']}, step {line['step']}"
            yield measure, "", line["metric"], line["value"], line["count"]
    if isinstance(result.masks, TextMaskSummary):
        yield from _words(result.masks)
    elif result.masks is not None:
        masks = result.masks
        in_boxes = masks.whole_box + masks.cut_box
        bound = min(1.0, masks.boxes_share / result.claim.settings["masking.ratio"])
        shares = {"in_boxes": in_boxes, "bound_of_in_boxes": bound}
        names = ("whole_box", "cut_box", "fill", "boxes_share", "hidden_share")
        shares |= {name: getattr(masks, name) for name in names}
        for name, value in shares.items():
            yield MASKS, "", name, value, masks.clips
    for step, loss in enumerate(result.losses, 1):
        yield TRAINING, "", f"loss of update {step}", loss, 1
    for stage, seconds in result.seconds.items():
        yield COST, "", f"processor seconds, {stage}", seconds, 1


def _words(masks: TextMaskSummary) -> Iterator[Line]:
    """What masks of texts hide."""
    for name in ("hidden_share", "in_words", "cut_words"):
        yield MASKS, "", name, getattr(masks, name), masks.windows
    for kind in masks.of_class:
        yield MASKS, "", f"share of hidden words, {kind}", masks.of_class[kind], 1
    for kind in masks.lift:
        yield MASKS, "", f"lift, {kind}", masks.lift[kind], 1
    for word, hidden, _ in masks.most:
        yield MASKS, "", f"how often {word} is hidden", hidden, 1
