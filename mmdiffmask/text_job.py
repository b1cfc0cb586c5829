"""Runs of texts: names in their settings become objects."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

from jaxtyping import Int, PRNGKeyArray

from mmdiffmask import (
    config,
    configure,
    contrasts,
    effects,
    finetune_job,
    finetune_start,
    text_examples,
    text_hidden,
    text_masks,
    text_start,
)
from mmdiffmask.data import loader, question_kinds
from mmdiffmask.data.text_corpus import TextCorpus
from mmdiffmask.inputs import Claim
from mmdiffmask.masking import text_strategies, text_summary
from mmdiffmask.models.bert.settings import BertSettings
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.text import masks
from mmdiffmask.training import job as jobs
from mmdiffmask.training import mesh as meshes
from mmdiffmask.training import optim, schedules, steps, text_objective
from mmdiffmask.training.family import Family
from mmdiffmask.training.terms import dga, mlm
from mmdiffmask.types import Array, HiddenPieces, TextBatch


def check(experiment: config.Experiment) -> None:
    """Checks the names in a config before any work.

    Raises:
      ValueError: for an unknown strategy, a warm-up longer than the training, a loss
        without a term, a contrast that cannot be read, a checkpoint or a tokenizer
        that cannot be read or do not fit together.
    """
    rows = configure.rows(experiment)
    _check_names(experiment)
    for row, changed in rows.items():
        try:
            configure.check(changed)
            _check_names(changed)
        except ValueError as error:
            raise ValueError(f"row {row}: {error}") from error
    contrasts.of_experiment(experiment, tuple(rows))
    question_kinds.parse(experiment.probe.kinds)


def _check_names(experiment: config.Experiment) -> None:
    """What rows of a comparison may change."""
    masking = experiment.masking
    optim.check(experiment.training)
    text_objective.check(experiment.terms, experiment.training)
    if finetune_job.is_one(experiment):
        finetune_job.check(experiment)
        if not experiment.terms.mlm:
            text_start.layout(experiment)
            return
    elif experiment.model.start is not None:
        raise ValueError(
            f"model.start={experiment.model.start}: is what fine-tuning starts from,"
            " and terms.classify is 0; leave it out"
        )
    text_strategies.find(masking.strategy)
    text_masks.held_out_names(experiment)
    if masking.masks not in config.MASKS:
        raise ValueError(
            f"masking.masks={masking.masks}: masks of texts come from no file; they are"
            f" one of {', '.join(config.MASKS)}"
        )
    pieces = text_start.layout(experiment).pieces
    masks.vocabulary(pieces, masking.replacement)


def check_lengths(experiment: config.Experiment) -> None:
    """Checks that windows fit into the encoder.

    Raises:
      ValueError: as `text_start.layout`.
    """
    text_start.layout(experiment)


def find_files(experiment: config.Experiment) -> config.Experiment:
    """The experiment as it is: its files are named as they lie."""
    return experiment


def adopt(
    experiment: config.Experiment, folder: str, overrides: Sequence[str] = ()
) -> config.Experiment:
    """The experiment as it is: a corpus of texts decides no setting."""
    del folder, overrides
    return experiment


def corpus(experiment: config.Experiment, folder: str) -> TextCorpus:
    """The texts of a folder.

    Raises:
      ValueError: if a file is missing.
    """
    return TextCorpus.of(experiment.data, folder)


def verify(experiment: config.Experiment, folder: str) -> None:
    """Checks that the files are there and hold texts.

    Raises:
      ValueError: as `TextCorpus.chosen`, or as `labelled_texts.names`.
    """
    source = corpus(experiment, folder)
    if finetune_job.is_one(experiment):
        finetune_job.verify(source)
    if experiment.terms.mlm or not finetune_job.is_one(experiment):
        _ = source.chosen


def fingerprint_of_start(
    experiment: config.Experiment, folder: RunFolder | None = None
) -> str:
    """What the first weights are known by."""
    del folder
    return finetune_start.fingerprint(experiment.model)


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


def prepare(experiment: config.Experiment, folder: str, owner: Claim) -> jobs.Prepared:
    """A run on the texts of a folder, ready to train.

    Args:
      experiment: its settings.
      folder: that names of files begin from.
      owner: what the run is.

    Raises:
      ValueError: if the texts hold nothing to train on or nothing held out.
    """
    source = corpus(experiment, folder)
    if finetune_job.is_one(experiment):
        return finetune_job.prepare(experiment, source, owner)
    run = _Run(experiment, source, owner.seed)
    return jobs.Prepared(
        job=run.job(owner),
        corpus=source,
        clips={"pretraining": len(run.train), "dev": len(run.dev)},
        masks=lambda _: run.summary(),
    )


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
        self.recipes = text_masks.Recipes(self.experiment, source, self.layout.pieces)
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
            start=text_start.make(experiment, self.train, self.source),
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
