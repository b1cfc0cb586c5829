"""The question read-outs of a run: features, heads, floors. design.md section 7."""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float

from mmdiffmask import config, examples, starts
from mmdiffmask.data import question_kinds, questions, tokenizers, video
from mmdiffmask.data.corpus import Corpus, Entry
from mmdiffmask.data.records import shards, splits
from mmdiffmask.probe import (
    encoders,
    features,
    floors,
    question_features,
    question_scores,
    results,
)
from mmdiffmask.probe.frozen import Frozen
from mmdiffmask.training.family import Params
from mmdiffmask.training.question_batch import ANSWER, MATCH

READ_OUTS = (MATCH, ANSWER)
LEAST_DEV = 10  # questions of dev, however few train may have

Sets = dict[str, features.Features]  # of train, dev and val


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
    """

    experiment: config.Experiment
    manifest: str
    folder: pathlib.Path
    sources: dict[str, shards.Source]
    windows: dict[str, list[str]]
    chosen: dict[str, list[questions.Question]]
    unanswered: dict[str, int]

    @property
    def read_outs(self) -> tuple[str, ...]:
        """Those on questions that the settings ask for."""
        requested = self.experiment.probe.read_outs
        return tuple(name for name in READ_OUTS if name in requested)


def open_task(
    experiment: config.Experiment, corpus: Corpus, manifest: str, folder: pathlib.Path
) -> Task:
    """Chooses the questions: TRAIN's by the hash of their id, VAL's by id.

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


def probe(task: Task, params: Params, weights: str, seed: int) -> results.Questions:
    """Scores of all question read-outs and their floors: `questions` of probe.json.

    Args:
      task: the questions.
      params: of the frozen encoder.
      weights: their fingerprint, for the cache.
      seed: of the run: makes the untrained encoder.

    Raises:
      ValueError: if the checkpoint lacks what `match` needs, or `probe.kinds` is wrong.
    """
    settings = task.experiment.probe
    kinds = question_kinds.parse(settings.kinds)
    frozen = Frozen(
        task.experiment, task.manifest, task.folder, weights, lambda: params
    )
    sets = encode(task, frozen, floors.FULL)
    by_id = {question.example_id: question for question in task.chosen["val"]}
    val = [by_id[name] for name in sets["val"].clip]
    read_outs, of_floors = _score(task, sets, floors.FULL), {}
    if settings.floors:
        of_floors = _score_floors(task, frozen, sets["val"].clip, seed)
    return results.Questions(
        kinds=[question_kinds.of_text(question.text, kinds) for question in val],
        clips=[question.clip for question in val],
        ids=[question.example_id for question in val],
        chance=float(np.mean([1 / question.candidates for question in val])),
        counts={name: len(chosen) for name, chosen in task.chosen.items()},
        unanswered=task.unanswered,
        read_outs=read_outs,
        floors={
            name: {
                floor: results.Scores(is_right=hits[name])
                for floor, hits in of_floors.items()
            }
            for name in (read_outs if of_floors else ())
        },
    )


def _score_floors(
    task: Task, frozen: Frozen, ids: Sequence[str], seed: int
) -> dict[str, floors.Hits]:
    """Floor -> hits, each floor with features and head of its own."""
    blind = encode(task, frozen, floors.BLIND)
    hits = {name: _hits(task, blind, views) for name, views in floors.VIEWS.items()}

    def untrained() -> floors.Hits:
        random = dataclasses.replace(
            frozen,
            weights=f"{floors.UNTRAINED} {seed}",
            make_params=lambda: _untrained(task, seed),
        )
        return _hits(task, encode(task, random, floors.FULL), floors.FULL)

    return hits | {
        floors.UNTRAINED: floors.untrained(
            task.experiment, task.manifest, seed, ids, untrained
        )
    }


def _untrained(task: Task, seed: int) -> Params:
    """A random start of the run's sizes, as small models from scratch begin with."""
    patch_grid = examples.patch_grid(task.experiment.data)

    def mean_patch() -> Float[np.ndarray, " p"]:
        first: dict[str, int] = {}
        for question in task.chosen["train"]:
            first.setdefault(question.clip, question.position)
        shown = sorted(first.values())[: starts.PIXEL_CLIPS]
        source = task.sources["train"]
        return starts.mean_of(video.pictures(source[i], patch_grid) for i in shown)

    return starts.random(task.experiment, seed, mean_patch)


def encode(task: Task, frozen: Frozen, views: Sequence[str]) -> Sets:
    """Features of every split in some views, from the cache if they are in it."""
    settings, sets = task.experiment.probe, {}
    bounds = [settings.questions, settings.eval_questions, task.read_outs, views]
    for name, chosen in task.chosen.items():
        placed = sorted(chosen, key=lambda question: question.position)
        compute = functools.partial(_extract, task, frozen, name, placed, views)
        ids = [question.example_id for question in placed]
        sets[name] = frozen.features(name, ids, compute, json.dumps(bounds))
    return sets


def _extract(
    task: Task,
    frozen: Frozen,
    name: str,
    placed: Sequence[questions.Question],
    views: Sequence[str],
    part: slice,
    note: features.Note,
) -> features.Features:
    """Features of a stretch of the questions of a split, in the records' order."""
    data, source, devices = task.experiment.data, task.sources[name], frozen.devices
    answers = placed[0].candidates * (ANSWER in task.read_outs)
    sequences = len(views) * (answers + (MATCH in task.read_outs))

    windows = task.windows[name]

    def groups() -> Iterator[question_features.Group]:
        return question_features.groups(
            (
                (source[question.position], windows[question.position])
                for question in placed[part]
            ),
            tokenizers.load(data.tokenizer).encode_plain,
            data,
            frozen.batch_size,
            views,
            task.read_outs,
            devices.questions(task.experiment.probe.batch_size, sequences),
        )

    start = encoders.of_questions(task.experiment, task.read_outs)
    return question_features.extract(
        start, frozen.params, groups, views, cut=devices.cut, note=note
    )


def _score(
    task: Task, sets: Sets, streams: tuple[str, str]
) -> dict[str, results.Scores]:
    """Read-out -> scores on val."""
    return question_scores.score(
        sets, task.chosen, task.read_outs, streams, task.experiment.probe
    )


def _hits(task: Task, sets: Sets, streams: tuple[str, str]) -> floors.Hits:
    """Read-out -> hits on val."""
    scores = _score(task, sets, streams)
    return {name: entry.is_right for name, entry in scores.items()}
