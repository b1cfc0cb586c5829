"""Records and settings become rows of a batch."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from mmdiffmask import config, label_leak
from mmdiffmask import grid as grids
from mmdiffmask.data import (
    cloze,
    other_clips,
    reserve_sequences,
    tokenizers,
    video,
    vocabulary,
)
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.data.records import index, shards
from mmdiffmask.masking import anchors, strategies, tables, units
from mmdiffmask.training import objective
from mmdiffmask.training.terms import grounding, reserve
from mmdiffmask.types import VideoBatch

# (row, its record, epoch) -> the row with what the language terms need
AddLanguage = Callable[[VideoBatch, shards.Record, int], VideoBatch]
# record -> each frame's [CLS] attention to its patches (t, n)
Attention = Callable[[shards.Record], Float[np.ndarray, "t n"]]
EVAL_SEED = 0  # held-out masks are the same for every strategy and every seed


def patch_grid(data: config.Data) -> grids.PatchGrid:
    """The grid of the settings."""
    return grids.PatchGrid(data.rows, data.cols)


@dataclasses.dataclass(frozen=True)
class Chosen:
    """Which records of train serve continued pretraining.

    Attributes:
      source: the train split.
      entries: what its index says of each of its records.
      train: positions of those that are trained on.
      clips: of these, the first of each clip.
      dev_clips: the first of each held-out clip, as many as scores are made from.
    """

    source: shards.Source
    entries: tuple[index.Entry, ...]
    train: tuple[int, ...]
    clips: list[int]
    dev_clips: list[int]


def choose(experiment: config.Experiment, corpus: Corpus) -> Chosen:
    """What continued pretraining trains on, and its dev.

    With `data.boxed_only` only clips that detectors have looked at serve, for every
    row of a comparison alike.

    Raises:
      ValueError: if there is nothing to train on or nothing for dev.
    """
    data = experiment.data
    split = corpus.split_train(data.dev_share, data.boxed_only)
    return Chosen(
        source=corpus.source("train"),
        entries=corpus.entries("train"),
        train=split.train,
        clips=split.first_of_clips(split.train),
        dev_clips=split.first_of_clips(split.dev)[: experiment.training.eval_clips],
    )


def unit_settings(
    data: config.Data,
    masking: config.Masking,
    source: shards.Source,
    seed: int,
    attention: Attention | None = None,
) -> units.Settings:
    """What units are made from, the files that the settings name read.

    Args:
      data: grid, segments and overlap.
      masking: names the files.
      source: of the clips that lend boxes.
      seed: of the run, for units that are drawn.
      attention: of a record; None: it is not known.

    Raises:
      ValueError: if a file cannot be read, or is for another grid.
    """
    grid, by_id = patch_grid(data), tables.of_settings(masking)
    for table in by_id.values():
        table.check_shape(grid, data.segments)

    def lend(record: shards.Record, kinds: Sequence[str]) -> shards.Record | None:
        return other_clips.next_with_boxes(source, record, kinds, data.min_overlap)

    return units.Settings(
        grid,
        masking,
        data.min_overlap,
        embeddings=embeddings_of(masking),
        seed=seed,
        tables=by_id,
        pictures=lambda record: video.pictures(record, grid)[0],
        lend=lend,
        attention=attention,
    )


def make_row(
    data: config.Data,
    masking: config.Masking | None,
    source: shards.Source,
    add: AddLanguage | None = None,
    seed: int = EVAL_SEED,
    attention: Attention | None = None,
) -> Callable[..., VideoBatch]:
    """(position in the split, epoch = 0) -> its row.

    Args:
      data: grid, segments and streams.
      masking: its strategy decides the units; None: nothing is hidden, so none.
      source: the split.
      add: `language`, where the objective has language terms.
      seed: of the run, for units that are drawn.
      attention: by which some strategies score units; None: their scores stay 0, for
        rows from which no mask is drawn, or only with the attention of an update.
    """
    grid, tokenizer = patch_grid(data), tokenizers.load(data.tokenizer)
    units_of = None
    if masking is not None:
        units_of = _units_of(data, masking, source, seed, attention)

    def row(position: int, epoch: int = 0) -> VideoBatch:
        record = source[position]
        # Once, though the scores of patches may look at them as well.
        seen = functools.cache(lambda: video.pictures(record, grid))

        def make_units(record: shards.Record, is_valid: np.ndarray) -> units.ClipUnits:
            if units_of is None:
                return units.none(is_valid.size)
            return units_of(record, is_valid, epoch, lambda _: seen()[0])

        plain = video.row(
            record,
            data,
            grid,
            tokenizer.encode_plain,
            make_units,
            look=lambda *_: seen(),
        )
        return plain if add is None else add(plain, record, epoch)

    return row


def _units_of(
    data: config.Data,
    masking: config.Masking,
    source: shards.Source,
    seed: int,
    attention: Attention | None,
) -> Callable[..., units.ClipUnits]:
    """(record, valid patches, epoch, its pictures' patches) -> its units."""
    strategy = strategies.find(masking.strategy)
    if attention is None:
        strategy = strategy.unscored()
    settings = unit_settings(data, masking, source, seed, attention)

    def units_of(
        record: shards.Record,
        is_valid: np.ndarray,
        epoch: int,
        pictures: Callable[[shards.Record], np.ndarray],
    ) -> units.ClipUnits:
        now = settings._replace(
            epoch=epoch if masking.masks == "per_epoch" else None, pictures=pictures
        )
        return strategy.clip_units(record, is_valid, now)

    return units_of


def language(experiment: config.Experiment, seed: int) -> AddLanguage | None:
    """Adds to a row what the run's language terms need; None: it has none.

    With `training.gold_answer` the right answer stands in its streams.
    """
    weights = objective.weights_of(experiment.terms)
    words, is_leaking = words_of(experiment), label_leak.is_leaking(experiment)
    is_reserve = any(name in weights for name in reserve.TERMS)
    if not is_reserve and words is None and not is_leaking:
        return None
    data, settings = experiment.data, experiment.reserve
    encode = tokenizers.load(data.tokenizer).encode_plain

    def add(row: VideoBatch, record: shards.Record, epoch: int) -> VideoBatch:
        if is_leaking:
            row = video.with_answer(row, record, encode, data.text_length)
        if is_reserve:
            sequences = reserve_sequences.reserve_row(
                record, data, settings, encode, seed, epoch
            )
            row = row._replace(reserve=sequences)
        if words is not None:
            hidden = cloze.row(record, data, settings, words, encode, seed, epoch)
            row = row._replace(cloze=hidden)
        return row

    return add


def has_words(terms: config.Terms) -> bool:
    """Whether a grounding term has weight."""
    return any(getattr(terms, name) for name in grounding.TERMS)


def words_of(experiment: config.Experiment) -> vocabulary.Vocabulary | None:
    """The closed vocabulary of the grounding terms; None where neither is used."""
    if not has_words(experiment.terms):
        return None
    if experiment.reserve.words is None:
        raise ValueError(
            "terms.closed_span and terms.pooled_cells need a closed vocabulary: set"
            " reserve.words to toy or to a JSON file"
        )
    return vocabulary.load(experiment.reserve.words)


def embeddings_of(masking: config.Masking) -> dict[str, np.ndarray] | None:
    """Label -> vector, as the settings name a file; None: label = anchor only.

    Raises:
      ValueError: if it cannot be read, or `masking.similarity` needs one.
    """
    path = masking.label_embeddings
    anchors.check_vectors(masking.anchors, path is not None, masking.similarity)
    return None if path is None else anchors.load_embeddings(path)
