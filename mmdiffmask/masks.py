"""Masks of examples: of a batch, of some clips, of the held-out ones, in a file."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jaxtyping import Array, Bool, Int, PRNGKeyArray, UInt32

from mmdiffmask import atomic, config, examples
from mmdiffmask.data import loader, tokenizers, video
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.data.records import shards
from mmdiffmask.examples import EVAL_SEED
from mmdiffmask.masking import clips, sampling, strategies, units
from mmdiffmask.types import VideoBatch

# (run's key, batch, epoch) -> masks
DrawMasks = Callable[[PRNGKeyArray, VideoBatch, Int[Array, ""] | int], sampling.Mask]
EXPORTED_AT_ONCE = 128  # examples


def drawer(data: config.Data, masking: config.Masking, name: str) -> DrawMasks:
    """(run's key, batch, epoch) -> the masks of the strategy of that name."""
    grid, strategy = examples.patch_grid(data), strategies.find(name)

    def draw(
        run_key: PRNGKeyArray, batch: VideoBatch, epoch: Int[Array, ""] | int
    ) -> sampling.Mask:
        return clips.mask_batch(batch, run_key, strategy, masking, grid, epoch)

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
    settings = examples.unit_settings(data, masking, source, seed)
    encode = tokenizers.load(data.tokenizer).encode_plain
    empty = units.ClipUnits(*[np.zeros(0)] * len(units.ClipUnits._fields))
    rows: list[VideoBatch] = []
    units_of: dict[str, list[units.ClipUnits]] = {name: [] for name in names}
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
        for name, of_clips in units_of.items():
            make_units = strategies.find(name).clip_units
            of_clips.append(make_units(record, rows[-1].is_patch_valid, settings))
    batch = loader.stack(rows)
    return {
        name: batch._replace(
            **{
                field: np.stack([getattr(clip, field) for clip in of_clips])
                for field in units.ClipUnits._fields
            }
        )
        for name, of_clips in units_of.items()
    }


def of_batch(
    experiment: config.Experiment, name: str, batch: VideoBatch, seed: int
) -> HeldOut:
    """A strategy's static masks of a batch that has its units."""
    masking = dataclasses.replace(experiment.masking, masks="static")
    draw = jax.jit(drawer(experiment.data, masking, name))
    drawn = draw(sampling.seed_key(seed), batch, 0)
    is_masked = np.asarray(drawn.is_masked).reshape(batch.is_patch_valid.shape)
    return HeldOut(np.asarray(batch.example_hash), is_masked)


def held_out_names(experiment: config.Experiment) -> list[str]:
    """The strategies of `held_out`; one that hides is judged by its own.

    Without `data.boxed_only` others that need boxes are left out: detectors need not
    have seen these clips.
    """
    masking = experiment.masking
    judged = {masking.strategy} if experiment.is_hiding else set()
    return [
        name
        for name in strategies.held_out(masking)
        if experiment.data.boxed_only
        or name in judged
        or not strategies.find(name).units.boxes
    ]


def held_out(
    experiment: config.Experiment, source: shards.Source, positions: Sequence[int]
) -> dict[str, HeldOut]:
    """Strategy -> its masks of the dev clips: the same for every run and every seed."""
    batches = bare_batches(
        experiment, source, positions, held_out_names(experiment), EVAL_SEED
    )
    return {
        name: of_batch(experiment, name, batch, EVAL_SEED)
        for name, batch in batches.items()
    }


def drawn_when_needed(
    experiment: config.Experiment, source: shards.Source, positions: Sequence[int]
) -> dict[str, Callable[[VideoBatch], Bool[np.ndarray, "b t n"]]]:
    """Strategy -> its `held_out` masks of a batch; no record is read before one is."""

    @functools.cache
    def every() -> dict[str, HeldOut]:
        return held_out(experiment, source, positions)

    def masks_of(name: str, batch: VideoBatch) -> Bool[np.ndarray, "b t n"]:
        return every()[name].draw(batch)

    names = held_out_names(experiment)
    return {name: functools.partial(masks_of, name) for name in names}


def export(
    experiment: config.Experiment, records_dir: str, out: str, split: str, seed: int
) -> str:
    """Writes the static masks of a split to a file that `masking.masks` reads.

    Arrays: `ids` (e,), `masks` (e, t, n) with True = hidden, `grid` (rows, columns),
    `seed`, `strategy`. The same settings give the same bytes.

    Returns:
      What was written.

    Raises:
      ValueError: if the file cannot be one, the records lack the split, or masks are
        not static.
    """
    path, masking = pathlib.Path(out), experiment.masking
    if path.suffix != ".npz" or not path.parent.is_dir():
        raise ValueError(f"--out {out}: needs an .npz file in a folder that exists")
    if masking.masks == "per_epoch":
        raise ValueError("masking.masks=per_epoch: a file holds one mask an example")
    corpus = Corpus.of(records_dir)
    ids, source = [e.example_id for e in corpus.entries(split)], corpus.source(split)
    hidden = []
    for first in range(0, len(ids), EXPORTED_AT_ONCE):
        # The last ones fill up the last part, so that all have one shape.
        most = min(EXPORTED_AT_ONCE, len(ids))
        first_drawn = min(first, len(ids) - most)
        positions = range(first_drawn, first_drawn + most)
        name = masking.strategy
        batch = bare_batches(experiment, source, positions, (name,), seed)[name]
        drawn = of_batch(experiment, name, batch, seed).is_masked
        hidden.append(drawn[first - first_drawn :])
    is_masked, grid = np.concatenate(hidden), examples.patch_grid(experiment.data)
    with atomic.place(path) as unfinished, open(unfinished, "wb") as file:
        np.savez_compressed(
            file,
            ids=np.array(ids),
            masks=is_masked,
            grid=np.array([grid.rows, grid.cols]),
            seed=np.array(seed),
            strategy=np.array(masking.strategy),
        )
    return (
        f"{out}: masks of {len(ids)} examples of {split}, strategy"
        f" {masking.strategy}, seed {seed}: {is_masked.shape[1]} frames of {grid}"
    )
