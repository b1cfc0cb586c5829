"""Runs of video: names in their settings become objects."""

import dataclasses
import logging
from collections.abc import Sequence

from mmdiffmask import (
    config,
    configure,
    contrasts,
    effects,
    examples,
    labelled_clips,
    learning_start,
    starts,
    video_learning,
    video_pretraining,
)
from mmdiffmask.data import question_kinds, tokenizers
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.inputs import Claim
from mmdiffmask.masking import strategy_settings, tables
from mmdiffmask.models.reserve import checkpoints
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import job as jobs
from mmdiffmask.training import objective, optim

# Geometry that comes from the records, where records are given.
OF_RECORDS = ("rows", "cols", "segments", "sub_segments")


def check(experiment: config.Experiment) -> None:
    """Checks the names in a config before any work.

    Raises:
      ValueError: for an unknown strategy, a warm-up longer than the training, a kind
        of question that is no pattern, a loss without a term, a contrast that cannot
        be read, or a tokenizer that cannot be read or has more entries than the model.
    """
    _check_names(experiment)
    rows = configure.rows(experiment)
    for row, changed in rows.items():
        try:
            configure.check(changed)
            _check_names(changed)
        except ValueError as error:
            raise ValueError(f"row {row}: {error}") from error
    maskings = [one.masking for one in (experiment, *rows.values())]
    strategy_settings.check_live(maskings)
    strategy_settings.check_use(maskings)
    contrasts.of_experiment(experiment, tuple(rows))
    question_kinds.parse(experiment.probe.kinds)
    size = tokenizers.load(experiment.data.tokenizer).vocabulary
    if size > experiment.model.vocabulary:
        raise ValueError(
            f"data.tokenizer={experiment.data.tokenizer} has {size} entries, but"
            f" model.vocabulary={experiment.model.vocabulary}; raise the latter"
        )


def _check_names(experiment: config.Experiment) -> None:
    """What rows of a comparison may change."""
    optim.check(experiment.training)
    if experiment.is_learning:
        video_learning.check(experiment)
        return
    if experiment.model.start is not None:
        raise ValueError(
            f"model.start={experiment.model.start}: is what fine-tuning starts from,"
            " and terms.classify is 0; leave it out, or set model.checkpoint"
        )
    strategy_settings.check_files(experiment.masking)
    examples.embeddings_of(experiment.masking)
    tables.of_settings(experiment.masking)
    examples.words_of(experiment)
    weights = objective.weights_of(experiment.terms)
    objective.check(experiment.terms, experiment.training)
    if experiment.reserve.cloze_questions and weights:
        logging.warning(
            "reserve.cloze_questions=%s: right answers of training questions are"
            " trained on; only for pretraining a start",
            experiment.reserve.cloze_questions,
        )


def find_files(experiment: config.Experiment) -> config.Experiment:
    """The experiment with its tokenizer's file in place of the name "reserve".

    Raises:
      ValueError: if it is not beside the checkpoint nor in the cache.
    """
    data, checkpoint = experiment.data, experiment.model.checkpoint
    if data.tokenizer != "reserve":
        return experiment
    beside = None if checkpoint is None else checkpoints.resolve(checkpoint)
    path = str(tokenizers.find_reserve(beside))
    return dataclasses.replace(
        experiment, data=dataclasses.replace(data, tokenizer=path)
    )


def adopt(
    experiment: config.Experiment, records_dir: str, overrides: Sequence[str] = ()
) -> config.Experiment:
    """The experiment with the grid and the segments that the records were made with.

    The model has no position parameters, so it takes any of them.

    Raises:
      ValueError: if an override asks for something that the records do not have.
    """
    manifest = Corpus.of(records_dir).manifest
    geometry = {
        "rows": manifest.grid.rows,
        "cols": manifest.grid.cols,
        "segments": manifest.segments,
        "sub_segments": manifest.sub_segments,
    }
    by_hand = {item.partition("=")[0].strip() for item in overrides}
    for name in OF_RECORDS:
        value = getattr(experiment.data, name)
        if f"data.{name}" in by_hand and value != geometry[name]:
            raise ValueError(
                f"--set data.{name}={value}: the records in {records_dir} have"
                f" {geometry[name]}; leave it out, or make the records again"
            )
    data = dataclasses.replace(experiment.data, **geometry, toy=None)
    return dataclasses.replace(experiment, data=data)


def check_lengths(experiment: config.Experiment) -> None:
    """Checks that the sound of a clip fits into its stream.

    Raises:
      ValueError: as `effects.check_text_length`.
    """
    effects.check_text_length(experiment.data, experiment.training)


def corpus(experiment: config.Experiment, records_dir: str) -> Corpus:
    """The records of a folder.

    Raises:
      ValueError: as `Corpus.of`.
    """
    del experiment
    return Corpus.of(records_dir)


def verify(experiment: config.Experiment, records_dir: str) -> None:
    """Checks that every split of the records can be read.

    Raises:
      ValueError: as `Corpus.verify`, or as `labelled_clips.verify`.
    """
    records = corpus(experiment, records_dir)
    records.verify()
    if experiment.is_learning:
        labelled_clips.verify(experiment, records)


def fingerprint_of_start(
    experiment: config.Experiment, folder: RunFolder | None = None
) -> str | None:
    """What the first weights are known by; see `starts.fingerprint`."""
    if experiment.is_learning:
        return learning_start.fingerprint(experiment, folder)
    start = experiment.model.checkpoint
    return None if start is None else starts.fingerprint(start, folder)


def fingerprint_of_start_run(
    experiment: config.Experiment, folder: RunFolder | None = None
) -> str | None:
    """What the weights of the run in `model.start` are known by; None: no run."""
    if experiment.model.start is None:
        return None
    return fingerprint_of_start(experiment, folder)


def prepare(
    experiment: config.Experiment, records_dir: str, owner: Claim
) -> jobs.Prepared:
    """A run on the records of a folder, ready to train.

    Args:
      experiment: its settings.
      records_dir: that it is trained on.
      owner: what the run is.

    Raises:
      ValueError: if the records hold nothing to train on, or nothing held out.
    """
    kind = video_learning if experiment.is_learning else video_pretraining
    return kind.prepare(experiment, corpus(experiment, records_dir), owner)


def answering(experiment: config.Experiment, records_dir: str) -> jobs.Answering:
    """What fine-tuned weights are asked; see `video_learning.answering`."""
    return video_learning.answering(experiment, corpus(experiment, records_dir))
