"""Runs of texts: names in their settings become objects."""

from collections.abc import Sequence

from mmdiffmask import (
    config,
    configure,
    contrasts,
    encoder_files,
    finetune_job,
    finetune_start,
    text_masks,
    text_pretraining,
    text_start,
)
from mmdiffmask.data import question_kinds
from mmdiffmask.data.text_corpus import TextCorpus
from mmdiffmask.inputs import Claim
from mmdiffmask.masking import text_strategies
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.text import excess, masks
from mmdiffmask.training import job as jobs
from mmdiffmask.training import optim, text_objective
from mmdiffmask.training.family import Family


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
    if experiment.is_learning:
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
    names = text_masks.held_out_names(experiment)
    if masking.masks not in config.MASKS:
        raise ValueError(
            f"masking.masks={masking.masks}: masks of texts come from no file; they are"
            f" one of {', '.join(config.MASKS)}"
        )
    pieces = text_start.layout(experiment).pieces
    masks.vocabulary(pieces, masking.replacement)
    if any("reference" in text_strategies.find(name).needs for name in names):
        excess.reference(masking.reference, pieces)


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
    if experiment.is_learning:
        finetune_job.verify(source)
    if experiment.terms.mlm or not experiment.is_learning:
        _ = source.chosen


def fingerprint_of_start(
    experiment: config.Experiment, folder: RunFolder | None = None
) -> str:
    """What the first weights are known by."""
    del folder
    return finetune_start.fingerprint(experiment.model)


def fingerprint_of_start_run(
    experiment: config.Experiment, folder: RunFolder | None = None
) -> str | None:
    """What the weights of the run in `model.start` are known by; None: no run."""
    del folder
    return finetune_start.fingerprint_of_run(experiment.model)


def fingerprint_of_reference(experiment: config.Experiment) -> str | None:
    """What the weights of `masking.reference` are known by; None: it names none.

    After training they may be gone: then the name alone counts, as of files.
    """
    name = experiment.masking.reference
    try:
        return None if name is None else encoder_files.fingerprint(name)
    except ValueError:
        return None


def family(experiment: config.Experiment) -> Family:
    """The encoder with the terms of the settings; the same object for the same ones."""
    return text_pretraining.family(experiment)


def prepare(experiment: config.Experiment, folder: str, owner: Claim) -> jobs.Prepared:
    """A run on the texts of a folder, ready to train.

    Args:
      experiment: its settings.
      folder: that names of files begin from.
      owner: what the run is.

    Raises:
      ValueError: if the texts hold nothing to train on or nothing held out.
    """
    kind = finetune_job if experiment.is_learning else text_pretraining
    return kind.prepare(experiment, corpus(experiment, folder), owner)


def answering(experiment: config.Experiment, folder: str) -> jobs.Answering:
    """What fine-tuned weights are asked; see `finetune_job.answering`."""
    return finetune_job.answering(experiment, corpus(experiment, folder))
