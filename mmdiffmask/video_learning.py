"""Runs of video that learn questions or a label, in one job: fine-tuning."""

import dataclasses
import functools

import jax

from mmdiffmask import (
    config,
    effects,
    examples,
    labelled_clips,
    learning_start,
    video_family,
)
from mmdiffmask.data import loader
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.inputs import Claim
from mmdiffmask.labelled_clips import DEV, TRAIN
from mmdiffmask.training import job as jobs
from mmdiffmask.training import learning, objective, schedules, steps
from mmdiffmask.training import mesh as meshes
from mmdiffmask.training.family import Batch, Family, Params
from mmdiffmask.training.job import StopOn
from mmdiffmask.training.terms import classify, classify_video, shared

STOP_ON = {
    "loss": classify.LOG_PROBABILITY,
    "f1": classify.F1,
    "accuracy": classify.ACCURACY,
}
# Once for all seeds: what it warns of is said once, too.
_task = functools.lru_cache(maxsize=2)(labelled_clips.of_corpus)


def check(experiment: config.Experiment) -> None:
    """Checks what fine-tuning alone needs.

    Raises:
      ValueError: if another term has weight, questions are to be judged by F1, a probe
        is to run meanwhile, or `model.start` cannot be one.
    """
    training = experiment.training
    others = objective.weights_of(experiment.terms)
    if others:
        zeros = " ".join(f"--set terms.{name}=0" for name in others)
        raise ValueError(
            f"terms.classify={experiment.terms.classify:g}: fine-tuning of video learns"
            f" nothing beside it, but {' and '.join(f'terms.{x}' for x in others)} have"
            f" weight; add {zeros}"
        )
    if training.stop_on == "f1" and not labelled_clips.is_label(experiment):
        raise ValueError(
            "training.stop_on=f1: is of labels, and training.learn=questions; set"
            " training.stop_on=accuracy, or loss"
        )
    if training.probe_every:
        raise ValueError(
            f"training.probe_every={training.probe_every}: fine-tuning has no curves of"
            " read-outs; set it to 0"
        )
    learning_start.check(experiment)


def prepare(
    experiment: config.Experiment, records: Corpus, owner: Claim
) -> jobs.Prepared:
    """A run on records, ready to train.

    Args:
      experiment: its settings.
      records: that it is trained on.
      owner: what the run is.

    Raises:
      ValueError: as `labelled_clips.of_corpus`.
    """
    task = _task(experiment, records)
    clips = {"pretraining": len(task.rows[TRAIN]), "dev": len(task.rows[DEV])}
    return jobs.Prepared(_job(experiment, task, owner), records, clips)


def answering(experiment: config.Experiment, records: Corpus) -> jobs.Answering:
    """Labels, and the rows of dev, of val, and of test where its answers are known.

    Raises:
      ValueError: as `labelled_clips.of_corpus`.
    """
    task = _task(experiment, records)
    size = effects.fit_batch(experiment.training.batch_size, len(task.rows[TRAIN]))
    mesh = meshes.make(size)
    said = jax.jit(
        functools.partial(classify_video.answers, _learner(experiment, task.labels))
    )

    def read(params: Params) -> jobs.Read:
        placed = jax.device_put(params, meshes.replicated(mesh))

        def of_batch(batch: Batch) -> classify.Answers:
            return said(placed, jax.device_put(batch, meshes.by_example(mesh)))

        return of_batch

    held_out = {name: rows for name, rows in task.rows.items() if name != TRAIN}
    return jobs.Answering(task.labels, size, read, held_out)


def _job(
    experiment: config.Experiment, task: labelled_clips.Task, owner: Claim
) -> jobs.Job:
    """The run, for the loop."""
    train, dev = task.rows[TRAIN], task.rows[DEV]
    noun = "clips" if task.labels else "questions"
    size = effects.fit_batch(experiment.training.batch_size, len(train), noun)
    settings = schedules.in_steps(experiment.training, len(train), size)
    mesh = meshes.make(size)
    sharding = meshes.by_example(mesh)
    row, dev_row, seed = train.make_row(), dev.make_row(), owner.seed
    n_labels = len(task.labels)
    return jobs.Job(
        family=_family(experiment, task.labels),
        owner=owner,
        settings=settings,
        shapes=learning_start.shapes(experiment.model, n_labels),
        batch_size=size,
        mesh=mesh,
        start=learning_start.make(
            experiment, n_labels, row=row, positions=range(len(train)), seed=seed
        ),
        check_clips=lambda: None,
        hold_batches=tuple,
        train_batches=loader.batches_from(
            row,
            len(train),
            size,
            seed,
            stop_step=settings.steps,
            sharding=sharding,
        ),
        example_ids=lambda step: [
            train.name(i) for i in loader.order_at(seed, step - 1, size, len(train))
        ],
        dev_batches=lambda: loader.eval_batches(
            dev_row, range(len(dev)), size, sharding=sharding
        ),
        draw_masks=None,
        eval_masks={classify.LABELS: lambda batch: None},
        own_masks=classify.LABELS,
        stop_on=StopOn(classify.LABELS, STOP_ON[experiment.training.stop_on], True),
    )


def _family(experiment: config.Experiment, labels: tuple[str, ...]) -> Family:
    """The same object for the same settings, so seeds share their compiled steps."""
    return _of(_alike(experiment), labels)


def _alike(experiment: config.Experiment) -> config.Experiment:
    """Without what changes no step."""
    model = dataclasses.replace(experiment.model, checkpoint=None, start=None)
    data = dataclasses.replace(experiment.data, toy=None)
    return dataclasses.replace(experiment, data=data, model=model)


@functools.lru_cache(maxsize=steps.KEPT)
def _of(experiment: config.Experiment, labels: tuple[str, ...]) -> Family:
    return learning.family(_learner(experiment, labels))


def _learner(
    experiment: config.Experiment, labels: tuple[str, ...]
) -> classify_video.Learner:
    """The network of the settings, and what it learns."""
    network = shared.Objective(
        model=video_family.model(experiment.model),
        grid=examples.patch_grid(experiment.data),
        settings=experiment.training,
        slots=0,
        terms=experiment.terms,
    )
    return classify_video.Learner(network, experiment.terms.classify, labels)
