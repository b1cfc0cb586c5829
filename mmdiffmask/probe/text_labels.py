"""The label of texts by folds of groups, or on the official test, beside its floors."""

import collections
import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Int

from mmdiffmask import config, statistics
from mmdiffmask.probe import (
    features,
    folded,
    folds,
    label_heads,
    linear,
    results,
    text_floors,
)
from mmdiffmask.probe.text_rows import DEV, TEST, TRAIN, TextRows
from mmdiffmask.training.read_outs import clips as read_outs

# As `contrasts.OF_FOLDS` and OF_TEST name them: the official test, beside folds; rows
# whose text stands in TRAIN, and others.
OFFICIAL, SEEN, NEW = "test", "seen", "new"
PENALTY_FOLDS = 5  # of TRAIN, where dev may not choose


def probe(
    settings: config.Probe,
    label: str,
    rows: TextRows,
    vectors: features.Features,
) -> dict[str, results.Label]:
    """The scores of a label: without folds on the official test, else also of all rows.

    Args:
      settings: of the probe. With folds every row is scored by heads of the other
        folds, whose penalty these choose among themselves; heads of the official test
        then choose theirs by folds of train, as dev may hold train's texts. Without
        folds dev chooses it.
      label: its name.
      rows: labelled texts.
      vectors: of each row, by its name.

    Raises:
      ValueError: as `linear.probe` and `folded.labels`.
    """
    if not settings.folds:
        return {label: _official(settings, label, rows, vectors)}
    every = _by_folds(settings, label, rows, vectors)
    shown = dataclasses.replace(settings, fractions=())
    name = f"{label}/{OFFICIAL}"
    return {label: every, name: _official(shown, name, rows, vectors)}


def _by_folds(
    settings: config.Probe, label: str, rows: TextRows, vectors: features.Features
) -> results.Label:
    """Every row by heads of the other folds; dev and test's new texts also apart."""
    fold_of_group = folds.deal({group: group for group in rows.groups}, settings.folds)
    fold_of_row = {
        name: fold_of_group[group]
        for name, group in zip(rows.names, rows.groups, strict=True)
    }
    of_row = dict(zip(rows.names, rows.labels, strict=True))
    heads = {
        read_out: label_heads.by_folds(
            _settings_of(settings, i),
            label,
            of_row,
            fold_of_clip=fold_of_row,
            read_out=read_out,
            parts=[vectors],
            classes=rows.classes,
        )
        for i, read_out in enumerate(read_outs.ordered(vectors.vectors))
    }
    is_scored = np.ones(len(rows), bool)
    fold = np.array([fold_of_row[name] for name in rows.names])
    parts = {NEW: rows.of(DEV, TEST) & ~rows.is_in_train}
    return _label(heads, rows, is_scored, fold=fold, parts=parts)


def _official(
    settings: config.Probe, label: str, rows: TextRows, vectors: features.Features
) -> results.Label:
    """The rows of test by heads of train's, in two parts: texts of TRAIN, and new."""
    sets = [_some(vectors, rows.of(split)) for split in (TRAIN, DEV, TEST)]
    of_row = dict(zip(rows.names, rows.labels, strict=True))
    heads = {}
    for i, read_out in enumerate(read_outs.ordered(vectors.vectors)):
        its, parts, losses = _settings_of(settings, i), sets, None
        if settings.folds:
            losses = _losses(settings, rows.some(rows.of(TRAIN)), sets[0], read_out)
            its = dataclasses.replace(its, l2=(linear.least(losses),))
            parts = [sets[0], sets[0], sets[2]]
        head = label_heads.of_sets(
            its,
            label,
            of_row,
            read_out=read_out,
            parts=parts,
            classes=rows.classes,
        )
        if losses is not None:
            named = {str(penalty): loss for penalty, loss in losses.items()}
            head = dataclasses.replace(head, dev_loss=named)
        heads[read_out] = head
    known = rows.some(rows.of(TRAIN, TEST))
    is_scored = known.of(TEST)
    parts = {SEEN: known.is_in_train, NEW: ~known.is_in_train}
    fold = np.where(is_scored, 0, -1)
    return _label(heads, known, is_scored, fold=fold, parts=parts)


def _settings_of(settings: config.Probe, place: int) -> config.Probe:
    """Fewer labels are for the read-out that rows are compared by, the first."""
    return dataclasses.replace(settings, fractions=()) if place else settings


def _some(
    vectors: features.Features, is_taken: Bool[np.ndarray, " e"]
) -> features.Features:
    kept = np.flatnonzero(is_taken)
    return features.Features(
        tuple(vectors.clip[i] for i in kept),
        {name: values[kept] for name, values in vectors.vectors.items()},
    )


def _losses(
    settings: config.Probe,
    train: TextRows,
    vectors: features.Features,
    read_out: str,
) -> dict[float, float]:
    """Penalty -> loss of train's rows under heads of train's other folds."""
    of_group = folds.deal({group: group for group in train.groups}, PENALTY_FOLDS)
    fold = np.array([of_group[group] for group in train.groups])
    part = linear.label_clips(
        vectors, read_out, dict(zip(train.names, train.labels, strict=True))
    )
    return folded.dev_losses(part, fold, settings.l2)


def _label(
    heads: Mapping[str, results.LabelHead],
    rows: TextRows,
    is_scored: Bool[np.ndarray, " e"],
    fold: Int[np.ndarray, " e"],
    parts: Mapping[str, Bool[np.ndarray, " e"]],
) -> results.Label:
    """A label with its floors; a part without any row is left out."""
    scored = rows.some(is_scored)
    unknown: collections.Counter[str] = collections.Counter()
    for one in np.unique(fold[is_scored]):
        known = set(_labels(rows, fold != one))
        unknown.update(x for x in _labels(rows, fold == one) if x not in known)
    floors = text_floors.predict(rows, is_scored, fold)
    target = linear.class_index(scored.labels, rows.classes)
    is_right = np.array(floors[text_floors.LARGEST]) == target
    n_classes = len(rows.classes)
    return results.Label(
        heads=dict(heads),
        floors=statistics.Floors(1 / n_classes, float(is_right.mean()), n_classes),
        unknown=dict(unknown),
        clips=list(scored.names),
        texts=results.OfTexts(
            classes=list(rows.classes),
            target=target.tolist(),
            groups=list(scored.groups),
            floors={name: list(values) for name, values in floors.items()},
            parts={
                name: is_part[is_scored].astype(int).tolist()
                for name, is_part in parts.items()
                if is_part[is_scored].any()
            },
        ),
    )


def _labels(rows: TextRows, is_taken: Bool[np.ndarray, " e"]) -> list[str]:
    return [rows.labels[i] for i in np.flatnonzero(is_taken)]
