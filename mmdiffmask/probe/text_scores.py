"""The scores of the label of texts: accuracy and macro F1, of all rows and of parts."""

from collections.abc import Iterator, Sequence

import numpy as np

from mmdiffmask import statistics
from mmdiffmask.contrasts import F1
from mmdiffmask.probe import results

SEED = 0  # of the bootstrap


def parts_of(name: str, label: results.Label) -> dict[str, np.ndarray]:
    """Measure -> which rows it is of: the label's own name is that of all."""
    whole = {name: np.ones(len(label.clips), bool)}
    parts = {
        f"{name}/{part}": np.array(is_in, bool)
        for part, is_in in label.texts.parts.items()
    }
    return whole | parts


def of_choice(
    name: str, label: results.Label, predicted: Sequence[int], resamples: int = 0
) -> dict[str, statistics.Score]:
    """Macro F1 and accuracy of all rows and of each part, over groups of texts.

    Args:
      name: of the label.
      label: with the right classes.
      predicted: the class that is named for each of its rows.
      resamples: of one bootstrap for all of them; 0: points without an interval.

    Returns:
      Measure, by F1 and then by accuracy -> its score; `n` counts groups.
    """
    texts, n = label.texts, len(label.texts.classes)
    target, named = np.array(texts.target), np.array(predicted)
    counts = statistics.class_counts(named, target, n)
    values = np.concatenate([counts, named[:, None] == target[:, None]], 1)
    values = np.concatenate([values, np.ones((len(target), 1))], 1)
    parts = parts_of(name, label)
    every = [values * is_taken[:, None] for is_taken in parts.values()]
    _, group = np.unique(np.array(texts.groups), return_inverse=True)
    sums = np.zeros((int(group.max()) + 1, values.shape[1] * len(parts)))
    np.add.at(sums, group, np.concatenate(every, 1))
    # Without resamples the whole is the only one.
    drawn = statistics.resampled(sums, SEED, resamples) if resamples else sums[:0]
    totals = np.concatenate([sums.sum(0, keepdims=True), drawn])
    scores: dict[str, statistics.Score] = {}
    cut = zip(parts.items(), np.split(totals, len(parts), axis=1), strict=True)
    for (measure, is_taken), part in cut:
        part = part[part[:, -1] > 0]
        groups = len(np.unique(group[is_taken]))
        rates = {F1: statistics.macro_f1(part[:, : 3 * n])}
        rates[""] = part[:, -2] / part[:, -1]
        for kind, rate in rates.items():
            low, high = np.quantile(rate[1:] if resamples else rate, [0.025, 0.975])
            scores[f"{measure}{kind}"] = statistics.Score(
                float(rate[0]), float(low), float(high), groups
            )
    return scores


def floors(name: str, label: results.Label) -> dict[str, dict[str, float]]:
    """Measure, by F1 and by accuracy -> floor -> its value."""
    values: dict[str, dict[str, float]] = {}
    for floor, predicted in label.texts.floors.items():
        for measure, score in of_choice(name, label, predicted).items():
            values.setdefault(measure, {})[floor] = score.value
    return values


def of_few(head: results.LabelHead) -> Iterator[tuple[str, float, int]]:
    """(rule, mean F1 over the draws, how many draws) of each fraction of the labels."""
    for fraction in dict.fromkeys(one.fraction for one in head.few):
        values = [one.macro_f1 for one in head.few if one.fraction == fraction]
        yield f"{100 * fraction:g} % of labels", float(np.mean(values)), len(values)
