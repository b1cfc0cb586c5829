"""Runs of texts that learn labels, alone or beside hidden pieces (`joint`)."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
from jaxtyping import Int, PRNGKeyArray

from mmdiffmask import (
    config,
    effects,
    finetune_start,
    labelled_texts,
    text_examples,
    text_masks,
    text_start,
)
from mmdiffmask.data import loader
from mmdiffmask.data.text_corpus import TextCorpus
from mmdiffmask.inputs import Claim
from mmdiffmask.text_examples import Windows
from mmdiffmask.training import job as jobs
from mmdiffmask.training import mesh as meshes
from mmdiffmask.training import schedules, steps, text_objective
from mmdiffmask.training.family import Params
from mmdiffmask.training.job import StopOn
from mmdiffmask.training.terms import classify
from mmdiffmask.training.terms.mlm import TextObjective
from mmdiffmask.types import Array, HiddenPieces, TextBatch

STOP_ON = {
    "loss": classify.LOG_PROBABILITY,
    "f1": classify.F1,
    "accuracy": classify.ACCURACY,
}
HELD_OUT = ("dev", "test")  # splits
_family = functools.lru_cache(maxsize=steps.KEPT)(text_objective.family)


def check(experiment: config.Experiment) -> None:
    """Checks what fine-tuning alone needs.

    Raises:
      ValueError: if no labelled rows are held out, or `model.start` cannot be one.
    """
    if not experiment.data.dev:
        raise ValueError(
            "data.dev names no file: fine-tuning picks its best step by labelled dev"
            " rows; set data.dev"
        )
    finetune_start.check(experiment.model)


def verify(corpus: TextCorpus) -> None:
    """Checks that all rows have labels that can be learnt.

    Raises:
      ValueError: as `labelled_texts.names`.
    """
    labelled_texts.names(corpus)


def objective(
    experiment: config.Experiment, labels: tuple[str, ...], slots: int = 0
) -> TextObjective:
    """The terms of a run.

    Args:
      experiment: the settings.
      labels: their names.
      slots: most hidden pieces of a window.
    """
    pieces = text_start.layout(experiment).pieces
    return TextObjective(
        finetune_start.settings(experiment.model, len(labels)),
        text_objective.weights_of(experiment.terms),
        slots,
        (len(pieces.before), len(pieces.after)),
        labels,
    )


def prepare(
    experiment: config.Experiment, corpus: TextCorpus, owner: Claim
) -> jobs.Prepared:
    """A run on labelled texts, ready to train.

    Args:
      experiment: its settings.
      corpus: its texts.
      owner: what the run is.

    Raises:
      ValueError: if rows have no labels, or labels that TRAIN lacks.
    """
    labels, layout = labelled_texts.names(corpus), text_start.layout(experiment)
    train, dev = (
        labelled_texts.rows(corpus, split, labels, layout) for split in ("train", "dev")
    )
    return jobs.Prepared(
        job=_job(experiment, corpus, owner, train, dev, labels),
        corpus=corpus,
        clips={"pretraining": len(train), "dev": len(dev)},
    )


def answering(experiment: config.Experiment, corpus: TextCorpus) -> jobs.Answering:
    """Labels, and the rows of dev and test.

    Raises:
      ValueError: as `prepare`.
    """
    labels, layout = labelled_texts.names(corpus), text_start.layout(experiment)
    network = objective(experiment, labels)
    return jobs.Answering(
        labels=labels,
        batch_size=experiment.training.batch_size,
        read=lambda params: jax.jit(
            functools.partial(classify.answers, network, params)
        ),
        splits={
            split: labelled_texts.rows(corpus, split, labels, layout)
            for split in HELD_OUT
            if corpus.paths(split)
        },
    )


def _job(
    experiment: config.Experiment,
    corpus: TextCorpus,
    owner: Claim,
    train: labelled_texts.Labelled,
    dev: labelled_texts.Labelled,
    labels: tuple[str, ...],
) -> jobs.Job:
    """The run, for the loop."""
    size = effects.fit_batch(
        experiment.training.batch_size, len(train), "labelled texts"
    )
    settings = schedules.in_steps(experiment.training, len(train), size)
    n_rows = size * settings.steps + len(train)  # the last epoch may be begun only
    beside = _beside(experiment, corpus, owner.seed, n_rows)
    network = objective(experiment, labels, 0 if beside is None else beside.slots)
    trained = finetune_start.parts(network.settings, experiment.is_hiding)
    mesh = meshes.make(size)
    sharding = meshes.by_example(mesh)
    row, dev_row = train.make_row(), dev.make_row()
    return jobs.Job(
        family=_family(network),
        owner=owner,
        settings=settings,
        shapes=finetune_start.shapes(network.settings, trained),
        batch_size=size,
        mesh=mesh,
        start=finetune_start.make(
            experiment.model,
            network.settings,
            trained,
            labels=labels,
            seed=owner.seed,
            warmed=lambda: beside.start(),
        ),
        check_clips=lambda: None,
        hold_batches=tuple,
        train_batches=loader.batches_from(
            row if beside is None else beside.joined(row, len(train)),
            len(train),
            size,
            owner.seed,
            stop_step=settings.steps,
            sharding=sharding,
        ),
        example_ids=lambda step: [
            train.windows.name(i)
            for i in loader.order_at(owner.seed, step - 1, size, len(train))
        ],
        dev_batches=lambda: loader.eval_batches(
            dev_row, range(len(dev)), size, sharding=sharding
        ),
        draw_masks=None if beside is None else of_unlabelled,
        eval_masks={classify.LABELS: lambda batch: None},
        own_masks=classify.LABELS,
        stop_on=StopOn(classify.LABELS, STOP_ON[experiment.training.stop_on], True),
        prepare=(lambda: None) if beside is None else beside.masks.prepare,
    )


class _Beside(NamedTuple):
    """The masked windows that stand beside labelled rows.

    Attributes:
      windows: of the distinct texts without labels.
      masks: of them.
      slots: the most pieces that one of them hides.
      start: makes the weights of continued pretraining on them.
    """

    windows: Windows
    masks: text_masks.OwnMasks
    slots: int
    start: Callable[[], Params]

    def joined(
        self, row: Callable[..., TextBatch], n_rows: int
    ) -> Callable[..., TextBatch]:
        """(position, epoch) -> a labelled row with a window beside it.

        Windows are gone through in a circle, so all come equally often, whatever the
        number of rows.

        Args:
          row: makes the labelled row.
          n_rows: how many there are.
        """
        plain = text_examples.make_row(self.windows, self.masks.draw)
        n_windows = len(self.windows)

        def both(position: int, epoch: int) -> TextBatch:
            round_, place = divmod(epoch * n_rows + position, n_windows)
            return row(position, epoch)._replace(unlabelled=plain(place, round_))

        return both


def _beside(
    experiment: config.Experiment, corpus: TextCorpus, seed: int, n_rows: int
) -> _Beside | None:
    """What stands beside so many labelled rows; None where nothing is hidden."""
    if not experiment.is_hiding:
        return None
    layout = text_start.layout(experiment)
    windows = text_examples.windows(
        corpus.trained_on("train"), corpus.chosen.train, layout
    )
    start = text_start.make(experiment, windows, corpus)
    recipes = text_masks.Recipes(experiment, corpus, layout.pieces, start)
    rounds = n_rows // max(len(windows), 1) + 1
    masks = text_masks.OwnMasks(windows, recipes, experiment.masking, seed, rounds)
    slots = text_examples.slots(experiment.masking.ratio, windows)
    return _Beside(windows, masks, slots, start)


def of_unlabelled(
    key: PRNGKeyArray, batch: TextBatch, epoch: Int[Array, ""] | int
) -> HiddenPieces:
    """`Job.draw_masks`: masks come with the windows, for any key and epoch."""
    del key, epoch
    return HiddenPieces(batch.unlabelled.is_hidden, batch.unlabelled.shown_ids)
