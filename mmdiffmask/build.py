"""Names in a config become objects: the only place where they do."""

import contextlib
import dataclasses
import functools
import logging
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jax.sharding import NamedSharding

from mmdiffmask import attention as attentions
from mmdiffmask import config, configure, contrasts, effects, examples, masks, starts
from mmdiffmask.data import loader, question_kinds, tokenizers, vocabulary
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.inputs import Claim
from mmdiffmask.masking import strategy_settings, tables
from mmdiffmask.models.reserve import checkpoints
from mmdiffmask.models.reserve import model as reserve
from mmdiffmask.training import mesh as meshes
from mmdiffmask.training import objective, optim, schedules, steps
from mmdiffmask.training.family import Family
from mmdiffmask.training.job import Job
from mmdiffmask.training.terms import cells, shared
from mmdiffmask.types import VideoBatch

Batches = Iterator[tuple[VideoBatch, int]]  # each with its epoch
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


def model(settings: config.Model) -> reserve.Reserve:
    """The network of the settings."""
    return reserve.Reserve(settings)


def job(experiment: config.Experiment, chosen: examples.Chosen, owner: Claim) -> Job:
    """A training run, ready for `loop.train`.

    Args:
      experiment: its settings.
      chosen: the records that serve it.
      owner: what the run is: its seed counts here, the whole goes to its folder.

    Raises:
      ValueError: if the records hold nothing to train on. `Job.check_clips` raises it
        for a setting that would have no effect on them (`effects`).
    """
    data, masking, training = experiment.data, experiment.masking, experiment.training
    effects.check_text_length(data, training)
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
    network, start = family(experiment), starts.make(experiment, dev_row, noise, seed)
    attention = attentions.of_start(experiment, chosen, start, owner)
    known = attention if masks.is_attended(experiment) else None
    row = examples.make_row(data, masking, source, add, seed, known)
    before, inside = _draws(experiment, network)
    return Job(
        family=network,
        owner=owner,
        settings=training,
        shapes=starts.shapes(experiment),
        batch_size=batch_size,
        mesh=mesh,
        start=start,
        check_clips=lambda: effects.check_clips(experiment, chosen.entries, clips, dev),
        hold_batches=lambda: batches(row, noise, batch_size),
        train_batches=_train_batches(
            lambda i, epoch: row(chosen.train[i], epoch),
            len(chosen.train),
            batch_size,
            seed,
            stop_step=training.steps,
            sharding=meshes.by_example(mesh),
        ),
        example_ids=lambda step: [
            chosen.entries[chosen.train[i]].example_id
            for i in loader.order_at(seed, step - 1, batch_size, len(chosen.train))
        ],
        dev_batches=lambda: batches(dev_row, dev, batch_size),
        draw_masks=before,
        draw_live=inside,
        eval_masks=masks.drawn_when_needed(experiment, source, dev, attention),
        own_masks=masking.strategy,
        may_lack=starts.may_lack(experiment),
        prepare=lambda: attention.prepare(masks.attended(experiment, chosen)),
    )


def family(experiment: config.Experiment) -> Family:
    """The network with the terms of the settings; the same object for the same ones.

    So rows and seeds of a comparison share their compiled steps.
    """
    data, masking = experiment.data, experiment.masking
    words = experiment.reserve.words if examples.has_words(experiment.terms) else None
    return _family(
        experiment.model,
        dataclasses.replace(data, toy=None),
        experiment.training,
        experiment.terms,
        experiment.reserve,
        words,
        (masking.ratio, masking.mask_unit, masking.padding),
    )


@functools.lru_cache(maxsize=steps.KEPT)
def _family(
    model_settings: config.Model,
    data: config.Data,
    training: config.Training,
    terms: config.Terms,
    reserve_settings: config.Reserve,
    words: str | None,
    budget: tuple[float, str, str],
) -> Family:
    grid, (ratio, mask_unit, padding) = examples.patch_grid(data), budget
    n_cells, n_patches = data.segments * grid.n_cells, data.segments * grid.n_patches
    return objective.family(
        shared.Objective(
            model=model(model_settings),
            grid=grid,
            settings=training,
            # Static masks of patches touch more cells for some strategies than for
            # others; the slots are those of the settings' mask unit.
            slots=cells.max_cells(ratio, mask_unit, n_patches, n_cells),
            terms=terms,
            reserve=reserve_settings,
            vocabulary=None if words is None else _vocabulary(words, data.tokenizer),
            has_padding=padding == "counted",
        )
    )


def _vocabulary(words: str, tokenizer: str) -> shared.Vocabulary:
    entries = vocabulary.load(words)
    spans = entries.spans(tokenizers.load(tokenizer).encode_plain)
    number = {name: i for i, name in enumerate(dict.fromkeys(entries.word_class))}
    kinds = np.array([number[name] for name in entries.word_class])
    return shared.Vocabulary(spans, entries.is_content, kinds, tuple(number))


def _draws(
    experiment: config.Experiment, network: Family
) -> tuple[steps.DrawMasks | None, steps.DrawLive | None]:
    """What draws the masks before an update, and what does in it: one, or neither."""
    if network.masked is None:
        return None, None
    draw = draw_patches(experiment)
    is_live = strategy_settings.is_live(experiment.masking)
    return (None, draw) if is_live else (draw, None)


def draw_patches(experiment: config.Experiment) -> steps.DrawMasks:
    """(run's key, batch, epoch) -> hidden patches (b, t, n); the same object likewise.

    See `family`. A fourth argument is attention (`masks.drawer`).
    """
    data = dataclasses.replace(experiment.data, toy=None)
    return masks.patch_drawer(data, experiment.masking)


def _train_batches(
    row: Callable[[int, int], VideoBatch],
    n_examples: int,
    batch_size: int,
    seed: int,
    stop_step: int,
    sharding: NamedSharding,
) -> Callable[[int], contextlib.AbstractContextManager[Batches]]:
    """First step -> a context of (batch, epoch) pairs from there on."""

    @contextlib.contextmanager
    def batches(first: int) -> Iterator[Batches]:
        stream = loader.train_batches(
            row,
            n_examples,
            batch_size,
            seed,
            start_step=first,
            stop_step=stop_step,
            sharding=sharding,
        )
        with stream:
            yield (
                (batch, loader.epoch_at(step, batch_size, n_examples))
                for step, batch in enumerate(stream, first)
            )

    return batches
