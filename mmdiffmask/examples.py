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
    records,
    reserve_sequences,
    splits,
    tokenizers,
    video,
    vocabulary,
)
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


@functools.lru_cache(maxsize=4)
def open_split(records_dir: str, split: str) -> records.Source:
    """A split of the records, opened and verified once a process."""
    return records.open_split(records_dir, split)


def split_train(experiment: config.Experiment, source: records.Source) -> splits.Split:
    """What continued pretraining trains on, and its dev.

    With `data.boxed_only` only clips that detectors have looked at serve, for every
    row of a comparison alike.
    """
    data = experiment.data
    return splits.split_train(source, data.dev_share, data.boxed_only)


def make_row(
    data: config.Data,
    masking: config.Masking,
    source: records.Source,
    add: AddLanguage | None = None,
) -> Callable[..., VideoBatch]:
    """(position in the split, epoch = 0) -> its row.

    Args:
      data: grid, segments and streams.
      masking: its box kind decides the units.
      source: the split.
      add: `language`, where the objective has language terms.
    """
    place, tokenizer = patch_grid(data), tokenizers.load(data.tokenizer)
    embeddings = embeddings_of(masking)

    def of_record(record, is_patch_valid):
        return units.from_boxes(
            place,
            masking,
            data.min_overlap,
            record.boxes,
            record.covered_share,
            is_patch_valid,
            embeddings,
        )

    def row(index: int, epoch: int = 0) -> VideoBatch:
        record = source[index]
        made = video.row(record, data, place, tokenizer.encode_plain, of_record)
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

    def add(row: VideoBatch, record: records.Record, epoch: int) -> VideoBatch:
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


def mask_kinds(masking: config.Masking) -> dict[str, tuple[str, str]]:
    """Kinds of held-out masks -> (strategy, box kind); the run's own is among them."""
    kinds = {
        "random": ("random", "body"),
        "body": ("difference", "body"),
        "face": ("difference", "face"),
    }
    if masking.strategy == "difference":
        kinds.setdefault(masking.boxes, ("difference", masking.boxes))
    return kinds


def own_kind(masking: config.Masking) -> str:
    """The kind of held-out masks that a run is judged by."""
    return masking.boxes if masking.strategy == "difference" else "random"


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


def masks_of(
    experiment: config.Experiment,
    source: records.Source,
    positions: Sequence[int],
    strategy: str,
    boxes: str,
    seed: int,
) -> tuple[HeldOut, VideoBatch]:
    """The masks of some examples, and their rows with the units of that box kind."""
    masking = dataclasses.replace(experiment.masking, boxes=boxes, masks="static")
    row = make_row(experiment.data, masking, source)
    batch = loader.stack([_without_pixels(row(i)) for i in positions])
    draw = jax.jit(draw_masks(experiment.data, masking, strategy))
    drawn = draw(jax.random.key(seed), batch, 0)
    shape = batch.is_patch_valid.shape
    is_masked = np.asarray(drawn.is_masked).reshape(shape)
    return HeldOut(np.asarray(batch.example_hash), is_masked), batch


def _without_pixels(row: VideoBatch) -> VideoBatch:
    """The row with its frames emptied: masks need none, and many rows are held."""
    return row._replace(
        patches=row.patches[..., :1].copy(), spectrogram=row.spectrogram[:, :0].copy()
    )
