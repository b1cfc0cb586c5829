"""Questions with answers, or clips with a label, as rows that fine-tuning learns."""

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmdiffmask import config, examples
from mmdiffmask.data import label_names, questions, tokenizers
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.data.records import shards, splits
from mmdiffmask.training.question_batch import ANSWER
from mmdiffmask.training.terms import classify_video, streams
from mmdiffmask.types import ChoiceBatch, VideoBatch

SETTING = "training.learn"
OTHERWISE = f"{SETTING} can only be the name of a label"
TRAIN, DEV = "train", "dev"
HELD_OUT = ("val", "test")  # splits of records that are answered once, at the end


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Rows of a split with what is right of each.

    Attributes:
      positions: of their records in the split.
      names: their ids: examples' of questions, clips' of a label.
      label: what is right: a candidate, or the place of the label's value.
      row: (position in the split, epoch) -> the row.
    """

    positions: tuple[int, ...]
    names: tuple[str, ...]
    label: tuple[int, ...]
    row: Callable[..., VideoBatch]

    def __len__(self) -> int:
        return len(self.label)

    def name(self, position: int) -> str:
        """The id of a row."""
        return self.names[position]

    def make_row(self) -> Callable[..., VideoBatch]:
        """(position, epoch = 0) -> the row."""
        return lambda i, epoch=0: self.row(self.positions[i], epoch)


class Task(NamedTuple):
    """What a run learns: names of the label's values, () of questions; rows by split.

    Its splits are TRAIN, DEV, and those of HELD_OUT that have rows.
    """

    labels: tuple[str, ...]
    rows: Mapping[str, Labelled]


def is_label(experiment: config.Experiment) -> bool:
    """Whether a label of clips is learnt, not questions."""
    return experiment.training.learn != classify_video.QUESTIONS


def verify(experiment: config.Experiment, corpus: Corpus) -> None:
    """Checks that records have what a run is to learn, by their index alone.

    Raises:
      ValueError: if they lack the label, or have no questions.
    """
    if is_label(experiment):
        _values(experiment, corpus)
    else:
        questions.index(corpus.entries(TRAIN), [0], OTHERWISE)


def of_corpus(experiment: config.Experiment, corpus: Corpus) -> Task:
    """The rows of all splits: dev's are kept apart from train's by their group.

    Clips need no boxes here, whatever `data.boxed_only` says. Dev has as many rows as
    `training.eval_clips` says, the first.

    Raises:
      ValueError: if there is nothing to learn, a question is longer than a sequence,
        or a held-out clip stands in train.
    """
    split = corpus.split_train(experiment.data.dev_share, boxed_only=False)
    chosen = {TRAIN: (TRAIN, split.train), DEV: (TRAIN, split.dev)}
    for name in HELD_OUT:
        if name in corpus.split_names:
            chosen[name] = (name, range(len(corpus.entries(name))))
    make = _of_label if is_label(experiment) else _of_questions
    task = make(experiment, corpus, chosen)
    for name in set(HELD_OUT) & task.rows.keys():
        splits.check_apart(split, corpus.groups(name))
    return task


# Name of rows -> the split that they are of, and positions in it.
Chosen = Mapping[str, tuple[str, Sequence[int]]]


def _of_label(experiment: config.Experiment, corpus: Corpus, chosen: Chosen) -> Task:
    """A row for each clip that has the label; says how many have none."""
    of_clip, label = _values(experiment, corpus), experiment.training.learn
    labels = tuple(sorted(set(of_clip.values()) - {""}))
    rows = {}
    for name, (split, positions) in chosen.items():
        entries = corpus.entries(split)
        clips = splits.first_of_clips([entry.clip for entry in entries], positions)
        kept = [i for i in clips if of_clip[entries[i].clip]]
        if len(kept) < len(clips):
            logging.warning(
                "%d of %d clips of %s have no label %r: they are left out",
                len(clips) - len(kept),
                len(clips),
                name,
                label,
            )
        rows[name] = _bounded(experiment, name, kept)
    _check_classes(label, of_clip, corpus, rows)
    place = {value: i for i, value in enumerate(labels)}

    def add(row: VideoBatch, record: shards.Record, epoch: int) -> VideoBatch:
        del epoch
        return row._replace(label=np.int32(place[of_clip[record.clip]]))

    labelled = {}
    for name, positions in rows.items():
        if not positions and name in HELD_OUT:
            continue
        split = chosen[name][0]
        clips = tuple(corpus.entries(split)[i].clip for i in positions)
        right = tuple(place[of_clip[clip]] for clip in clips)
        row = examples.make_row(experiment.data, None, corpus.source(split), add)
        labelled[name] = Labelled(positions, clips, right, row)
    return Task(labels, labelled)


def _values(experiment: config.Experiment, corpus: Corpus) -> dict[str, str]:
    """Clip -> its value of the label, over all splits.

    Raises:
      ValueError: as `label_names.of_clips`, or if train has fewer than two values.
    """
    label = experiment.training.learn
    rows = {
        entry.clip: entry.labels
        for split in corpus.split_names
        for entry in corpus.entries(split)
    }
    of_clip = label_names.of_clips(rows, label, SETTING)
    of_train = {of_clip[entry.clip] for entry in corpus.entries(TRAIN)} - {""}
    if len(of_train) < 2:
        shown = f"the one value {of_train.pop()!r}" if of_train else "no value"
        raise ValueError(
            f"{SETTING}={label}: clips of train have {shown} of this label; to tell"
            " clips apart at least 2 are needed"
        )
    return of_clip


def _check_classes(
    label: str,
    of_clip: Mapping[str, str],
    corpus: Corpus,
    rows: Mapping[str, Sequence[int]],
) -> None:
    """Says of values that no row of train has: no answer to them is right.

    Raises:
      ValueError: if dev has no row, or train's rows have fewer than two values.
    """

    def values(name: str) -> list[str]:
        entries = corpus.entries(name if name in HELD_OUT else TRAIN)
        return [of_clip[entries[i].clip] for i in rows[name]]

    known = set(values(TRAIN))
    if len(known) < 2 or not rows[DEV]:
        raise ValueError(
            f"{SETTING}={label}: {len(rows[TRAIN])} clips of train have {len(known)}"
            f" values of it, and {len(rows[DEV])} clips of dev have one; to train, two"
            " values and a clip of dev are needed: add labels, or change data.dev_share"
        )
    for name in rows:
        unknown = [value for value in values(name) if value not in known]
        if unknown:
            logging.warning(
                "%d of %d clips of %s have a %s that no clip of train has, such as %r:"
                " they cannot be answered right",
                len(unknown),
                len(rows[name]),
                name,
                label,
                unknown[0],
            )


def _bounded(
    experiment: config.Experiment, name: str, rows: Sequence[Any]
) -> tuple[Any, ...]:
    """Of dev as many as every evaluation looks at."""
    return tuple(rows[: experiment.training.eval_clips] if name == DEV else rows)


def _of_questions(
    experiment: config.Experiment, corpus: Corpus, chosen: Chosen
) -> Task:
    """A row for each question whose answer is known."""
    data = experiment.data
    known = {
        name: _bounded(experiment, name, _known(corpus, name, split, positions))
        for name, (split, positions) in chosen.items()
    }
    _check_length(experiment, corpus, [(chosen[n][0], known[n]) for n in known])
    add = _add_choices(experiment)
    rows = {
        name: Labelled(
            tuple(question.position for question in some),
            tuple(question.example_id for question in some),
            tuple(question.right for question in some),
            examples.make_row(data, None, corpus.source(chosen[name][0]), add),
        )
        for name, some in known.items()
        if some
    }
    return Task((), rows)


def _known(
    corpus: Corpus, name: str, split: str, positions: Sequence[int]
) -> list[questions.Question]:
    """The questions whose answer is known; says how many are not.

    Raises:
      ValueError: if there is none to train on or for dev, or a record has no question.
    """
    every = questions.index(corpus.entries(split), positions, OTHERWISE)
    known = [question for question in every if question.right >= 0]
    if not known and name not in HELD_OUT:
        raise ValueError(
            f"{corpus.folder}: no question of {name} has a known answer, so {OTHERWISE}"
        )
    if known and len(known) < len(every):
        logging.warning(
            "%d of %d questions of %s have no known answer: they are left out",
            len(every) - len(known),
            len(every),
            name,
        )
    return known


def _check_length(
    experiment: config.Experiment,
    corpus: Corpus,
    known: Sequence[tuple[str, Sequence[questions.Question]]],
) -> None:
    """Checks that questions fit into their sequences; as `questions.check_length`.

    Args:
      experiment: length and streams.
      corpus: the records.
      known: splits of the records, each with questions of it.
    """
    data = experiment.data
    is_heard = streams.AUDIO in experiment.training.streams
    measured = [
        question
        for split, some in known
        for question in questions.measured(
            some,
            corpus.entries(split),
            tokenizers.load(data.tokenizer).encode_plain,
            data.segments * data.sub_segments * is_heard,
            (ANSWER,),
            data.text_length,
        )
    ]
    questions.check_length(measured, data)


def _add_choices(experiment: config.Experiment) -> examples.AddLanguage:
    """Adds a record's question with all its candidates, and which is right."""
    data = experiment.data
    encode = tokenizers.load(data.tokenizer).encode_plain
    shown = experiment.training.streams
    views = [view for name, view in classify_video.VIEWS.items() if name in shown]

    def add(row: VideoBatch, record: shards.Record, epoch: int) -> VideoBatch:
        del epoch
        texts = questions.sequences(record, encode, data.text_length, views, (ANSWER,))
        right = np.int32(record.answer_index)
        return row._replace(label=right, choices=ChoiceBatch(*texts))

    return add
