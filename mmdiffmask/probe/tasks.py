"""Which questions of a folder of records a probe asks: of train, dev and val."""

import dataclasses
import pathlib
from collections.abc import Sequence

from mmdiffmask import config
from mmdiffmask.data import questions, tokenizers
from mmdiffmask.data.corpus import Corpus, Entry
from mmdiffmask.data.records import shards, splits
from mmdiffmask.probe import folds
from mmdiffmask.training.question_batch import ANSWER, MATCH

READ_OUTS = (MATCH, ANSWER)
LEAST_DEV = 10  # questions of dev, however few train may have


@dataclasses.dataclass(frozen=True)
class Task:
    """The questions of a run's records.

    Attributes:
      experiment: the run's settings.
      manifest: sha256 of the records' manifest.
      folder: of the feature cache.
      sources: split -> the records that it is part of.
      windows: split -> the key of each of these records' windows.
      chosen: split -> its questions with a known answer, as many as are asked for.
      unanswered: split -> how many were left out, their answer not being known.
      fold_of_clip: clip of val -> its fold; empty without folds.
    """

    experiment: config.Experiment
    manifest: str
    folder: pathlib.Path
    sources: dict[str, shards.Source]
    windows: dict[str, list[str]]
    chosen: dict[str, list[questions.Question]]
    unanswered: dict[str, int]
    fold_of_clip: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def read_outs(self) -> tuple[str, ...]:
        """Those on questions that the settings ask for."""
        requested = self.experiment.probe.read_outs
        return tuple(name for name in READ_OUTS if name in requested)


def open_task(
    experiment: config.Experiment, corpus: Corpus, manifest: str, folder: pathlib.Path
) -> Task:
    """Chooses the questions: TRAIN's by the hash of their id, VAL's by id.

    With folds those of VAL alone.

    Raises:
      ValueError: if the records have no questions, a split none with an answer, a
        question is longer than a sequence, or a clip of val stands in train.
    """
    split = corpus.split_train(experiment.data.dev_share, boxed_only=False)
    plan: dict[str, tuple[str, Sequence[int]]] = {
        "train": ("train", split.train),
        "dev": ("train", split.dev),
        "val": ("val", range(len(corpus.entries("val")))),
    }
    fold_of_clip = {}
    if n_folds := experiment.probe.folds:
        plan = {"val": plan["val"]}
        fold_of_clip = folds.deal(corpus.groups("val"), n_folds)
    chosen, unanswered = {}, {}
    for name, (split_name, positions) in plan.items():
        entries = corpus.entries(split_name)
        chosen[name], unanswered[name] = choose(experiment, name, entries, positions)
        if not chosen[name]:
            raise ValueError(
                f"{corpus.folder}: no question of {name} has a known answer, so"
                " probe.read_outs can only be clip"
            )
    every = [question for part in chosen.values() for question in part]
    questions.check_length(every, experiment.data)
    splits.check_apart(
        split, {question.clip: question.group for question in chosen["val"]}
    )
    return Task(
        experiment=experiment,
        manifest=manifest,
        folder=folder,
        sources={name: corpus.source(of_name) for name, (of_name, _) in plan.items()},
        windows={
            name: [entry.window for entry in corpus.entries(of_name)]
            for name, (of_name, _) in plan.items()
        },
        chosen=chosen,
        unanswered=unanswered,
        fold_of_clip=fold_of_clip,
    )


def every_question(
    experiment: config.Experiment,
    corpus: Corpus,
    manifest: str,
    folder: pathlib.Path,
    splits_of: Sequence[str],
) -> Task:
    """All questions of some splits, whether their answers are known or not.

    The parts of the task are called "all SPLIT".

    Raises:
      ValueError: if a record has no question, or a question is longer than a sequence.
    """
    chosen = {
        f"all {split}": _measured(
            experiment,
            corpus.entries(split),
            questions.index(corpus.entries(split), range(len(corpus.entries(split)))),
        )
        for split in splits_of
    }
    every = [question for part in chosen.values() for question in part]
    questions.check_length(every, experiment.data)
    return Task(
        experiment=experiment,
        manifest=manifest,
        folder=folder,
        sources={f"all {split}": corpus.source(split) for split in splits_of},
        windows={
            f"all {split}": [entry.window for entry in corpus.entries(split)]
            for split in splits_of
        },
        chosen=chosen,
        unanswered={},
    )


def _measured(
    experiment: config.Experiment,
    entries: Sequence[Entry],
    chosen: list[questions.Question],
) -> list[questions.Question]:
    """The questions with their lengths in tokens."""
    data = experiment.data
    return questions.measured(
        chosen,
        entries,
        tokenizers.load(data.tokenizer).encode_plain,
        data.segments * data.sub_segments,
        experiment.probe.read_outs,
        data.text_length,
    )


def choose(
    experiment: config.Experiment,
    name: str,
    entries: Sequence[Entry],
    positions: Sequence[int],
) -> tuple[list[questions.Question], int]:
    """The questions of a split that are asked, and how many have no known answer.

    Dev is bounded like train, by its share of what train may have.
    """
    settings, data = experiment.probe, experiment.data
    every = questions.index(entries, positions)
    known = [question for question in every if question.right >= 0]
    if name == "val":
        chosen = questions.first_by_id(known, settings.eval_questions)
    else:
        most, share = settings.questions, data.dev_share
        if name == "dev":
            most = max(LEAST_DEV, round(most * share / (1 - share)))
        chosen = questions.first_by_hash(known, most)
    return _measured(experiment, entries, chosen), len(every) - len(known)
