"""Heads of one label on one kind of features, with all labels and with fewer."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from mmdiffmask import config, statistics
from mmdiffmask.probe import features, fewer, folded, linear, results, ties


def of_sets(
    settings: config.Probe,
    label: str,
    of_clip: Mapping[str, str],
    read_out: str,
    parts: Sequence[features.Features],
    classes: Sequence[str] = (),
) -> results.LabelHead:
    """The scores of one read-out on val.

    Args:
      settings: of the probe.
      label: its name, for messages.
      of_clip: clip -> its label; "" where it has none.
      read_out: of the features.
      parts: features of train, dev and val.
      classes: of texts, all that there are: macro F1 is measured, and a fraction may
        leave a class without a row.

    Raises:
      ValueError: as `linear.probe`, or if a fraction leaves a class without a clip.
    """
    labelled = [linear.label_clips(part, read_out, of_clip) for part in parts]
    try:
        result = linear.probe(*labelled, settings.l2, settings.neighbours)
        few = fewer.scored(
            settings, functools.partial(_few, settings, label, labelled, classes)
        )
    except ValueError as error:
        raise ValueError(f"probe.labels: {label}: {error}") from error
    return _as_head(result, few, classes, l2=result.l2)


def by_folds(
    settings: config.Probe,
    label: str,
    of_clip: Mapping[str, str],
    fold_of_clip: Mapping[str, int],
    read_out: str,
    parts: Sequence[features.Features],
    classes: Sequence[str] = (),
) -> results.LabelHead:
    """The scores of one read-out on the held-out clips, by heads of the other folds.

    Args:
      settings: of the probe.
      label: its name, for messages.
      of_clip: clip -> its label; "" where it has none.
      fold_of_clip: clip -> its fold.
      read_out: of the features.
      parts: features of the held-out clips, alone.
      classes: as of `of_sets`.

    Raises:
      ValueError: as `folded.labels`, or if a fraction leaves a class without a clip.
    """
    part = linear.label_clips(parts[0], read_out, of_clip)
    fold = np.array([fold_of_clip[clip] for clip in part.clip])
    try:
        result = folded.labels(part, fold, settings.l2, settings.neighbours)
        few = fewer.scored(
            settings,
            functools.partial(_few_by_folds, settings, label, part, fold, classes),
        )
    except ValueError as error:
        raise ValueError(f"probe.labels: {label}: {error}") from error
    return _as_head(result, few, classes, l2_of_fold=list(result.l2))


def _as_head(
    result: linear.Result | folded.Result,
    few: Sequence[results.Few],
    classes: Sequence[str],
    **l2: Any,
) -> results.LabelHead:
    """What is stored of a head, with its penalty or those of the folds."""
    predicted = linear.class_index(result.predicted, classes) if classes else ()
    return results.LabelHead(
        dev_loss={str(k): v for k, v in result.dev_loss.items()},
        is_right=ties.as_json(result.is_right),
        is_right_knn=ties.as_json(result.is_right_knn),
        log_probability=ties.logs_as_json(result.log_probability),
        few=few,
        predicted=[int(x) for x in predicted] or (),
        **l2,
    )


def _few(
    settings: config.Probe,
    label: str,
    sets: Sequence[linear.Labelled],
    classes: Sequence[str],
    fraction: float,
    number: int,
) -> fewer.Scored:
    """What heads of a fraction of train reach; dev is drawn alike."""
    train, dev, val = sets
    drawn = linear.some(train, fewer.draw(train.clip, fraction, number))
    if not classes:
        fewer.check_classes(fraction, drawn.labels, train.labels, label)
    least = fewer.draw(dev.clip, fraction, number, least=fewer.LEAST_DEV)
    result = linear.probe(
        drawn, linear.some(dev, least), val, settings.l2, settings.neighbours
    )
    return _reached(len(drawn.clip), result, val.labels, classes)


def _few_by_folds(
    settings: config.Probe,
    label: str,
    part: linear.Labelled,
    fold: Int[np.ndarray, " e"],
    classes: Sequence[str],
    fraction: float,
    number: int,
) -> fewer.Scored:
    """What heads of a fraction of the held-out clips reach on all of them."""
    is_drawn = fewer.draw(part.clip, fraction, number)
    kept = [part.labels[i] for i in np.flatnonzero(is_drawn)]
    if not classes:
        fewer.check_classes(fraction, kept, part.labels, label)
    result = folded.labels(
        part,
        fold,
        settings.l2,
        settings.neighbours,
        is_drawn=is_drawn,
        may_lack=bool(classes),
    )
    return _reached(len(kept), result, part.labels, classes)


def _reached(
    count: int,
    result: linear.Result | folded.Result,
    labels: Sequence[str],
    classes: Sequence[str],
) -> fewer.Scored:
    """The scores of heads that were fitted on so many labels."""
    f1 = None
    if classes:
        predicted, target = (
            linear.class_index(names, classes) for names in (result.predicted, labels)
        )
        counts = statistics.class_counts(predicted, target, len(classes))
        f1 = float(statistics.macro_f1(counts.sum(0, keepdims=True))[0])
    return fewer.Scored(
        count, np.asarray(result.is_right, float), result.log_probability, f1
    )
