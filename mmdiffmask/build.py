"""Names in a config become objects: the only place where they do."""

import contextlib
import dataclasses
import functools
import logging
import os
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np
from jaxtyping import Float

from mmdiffmask import config, configure, examples, weights
from mmdiffmask.data import loader, questions, records, tokenizers, vocabulary
from mmdiffmask.masking import strategies
from mmdiffmask.models import convert, reserve, towers
from mmdiffmask.training import grounding, loop, losses, optim, steps, total
from mmdiffmask.training import objective as objectives
from mmdiffmask.types import VideoBatch

PIXEL_CLIPS = 64  # of train, for the mean picture that a small start is centred on

# Geometry that comes from the records, where records are given.
OF_RECORDS = ("rows", "cols", "segments", "sub_segments")


def check(experiment: config.Experiment) -> None:
    """Checks the names in a config before any work.

    Raises:
      ValueError: for an unknown strategy, a warm-up longer than the training, a kind
        of question that is no pattern, or a tokenizer that can not be read or has more
        entries than the model.
    """
    strategies.find(experiment.masking.strategy)
    strategies.held_out(experiment.masking)
    for name in experiment.compare:
        strategies.find(name)
    optim.check(experiment.training)
    _check_objective(experiment)
    examples.embeddings_of(experiment.masking)
    examples.words_of(experiment)
    questions.parse_kinds(experiment.probe.kinds)
    size = tokenizers.load(experiment.data.tokenizer).vocabulary
    if size > experiment.model.vocabulary:
        raise ValueError(
            f"data.tokenizer={experiment.data.tokenizer} has {size} entries, but"
            f" model.vocabulary={experiment.model.vocabulary}; raise the latter"
        )


def _check_objective(experiment: config.Experiment) -> None:
    """Objective and strategy must fit each other."""
    objective, strategy = experiment.training.objective, experiment.masking.strategy
    if objective == "patches" and strategy == "replay":
        raise ValueError(
            "masking.strategy=replay needs training.objective=reserve+patches: without"
            " language terms there is nothing to train on"
        )
    if objective == "reserve" and strategy not in ("replay", "none"):
        raise ValueError(
            "training.objective=reserve hides no patches, so"
            f" masking.strategy={strategy} has no effect: set masking.strategy=replay,"
            " or the objective to reserve+patches"
        )
    terms = total.language_weights(experiment.training, experiment.reserve)
    if objective != "patches" and not terms:
        raise ValueError(
            f"training.objective={objective}: all weights of the language terms in"
            " reserve are 0; raise one"
        )
    if experiment.reserve.cloze_questions and objective != "patches":
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
    beside = None if checkpoint is None else convert.resolve(checkpoint)
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
    manifest = records.read_manifest(records_dir)
    found = {
        "rows": manifest.grid.rows,
        "cols": manifest.grid.cols,
        "segments": manifest.segments,
        "sub_segments": manifest.sub_segments,
    }
    asked = {item.partition("=")[0].strip() for item in overrides}
    for name in OF_RECORDS:
        value = getattr(experiment.data, name)
        if f"data.{name}" in asked and value != found[name]:
            raise ValueError(
                f"--set data.{name}={value}: the records in {records_dir} have"
                f" {found[name]}; leave it out, or make the records again"
            )
    data = dataclasses.replace(experiment.data, **found, toy=None)
    return dataclasses.replace(experiment, data=data)


def model(settings: config.Model) -> reserve.Reserve:
    """The network of the settings."""
    return reserve.Reserve(settings)


def job(experiment: config.Experiment, records_dir: str, seed: int) -> loop.Job:
    """A training run, ready for `loop.train`.

    Raises:
      ValueError: if the records hold nothing to train on.
    """
    data, masking, training = experiment.data, experiment.masking, experiment.training
    source = examples.open_split(records_dir, "train")
    split = examples.split_train(experiment, source)
    batch_size = _fit_batch(training.batch_size, len(split.first_of_clips(split.train)))
    mesh = steps.make_mesh(batch_size)
    add = examples.language(experiment, seed)
    row = examples.make_row(data, masking, source, add, seed)
    dev_row = examples.make_row(
        data, masking, source, examples.language(experiment, examples.EVAL_SEED)
    )
    dev = split.first_of_clips(split.dev)[: training.eval_clips]
    noise = split.first_of_clips(split.train)[: training.noise_clips]
    batches = functools.partial(loader.eval_batches, sharding=steps.by_example(mesh))
    held_out = examples.held_out_masks(experiment, source, dev)
    words = examples.words_of(experiment)
    return loop.Job(
        objective=_objective(experiment, words, seed),
        settings=training,
        all_settings=configure.settings(experiment),
        mesh=mesh,
        start=_start(experiment, row, noise[:PIXEL_CLIPS], seed),
        noise_batches=lambda: batches(row, noise, batch_size),
        train_batches=_train_batches(
            row, split.train, batch_size, training, seed, mesh
        ),
        dev_batches=lambda: batches(dev_row, dev, batch_size),
        draw_masks=_draw_patches(experiment, seed),
        eval_masks={name: masks.draw for name, masks in held_out.items()},
        own_masks=masking.strategy,
        word_class=() if words is None else words.word_class,
        is_trained=masking.strategy != "none",
    )


