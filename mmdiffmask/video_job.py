"""Runs of video: names in their settings become objects."""

import dataclasses
import functools
import logging
from collections.abc import Callable, Sequence

from mmdiffmask import attention as attentions
from mmdiffmask import (
    config,
    configure,
    contrasts,
    effects,
    examples,
    masks,
    starts,
    video_family,
)
from mmdiffmask.data import loader, question_kinds, tokenizers
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.inputs import Claim
from mmdiffmask.masking import strategy_settings, tables
from mmdiffmask.masking import summary as mask_summary
from mmdiffmask.models.reserve import checkpoints
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import job as jobs
from mmdiffmask.training import mesh as meshes
from mmdiffmask.training import objective, optim, schedules

MASK_CLIPS = 256  # of train, for the summary of what masks were made of
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
    strategy_settings.check_files(experiment.masking)
    examples.embeddings_of(experiment.masking)
    tables.of_settings(experiment.masking)
    optim.check(experiment.training)
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
      ValueError: as `Corpus.verify`.
    """
    corpus(experiment, records_dir).verify()


def fingerprint_of_start(
    experiment: config.Experiment, folder: RunFolder | None = None
) -> str | None:
    """What the first weights are known by; see `starts.fingerprint`."""
    start = experiment.model.checkpoint
    return None if start is None else starts.fingerprint(start, folder)


def prepare(
    experiment: config.Experiment, records_dir: str, owner: Claim
) -> jobs.Prepared:
    """A run on the records of a folder, ready to train.

    Args:
      experiment: its settings.
      records_dir: that it is trained on.
      owner: what the run is.

    Raises:
      ValueError: as `examples.choose` and `job`.
    """
    records = corpus(experiment, records_dir)
    chosen = examples.choose(experiment, records)
    return jobs.Prepared(
        job=job(experiment, chosen, owner),
        corpus=records,
        clips={"pretraining": len(chosen.clips), "dev": len(chosen.dev_clips)},
        masks=lambda folder: _summarise_masks(experiment, chosen, folder, owner),
        fill_only=lambda: effects.kinds_without_boxes(
            experiment, chosen.entries, chosen.dev_clips
        ),
    )


def job(
    experiment: config.Experiment, chosen: examples.Chosen, owner: Claim
) -> jobs.Job:
    """A training run, ready for `loop.train`.

    Args:
      experiment: its settings.
      chosen: the records that serve it.
      owner: what the run is: its seed counts here, the whole goes to its folder.

    Raises:
      ValueError: if the records hold nothing to train on.
    """
    data, masking, training = experiment.data, experiment.masking, experiment.training
    check_lengths(experiment)
    effects.check_ids(experiment, chosen)
    seed, source, clips, dev = owner.seed, chosen.source, chosen.clips, chosen.dev_clips
    batch_size = effects.fit_batch(training.batch_size, len(clips))
    training = schedules.in_steps(training, len(chosen.train), batch_size)
    experiment = dataclasses.replace(experiment, training=training)
    mesh = meshes.make(batch_size)
    add = examples.language(experiment, seed)
    dev_add = examples.language(experiment, examples.EVAL_SEED)
    dev_row = examples.make_row(data, masking, source, dev_add)
    noise = clips[: training.noise_clips]
    batches = functools.partial(loader.eval_batches, sharding=meshes.by_example(mesh))
    network = video_family.family(experiment)
    start = starts.make(experiment, dev_row, noise, seed)
    attention = attentions.of_start(experiment, chosen, start, owner)
    known = attention if masks.is_attended(experiment) else None
    row = examples.make_row(data, masking, source, add, seed, known)
    before, inside = video_family.draws(experiment, network)
    return jobs.Job(
        family=network,
        owner=owner,
        settings=training,
        shapes=starts.shapes(experiment),
        batch_size=batch_size,
        mesh=mesh,
        start=start,
        check_clips=lambda: effects.check_clips(experiment, chosen.entries, clips, dev),
        hold_batches=lambda: batches(row, noise, batch_size),
        train_batches=loader.batches_from(
            lambda i, epoch: row(chosen.train[i], epoch),
            len(chosen.train),
            batch_size,
            seed,
            stop_step=training.steps,
            sharding=meshes.by_example(mesh),
        ),
        example_ids=_ids_at(chosen, seed, batch_size),
        dev_batches=lambda: batches(dev_row, dev, batch_size),
        draw_masks=before,
        draw_live=inside,
        eval_masks=masks.drawn_when_needed(experiment, source, dev, attention),
        own_masks=masking.strategy,
        may_lack=starts.may_lack(experiment),
        prepare=lambda: attention.prepare(masks.attended(experiment, chosen)),
    )


def _ids_at(
    chosen: examples.Chosen, seed: int, batch_size: int
) -> Callable[[int], list[str]]:
    """Step, from 1 -> ids of the examples of its batch."""
    return lambda step: [
        chosen.entries[chosen.train[i]].example_id
        for i in loader.order_at(seed, step - 1, batch_size, len(chosen.train))
    ]


def _summarise_masks(
    experiment: config.Experiment,
    chosen: examples.Chosen,
    folder: RunFolder,
    owner: Claim,
) -> mask_summary.MaskSummary | None:
    """What the run's masks were made of, on the first clips of train.

    Of masks that follow the attention of each update: those of the first weights.
    """
    masking = experiment.masking
    if not experiment.is_hiding:
        return None
    name = masking.strategy
    boxes = strategy_settings.with_boxes(name, masking)
    batches = masks.bare_batches(
        experiment,
        chosen.source,
        chosen.clips[:MASK_CLIPS],
        (name, boxes),
        owner.seed,
        attentions.of_run(experiment, chosen.source, chosen.entries, folder, owner),
    )
    batch = batches[boxes]
    is_drawable = batch.unit_of_token >= 0  # all pictures, or padding too
    return mask_summary.summarise_masks(
        examples.patch_grid(experiment.data),
        masks.of_batch(experiment, name, batches[name], owner.seed).is_masked,
        is_drawable.reshape(batch.is_patch_valid.shape),
        batch.unit_of_token,
        batch.is_box_unit,
    )
