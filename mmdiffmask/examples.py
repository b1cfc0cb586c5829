"""Records and settings become rows of a batch, and their masks."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, PRNGKeyArray, UInt32

from mmdiffmask import config, grid
from mmdiffmask.data import (
    cloze,
    loader,
    reserve_sequences,
    tokenizers,
    video,
    vocabulary,
)
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.data.records import index, shards
from mmdiffmask.masking import anchors, clips, sampling, strategies, units
from mmdiffmask.training import objective
from mmdiffmask.training.terms import grounding, reserve
from mmdiffmask.types import VideoBatch

# (row, its record, epoch) -> the row with what the language terms need
AddLanguage = Callable[[VideoBatch, Any, int], VideoBatch]
EVAL_SEED = 0  # held-out masks are the same for every strategy and every seed


def patch_grid(data: config.Data) -> grid.PatchGrid:
    """The grid of the settings."""
    return grid.PatchGrid(data.rows, data.cols)


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
    data: config.Data, masking: config.Masking, seed: int
) -> units.Settings:
    """What units are made from, the labels' vectors read."""
    place, embeddings = patch_grid(data), embeddings_of(masking)
    return units.Settings(place, masking, data.min_overlap, embeddings, seed)


def make_row(
    data: config.Data,
    masking: config.Masking,
    source: shards.Source,
    add: AddLanguage | None = None,
    seed: int = EVAL_SEED,
) -> Callable[..., VideoBatch]:
    """(position in the split, epoch = 0) -> its row.

    Args:
      data: grid, segments and streams.
      masking: its strategy decides the units.
      source: the split.
      add: `language`, where the objective has language terms.
      seed: of the run, for units that are drawn.
    """
    place, tokenizer = patch_grid(data), tokenizers.load(data.tokenizer)
    strategy = strategies.find(masking.strategy)
    make_units = functools.partial(
        strategy.clip_units, settings=unit_settings(data, masking, seed)
    )

    def row(position: int, epoch: int = 0) -> VideoBatch:
        record = source[position]
        made = video.row(record, data, place, tokenizer.encode_plain, make_units)
        return made if add is None else add(made, record, epoch)

    return row


def language(experiment: config.Experiment, seed: int) -> AddLanguage | None:
    """Adds to a row what the run's language terms need; None: it has none."""
    weights = objective.weights_of(experiment.terms)
    words = words_of(experiment)
    is_reserve = any(name in weights for name in reserve.TERMS)
    if not is_reserve and words is None:
        return None
    data, settings = experiment.data, experiment.reserve
    encode = tokenizers.load(data.tokenizer).encode_plain

    def add(row: VideoBatch, record: shards.Record, epoch: int) -> VideoBatch:
        rest = (encode, seed, epoch)
        if is_reserve:
            sequences = reserve_sequences.reserve_row(record, data, settings, *rest)
            row = row._replace(reserve=sequences)
        if words is not None:
            hidden = cloze.row(record, data, settings, words, *rest)
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
    """Label -> vector, as the settings name a file; None: label = anchor only."""
    path = masking.label_embeddings
    return None if path is None else anchors.load_embeddings(path)


def draw_masks(
    data: config.Data, masking: config.Masking, strategy: str
) -> Callable[[PRNGKeyArray, VideoBatch, Any], sampling.Mask]:
    """(run's key, batch, epoch) -> the strategy's masks."""
    place, row = patch_grid(data), strategies.find(strategy)

    def draw(run_key, batch, epoch):
        return clips.mask_batch(batch, run_key, row, masking, place, epoch)

    return draw


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """Masks of the dev clips, made once, looked up by example."""

    example_hash: UInt32[np.ndarray, " e"]
    is_masked: Bool[np.ndarray, "e t n"]

    def draw(self, batch: VideoBatch) -> Bool[np.ndarray, "b t n"]:
        """The masks of the batch's examples; nothing for rows that are not real."""
        hashes = np.asarray(batch.example_hash)
        is_same = self.example_hash[None, :] == hashes[:, None]
        return self.is_masked[is_same.argmax(1)] & is_same.any(1)[:, None, None]


def bare_batches(
    experiment: config.Experiment,
    source: shards.Source,
    positions: Sequence[int],
    names: Sequence[str],
    seed: int,
) -> dict[str, VideoBatch]:
    """Some examples without their pixels, with the units of each strategy.

    Each record is read once, however many strategies there are, and no picture of it
    is decoded.
    """
    data, masking = experiment.data, experiment.masking
    settings = unit_settings(data, masking, seed)
    encode = tokenizers.load(data.tokenizer).encode_plain
    empty = units.ClipUnits(*[np.zeros(0)] * len(units.ClipUnits._fields))
    rows, made = [], {name: [] for name in names}
    for i in positions:
        record = source[i]
        row = video.row(
            record,
            data,
            settings.grid,
            encode,
            make_units=lambda *_: empty,
            look=video.no_pictures,
        )
        # Masks need no sound either, and many rows are held.
        rows.append(row._replace(spectrogram=row.spectrogram[:, :0].copy()))
        for name, units_of_clips in made.items():
            make_units = strategies.find(name).clip_units
            clip = make_units(record, rows[-1].is_patch_valid, settings)
            units_of_clips.append(clip)
    batch = loader.stack(rows)
    return {
        name: batch._replace(
            **{
                field: np.stack([getattr(clip, field) for clip in units_of_clips])
                for field in units.ClipUnits._fields
            }
        )
        for name, units_of_clips in made.items()
    }


def masks_of(
    experiment: config.Experiment, name: str, batch: VideoBatch, seed: int
) -> HeldOut:
    """A strategy's static masks of a batch that has its units."""
    masking = dataclasses.replace(experiment.masking, masks="static")
    draw = jax.jit(draw_masks(experiment.data, masking, name))
    drawn = draw(sampling.seed_key(seed), batch, 0)
    is_masked = np.asarray(drawn.is_masked).reshape(batch.is_patch_valid.shape)
    return HeldOut(np.asarray(batch.example_hash), is_masked)


def held_out_names(experiment: config.Experiment) -> list[str]:
    """The strategies of `held_out_masks`; one that hides is judged by its own.

    Without `data.boxed_only` others that have boxes are left out: detectors need not
    have seen these clips.
    """
    masking = experiment.masking
    judged = {masking.strategy} if experiment.is_hiding else set()
    return [
        name
        for name in strategies.held_out(masking)
        if experiment.data.boxed_only
        or name in judged
        or not strategies.find(name).units.is_box
    ]


def held_out_masks(
    experiment: config.Experiment, source: shards.Source, positions: Sequence[int]
) -> dict[str, HeldOut]:
    """Strategy -> its masks of the dev clips: the same for every run and every seed."""
    batches = bare_batches(
        experiment, source, positions, held_out_names(experiment), EVAL_SEED
    )
    return {
        name: masks_of(experiment, name, batch, EVAL_SEED)
        for name, batch in batches.items()
    }