def _objective(
    experiment: config.Experiment, words: vocabulary.Vocabulary | None, seed: int
) -> objectives.Objective:
    """Everything but parameters and data that the loss depends on."""
    data, masking = experiment.data, experiment.masking
    place = examples.patch_grid(data)
    cells, patches = data.segments * place.n_cells, data.segments * place.n_patches
    found = None
    if words is not None:
        encode = tokenizers.load(data.tokenizer).encode_plain
        number = {name: i for i, name in enumerate(dict.fromkeys(words.word_class))}
        kinds = np.array([number[name] for name in words.word_class])
        found = grounding.Vocabulary(words.spans(encode), words.is_content, kinds)
    return objectives.Objective(
        model(experiment.model),
        place,
        experiment.training,
        # Static masks of patches touch more cells for some strategies than for others;
        # the slots are those of the settings' mask unit.
        losses.max_cells(masking.ratio, masking.mask_unit, patches, cells),
        seed,
        experiment.reserve,
        found,
    )


def _fit_batch(batch_size: int, n_clips: int) -> int:
    """The batch size, or less where there are fewer clips: no clip twice in a batch."""
    devices = jax.device_count()
    most = n_clips // devices * devices
    if most < 1:
        raise ValueError(
            f"{n_clips} training clips are fewer than {devices} devices; add clips"
        )
    if batch_size > most:
        logging.warning(
            "training.batch_size lowered from %d to %d: there are only %d training"
            " clips",
            *(batch_size, most, n_clips),
        )
    return min(batch_size, most)


def _draw_patches(experiment: config.Experiment, seed: int):
    """(batch, epoch) -> hidden patches (b, t, n), or None where nothing is hidden."""
    strategy = experiment.masking.strategy
    if strategies.find(strategy).weight is None:
        return None
    draw = examples.draw_masks(experiment, strategy, seed)

    def patches(batch, epoch):
        return draw(batch, epoch).is_masked.reshape(batch.is_patch_valid.shape)

    return patches


def _start(
    experiment: config.Experiment,
    row: Callable[[int], VideoBatch],
    positions: Sequence[int],
    seed: int,
) -> Callable[[], objectives.Params]:
    """Makes the first weights: a checkpoint's, or random ones."""
    data, checkpoint = experiment.data, experiment.model.checkpoint
    if checkpoint is not None:
        tokens = tokenizers.load(data.tokenizer).vocabulary
        return lambda: weights.load(checkpoint, experiment.model, tokens=tokens)
    logging.info("training starts from random weights: model.checkpoint is not set")

    @functools.cache
    def mean_patch() -> Float[np.ndarray, " p"]:
        total, count = np.zeros(towers.PATCH_VALUES), 0
        for i in positions:
            example = row(i)
            total += example.patches[example.is_patch_valid].sum(0, dtype=np.float64)
            count += int(example.is_patch_valid.sum())
        return (total / max(count, 1)).astype(np.float32)

    def start() -> objectives.Params:
        return reserve.init(
            jax.random.key(seed),
            experiment.model,
            data.rows,
            data.cols,
            data.segments,
            data.sub_segments,
            data.text_length,
            experiment.model.initialiser,
            mean_patch() if experiment.model.centre_pixels else None,
        )

    return start


def _train_batches(row, train, batch_size, training, seed, mesh):
    """First step -> a context of (batch, epoch) pairs from there on."""

    @contextlib.contextmanager
    def batches(first: int) -> Iterator[Iterator[tuple[VideoBatch, int]]]:
        stream = loader.train_batches(
            lambda i, epoch: row(train[i], epoch),
            len(train),
            batch_size,
            seed,
            start_step=first,
            stop_step=training.steps,
            sharding=steps.by_example(mesh),
        )
        with stream:
            yield (
                (batch, loader.epoch_at(step, batch_size, len(train)))
                for step, batch in enumerate(stream, first)
            )

    return batches


def check_records(records_dir: str | os.PathLike) -> None:
    """Checks that the records can be read and none is corrupt.

    Raises:
      ValueError: naming the folder or shard and the way out.
    """
    for split in records.splits(records_dir):
        examples.open_split(str(records_dir), split)
