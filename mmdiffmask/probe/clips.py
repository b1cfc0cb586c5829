"""The read-out `clip` of a run: features of its clips, and a head for every label."""

import collections
import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mmdiffmask import config, configure, examples, inputs, statistics, versions
from mmdiffmask.data import loader
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.data.records import shards, splits
from mmdiffmask.probe import encoders, features, linear, results, ties
from mmdiffmask.probe import labels as label_names
from mmdiffmask.run_files import FEATURES
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training.family import Encode, Params


class ClipSets(NamedTuple):
    """Features of the clips of train, of dev and of val, and clip -> its labels."""

    train: features.Features
    dev: features.Features
    val: features.Features
    labels: Mapping[str, Mapping[str, str]]


def probe(
    experiment: config.Experiment,
    corpus: Corpus,
    folder: RunFolder,
    params: Params,
    fingerprint: str,
) -> tuple[dict[str, results.Label], dict[str, str]]:
    """The scores of each label of `probe.labels`; why some have none.

    Args:
      experiment: the run's settings.
      corpus: its records.
      folder: of the run; features are cached in it.
      params: of the frozen encoder.
      fingerprint: of them, for the cache.

    Raises:
      ValueError: if the records lack a label, or dev cannot choose a penalty.
    """
    sets = _sets(experiment, corpus, folder, params, fingerprint)
    scores: dict[str, results.Label] = {}
    left_out: dict[str, str] = {}
    for label in experiment.probe.labels:
        if reason := why_left_out(label, sets.train, sets.labels):
            left_out[label] = reason
        else:
            scores[label] = probe_label(experiment.probe, label, sets)
    return scores, left_out


def _sets(
    experiment: config.Experiment,
    corpus: Corpus,
    folder: RunFolder,
    params: Params,
    fingerprint: str,
) -> ClipSets:
    """The features, from the cache where they are in it."""
    split = corpus.split_train(experiment.data.dev_share, boxed_only=False)
    splits.check_apart(split, corpus.groups("val"))
    parts = {
        "train": ("train", split.first_of_clips(split.train)),
        "dev": ("train", split.first_of_clips(split.dev)),
        "val": ("val", corpus.first_of_clips("val")),
    }
    encode = encoders.of_clips(experiment)
    sets, labels = {}, {}
    for name, (records, positions) in parts.items():
        entries = [corpus.entries(records)[i] for i in positions]
        labels |= {entry.clip: entry.labels for entry in entries}
        key = features.cache_key(
            fingerprint,
            folder.inputs()[inputs.RECORDS]["sha256"],
            name,
            configure.to_json(experiment.data),
            configure.to_json(experiment.model),
            versions.number("features"),
        )
        clips = [entry.clip for entry in entries]
        source = corpus.source(records)
        compute = functools.partial(
            _extract, experiment, source, positions, clips, encode, params
        )
        sets[name] = features.cached(folder.at(FEATURES), key, compute)
    return ClipSets(**sets, labels=labels)


def _extract(
    experiment: config.Experiment,
    source: shards.Source,
    positions: Sequence[int],
    clips: Sequence[str],
    encode: Encode,
    params: Params,
) -> features.Features:
    """Features of the clips, whose records stand at these positions."""
    row = examples.make_row(experiment.data, experiment.masking, source)
    size = experiment.probe.batch_size
    with loader.eval_batches(row, positions, size) as batches:
        return features.extract(encode, params, features.named(clips, batches))


def why_left_out(
    label: str, train: features.Features, labels: Mapping[str, Mapping[str, str]]
) -> str:
    """Why there is nothing to tell apart by this label; "" where there is."""
    of_clip = label_names.of_clips(labels, label)
    classes = {of_clip[clip] for clip in train.clip} - {""}
    if len(classes) != 1:
        return ""
    return f"{label}: every clip of train is {classes.pop()!r}: nothing to tell apart"


def probe_label(settings: config.Probe, label: str, sets: ClipSets) -> results.Label:
    """Scores of one label: each read-out, by a linear head and by nearest neighbours.

    Raises:
      ValueError: as `linear.probe`.
    """
    of_clip = label_names.of_clips(sets.labels, label)
    heads: dict[str, results.LabelHead] = {}
    for read_out in sorted(sets.train.vectors):
        labelled = (linear.label_clips(part, read_out, of_clip) for part in sets[:3])
        try:
            result = linear.probe(*labelled, settings.l2, settings.neighbours)
        except ValueError as error:
            raise ValueError(f"probe.labels: {label}: {error}") from error
        heads[read_out] = results.LabelHead(
            l2=result.l2,
            dev_loss={str(k): v for k, v in result.dev_loss.items()},
            is_right=ties.as_json(result.is_right),
            is_right_knn=ties.as_json(result.is_right_knn),
        )
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
