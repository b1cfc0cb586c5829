"""The question read-outs of a run: features, heads, floors. design.md section 7."""

import dataclasses
import functools
import json
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float

from mmdiffmask import examples, starts
from mmdiffmask.data import question_kinds, questions, tokenizers, video
from mmdiffmask.probe import (
    encoders,
    features,
    floors,
    question_features,
    question_scores,
    results,
)
from mmdiffmask.probe.frozen import Frozen
from mmdiffmask.probe.tasks import Task
from mmdiffmask.training.family import Params
from mmdiffmask.training.question_batch import ANSWER, MATCH

Sets = dict[str, features.Features]  # of train, dev and val


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
        split = next(
            iter(task.chosen)
        )  # train; with folds val, whose labels stay apart
        for question in task.chosen[split]:
            first.setdefault(question.clip, question.position)
        shown = sorted(first.values())[: starts.PIXEL_CLIPS]
        source = task.sources[split]
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
        sets,
        task.chosen,
        task.read_outs,
        streams=streams,
        settings=task.experiment.probe,
        fold_of_clip=task.fold_of_clip,
    )


def _hits(task: Task, sets: Sets, streams: tuple[str, str]) -> floors.Hits:
    """Read-out -> hits on val."""
    scores = _score(task, sets, streams)
    return {name: entry.is_right for name, entry in scores.items()}
