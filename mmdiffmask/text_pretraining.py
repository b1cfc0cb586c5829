"""Runs of texts that learn hidden word pieces: windows, masks and terms in one job."""

import dataclasses
import functools
from collections.abc import Callable

from jaxtyping import Int, PRNGKeyArray

from mmdiffmask import (
    config,
    effects,
    text_examples,
    text_hidden,
    text_masks,
    text_start,
)
from mmdiffmask.data import loader
from mmdiffmask.data.text_corpus import TextCorpus
from mmdiffmask.inputs import Claim
from mmdiffmask.masking import text_strategies, text_summary
from mmdiffmask.models.bert.settings import BertSettings
from mmdiffmask.training import job as jobs
from mmdiffmask.training import mesh as meshes
from mmdiffmask.training import schedules, steps, text_objective
from mmdiffmask.training.family import Family
from mmdiffmask.training.terms import dga, mlm
from mmdiffmask.types import Array, HiddenPieces, TextBatch


def prepare(
    experiment: config.Experiment, source: TextCorpus, owner: Claim
) -> jobs.Prepared:
    """A run on a corpus, ready to train.

    Args:
      experiment: its settings.
      source: the texts.
      owner: what the run is.

    Raises:
      ValueError: if the texts hold nothing to train on or nothing held out.
    """
    run = _Run(experiment, source, owner.seed)
    return jobs.Prepared(
        job=run.job(owner),
        corpus=source,
        clips={"pretraining": len(run.train), "dev": len(run.dev)},
        masks=lambda _: run.summary(),
    )


def family(experiment: config.Experiment, slots: int | None = None) -> Family:
    """The encoder with the terms of the settings; the same object for the same ones.

    Args:
      experiment: the settings.
      slots: most pieces of a window that are predicted; None: as many as it may have.
    """
    layout = text_start.layout(experiment)
    ends = (len(layout.pieces.before), len(layout.pieces.after))
    return _family(
        text_start.settings(experiment.model),
        text_objective.weights_of(experiment.terms),
        layout.length - sum(ends) if slots is None else slots,
        ends,
    )


@functools.lru_cache(maxsize=steps.KEPT)
def _family(
    settings: BertSettings,
    weights: tuple[tuple[str, float], ...],
    slots: int,
    ends: tuple[int, int],
) -> Family:
    return text_objective.family(mlm.TextObjective(settings, weights, slots, ends))


class _Run:
    """The windows and the masks of a run."""

    def __init__(self, experiment: config.Experiment, source: TextCorpus, seed: int):
        self.source, self.layout = source, text_start.layout(experiment)
        chosen, training = source.chosen, experiment.training
        self.train = text_examples.windows(
            source.trained_on("train"), chosen.train, self.layout
        )
        self.dev = text_examples.windows(
            source.trained_on(chosen.dev_split),
            chosen.dev,
            self.layout,
            training.eval_clips,
        )
        for some, split in ((self.train, "train"), (self.dev, chosen.dev_split)):
            if not len(some):
                raise ValueError(
                    f"{', '.join(source.paths(split))}: no text has a word piece;"
                    " other texts are needed, or another data.text_field"
                )
        self.batch_size = effects.fit_batch(
            training.batch_size, len(self.train), "windows of texts"
        )
        self.settings = schedules.in_steps(training, len(self.train), self.batch_size)
        self.experiment = dataclasses.replace(experiment, training=self.settings)
        self.start = text_start.make(experiment, self.train, source)
        self.recipes = text_masks.Recipes(
            self.experiment, source, self.layout.pieces, self.start
        )
        last = max(self.settings.steps - 1, 0)
        epochs = loader.epochs_at(last, self.batch_size, len(self.train))
        self.masks = text_masks.OwnMasks(
            self.train, self.recipes, experiment.masking, seed, int(epochs.max()) + 1
        )

    def slots(self) -> int:
        """The most pieces of a window that any of the run's masks can hide."""
        names = text_masks.held_out_names(self.experiment)
        units = {text_strategies.find(name).units for name in names}
        if not units <= {"piece", "word"}:
            ends = (*self.layout.pieces.before, *self.layout.pieces.after)
            return self.layout.length - len(ends)
        ratio = self.experiment.masking.ratio
        both = (self.train, self.dev)
        return max(text_examples.slots(ratio, some) for some in both)

    def summary(self) -> text_summary.TextMaskSummary | None:
        """What the run's masks hide; None where it hides nothing."""
        if not self.experiment.is_hiding:
            return None
        return text_hidden.summarise(self.train, self.masks.draw, self.recipes.anchors)

    def job(self, owner: Claim) -> jobs.Job:
        """The run, for the loop."""
        experiment, seed, size = self.experiment, owner.seed, self.batch_size
        mesh = meshes.make(size)
        network = family(experiment, self.slots())
        sharding = meshes.by_example(mesh)
        draw = self.masks.draw if experiment.is_hiding else None
        row, dev_row = self.row(self.train, draw), self.row(self.dev)
        return jobs.Job(
            family=network,
            owner=owner,
            settings=self.settings,
            shapes=text_start.shapes(experiment.model),
            batch_size=size,
            mesh=mesh,
            start=self.start,
            check_clips=lambda: None,
            hold_batches=tuple
            if experiment.terms.dga == 0
            else lambda: loader.eval_batches(
                self.row(self.train),
                range(min(dga.TEXTS, len(self.train))),
                size,
                sharding=sharding,
            ),
            train_batches=loader.batches_from(
                row,
                len(self.train),
                size,
                seed,
                stop_step=self.settings.steps,
                sharding=sharding,
            ),
            example_ids=lambda step: [
                self.train.name(i)
                for i in loader.order_at(seed, step - 1, size, len(self.train))
            ],
            dev_batches=lambda: loader.eval_batches(
                dev_row, range(len(self.dev)), size, sharding=sharding
            ),
            draw_masks=None if network.masked is None else of_rows,
            eval_masks=text_masks.held_out(experiment, self.dev, self.recipes),
            own_masks=experiment.masking.strategy,
            stop_on=_judge(experiment),
            prepare=self.prepare,
        )

    def prepare(self) -> None:
        """Works out what rows need: anchors, and the run's own masks."""
        _ = self.recipes.anchors
        if self.experiment.is_hiding:
            self.masks.prepare()

    def row(
        self, some: text_examples.Windows, draw: text_examples.Draw | None = None
    ) -> Callable[..., TextBatch]:
        """`text_examples.make_row`, which reads the anchors only when it is called."""

        @functools.cache
        def make() -> Callable[..., TextBatch]:
            return text_examples.make_row(some, draw, self.recipes.anchors)

        return lambda position, epoch=0: make()(position, epoch)


def _judge(experiment: config.Experiment) -> jobs.StopOn | None:
    """What judges a run: hidden pieces alone where DGA's contrast is trained on too.

    That contrast compares passes under dropout, which held-out scores go without.
    """
    if experiment.terms.dga == 0:
        return None
    return jobs.StopOn(experiment.masking.strategy, "loss", rises=False)


def of_rows(
    key: PRNGKeyArray, batch: TextBatch, epoch: Int[Array, ""] | int
) -> HiddenPieces:
    """`Job.draw_masks`: masks of texts come with the rows, for any key and epoch."""
    del key, epoch
    return HiddenPieces(batch.is_hidden, batch.shown_ids)
