"""The read-out `clip`: features of clips, and a head for every label."""

import collections
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mmdiffmask import config, examples, statistics
from mmdiffmask.data import label_names, loader
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.data.records import shards, splits
from mmdiffmask.probe import (
    encoders,
    features,
    folds,
    inside,
    label_heads,
    results,
)
from mmdiffmask.probe.frozen import Frozen
from mmdiffmask.training import mesh as meshes


class ClipSets(NamedTuple):
    """Features of the clips of train, of dev and of val, and clip -> its labels."""

    train: features.Features
    dev: features.Features
    val: features.Features
    labels: Mapping[str, Mapping[str, str]]


class HeldOut(NamedTuple):
    """Features of the clips of val, and clip -> its labels, and its fold."""

    val: features.Features
    labels: Mapping[str, Mapping[str, str]]
    fold_of_clip: Mapping[str, int]


def check_val(corpus: Corpus) -> None:
    """Checks that records have clips to score a probe on.

    Raises:
      ValueError: if they have not.
    """
    if "val" not in corpus.split_names:
        raise ValueError(
            f"{corpus.folder}: no val split to score a probe on; records of loose"
            " videos have one if questions or labels of two videos are given"
        )


def probe(
    frozen: Frozen, corpus: Corpus
) -> tuple[dict[str, results.Label], dict[str, str]]:
    """The scores of each label of `probe.labels`; why some have none.

    Args:
      frozen: the encoder.
      corpus: its records.

    Raises:
      ValueError: if the records lack a label, or dev cannot choose a penalty.
    """
    sets, settings = _sets(frozen, corpus), frozen.experiment.probe
    scores: dict[str, results.Label] = {}
    left_out: dict[str, str] = {}
    for label in settings.labels:
        if reason := why_left_out(label, sets[0], sets.labels, FITTED[type(sets)]):
            left_out[label] = reason
        elif isinstance(sets, HeldOut):
            scores[label] = probe_folds(settings, label, sets)
        else:
            scores[label] = probe_label(settings, label, sets)
    if settings.inside_boxes:
        sides = inside.encode(frozen, corpus)
        for label, entry in scores.items():
            its_sides = inside.score(settings, label, sides)
            scores[label] = dataclasses.replace(entry, inside=its_sides)
    return scores, left_out


# What the first of the sets, which heads are fitted on, is called.
FITTED = {ClipSets: "train", HeldOut: "val"}


def _sets(frozen: Frozen, corpus: Corpus) -> ClipSets | HeldOut:
    """The features, from the cache where they are in it; with folds of val alone."""
    settings, data = frozen.experiment.probe, frozen.experiment.data
    split = corpus.split_train(data.dev_share, boxed_only=False)
    splits.check_apart(split, corpus.groups("val"))
    parts = {"val": ("val", corpus.first_of_clips("val"))}
    if not settings.folds:
        parts = {
            "train": ("train", split.first_of_clips(split.train)),
            "dev": ("train", split.first_of_clips(split.dev)),
        } | parts
    sets, labels = {}, {}
    for name, (records, positions) in parts.items():
        entries = [corpus.entries(records)[i] for i in positions]
        labels |= {entry.clip: entry.labels for entry in entries}
        sets[name] = encode(frozen, corpus, name, records, positions)
    if settings.folds:
        fold_of_clip = folds.deal(corpus.groups("val"), settings.folds)
        return HeldOut(**sets, labels=labels, fold_of_clip=fold_of_clip)
    return ClipSets(**sets, labels=labels)


def encode(
    frozen: Frozen, corpus: Corpus, name: str, records: str, positions: Sequence[int]
) -> features.Features:
    """Features of clips, from the cache as far as they are in it.

    Args:
      frozen: the encoder.
      corpus: its records.
      name: of these clips, for the cache.
      records: the split that they are of.
      positions: of a record of each in it.
    """
    source, entries = corpus.source(records), corpus.entries(records)
    clips = [entries[i].clip for i in positions]
    compute = functools.partial(_extract, frozen, source, positions, clips)
    return frozen.features(name, clips, compute)


def _extract(
    frozen: Frozen,
    source: shards.Source,
    positions: Sequence[int],
    clips: Sequence[str],
    part: slice,
    note: features.Note,
) -> features.Features:
    """Features of a stretch of the clips, whose records stand at these positions."""
    experiment = frozen.experiment
    row = examples.make_row(experiment.data, None, source)
    size, cut = frozen.batch_size, meshes.by_example(frozen.devices.mesh)
    with loader.eval_batches(row, positions[part], size, sharding=cut) as batches:
        named = features.named(clips[part], frozen.watched(batches))
        encoder = encoders.of_clips(experiment)
        return features.extract(encoder, frozen.params, named, note)


def why_left_out(
    label: str,
    fitted: features.Features,
    labels: Mapping[str, Mapping[str, str]],
    split: str = "train",
) -> str:
    """Why there is nothing to tell apart by this label; "" where there is.

    Args:
      label: its name.
      fitted: the clips that heads are fitted on.
      labels: clip -> its labels.
      split: that these clips are of.
    """
    of_clip = label_names.of_clips(labels, label)
    classes = {of_clip[clip] for clip in fitted.clip} - {""}
    if len(classes) != 1:
        return ""
    return f"{label}: every clip of {split} is {classes.pop()!r}: nothing to tell apart"


def probe_label(settings: config.Probe, label: str, sets: ClipSets) -> results.Label:
    """Scores of one label: each read-out, by a linear head and by nearest neighbours.

    Raises:
      ValueError: as `linear.probe`.
    """
    of_clip = label_names.of_clips(sets.labels, label)
    parts = [sets.train, sets.dev, sets.val]
    score = functools.partial(label_heads.of_sets, settings, label, of_clip)
    heads = {name: score(name, parts) for name in sorted(sets.train.vectors)}
    train, val = (
        [of_clip[clip] for clip in part.clip if of_clip[clip]]
        for part in (sets.train, sets.val)
    )
    known = set(train)
    return results.Label(
        heads=heads,
        floors=statistics.floors(train, val),
        unknown=dict(collections.Counter(name for name in val if name not in known)),
        clips=[clip for clip in sets.val.clip if of_clip[clip]],
    )


def probe_folds(settings: config.Probe, label: str, sets: HeldOut) -> results.Label:
    """Scores of one label on every held-out clip, by heads of the other folds.

    Raises:
      ValueError: as `folded.labels`.
    """
    of_clip = label_names.of_clips(sets.labels, label)
    clips = [clip for clip in sets.val.clip if of_clip[clip]]
    names = np.array([of_clip[clip] for clip in clips])
    fold = np.array([sets.fold_of_clip[clip] for clip in clips])
    score = functools.partial(
        label_heads.by_folds, settings, label, of_clip, sets.fold_of_clip
    )
    heads = {name: score(name, [sets.val]) for name in sorted(sets.val.vectors)}
    floors, unknown = [], collections.Counter()
    for one in np.unique(fold):
        fitted, scored = names[fold != one].tolist(), names[fold == one].tolist()
        floors += [statistics.floors(fitted, scored).largest_class] * len(scored)
        unknown.update(name for name in scored if name not in fitted)
    n_classes = len(set(names.tolist()))
    return results.Label(
        heads=heads,
        floors=statistics.Floors(1 / n_classes, float(np.mean(floors)), n_classes),
        unknown=dict(unknown),
        clips=clips,
    )
