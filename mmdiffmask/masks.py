"""Masks of examples: of a batch, of some clips, of the held-out ones, in a file."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterable, Sequence

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt32

from mmdiffmask import atomic, config, examples
from mmdiffmask.attention import StartAttention
from mmdiffmask.data import loader, tokenizers, video
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.data.records import shards
from mmdiffmask.examples import EVAL_SEED
from mmdiffmask.masking import clips, sampling, strategies, strategy_settings, units
from mmdiffmask.training.steps import KEPT
from mmdiffmask.types import VideoBatch

# (run's key, batch, epoch, attention or nothing) -> masks
DrawMasks = Callable[..., sampling.Mask]
DrawPatches = Callable[..., Bool[Array, "b t n"]]
EXPORTED_AT_ONCE = 128  # examples


def drawer(data: config.Data, masking: config.Masking, name: str) -> DrawMasks:
    """(run's key, batch, epoch) -> the masks of the strategy of that name.

    A fourth argument is attention, in place of the scores of a batch.
    """
    grid, strategy = examples.patch_grid(data), strategies.find(name)

    def draw(
        run_key: PRNGKeyArray,
        batch: VideoBatch,
        epoch: Int[Array, ""] | int,
        attention: Float[Array, "b t n"] | None = None,
    ) -> sampling.Mask:
        return clips.mask_batch(
            batch, run_key, strategy, masking, grid, epoch, attention
        )

    return draw


@functools.lru_cache(maxsize=4 * KEPT)
def patch_drawer(data: config.Data, masking: config.Masking) -> DrawPatches:
    """As `drawer` of the settings' strategy, but only what is hidden (b, t, n).

    The same object for the same settings, so that what is compiled with it is shared.
    """
    draw = drawer(data, masking, masking.strategy)

    def draw_hidden(
        run_key: PRNGKeyArray,
        batch: VideoBatch,
        epoch: Int[Array, ""] | int,
        attention: Float[Array, "b t n"] | None = None,
    ) -> Bool[Array, "b t n"]:
        mask = draw(run_key, batch, epoch, attention)
        return mask.is_masked.reshape(batch.is_patch_valid.shape)

    return draw_hidden


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
    attention: StartAttention | None = None,
) -> dict[str, VideoBatch]:
    """Some examples without their pixels, with the units of each strategy.

    Each record is read once, however many strategies there are, and no picture of it
    is decoded but for scores of its patches, or attention that is not known yet.

    Raises:
      ValueError: if a strategy goes by attention and there is none.
    """
    data, masking = experiment.data, experiment.masking
    settings = examples.unit_settings(data, masking, source, seed, attention)
    if attention is not None and by_attention(names):
        attention.prepare(positions)
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


def by_attention(names: Iterable[str]) -> bool:
    """Whether one of these strategies scores units by attention."""
    return any(strategies.find(name).is_by_attention for name in names)


def is_attended(experiment: config.Experiment) -> bool:
    """Whether a run's rows need scores by the attention of its first weights."""
    masking = experiment.masking
    is_by_attention = by_attention([masking.strategy])
    is_live = strategy_settings.is_live(masking)
    return experiment.is_hiding and is_by_attention and not is_live


def attended(experiment: config.Experiment, chosen: examples.Chosen) -> list[int]:
    """Positions of all records whose attention under the first weights a run needs."""
    positions = list(chosen.train) if is_attended(experiment) else []
    if by_attention(held_out_names(experiment)):
        positions += chosen.dev_clips
    return positions


def held_out_names(experiment: config.Experiment) -> list[str]:
    """The strategies of `held_out`; one that hides is judged by its own.

    Without `data.boxed_only` others that need boxes are left out: detectors need not
    have seen these clips.
    """
    masking = experiment.masking
    judged = {masking.strategy} if experiment.is_hiding else set()
    return [
        name
        for name in strategy_settings.held_out(masking)
        if experiment.data.boxed_only
        or name in judged
        or not strategies.find(name).units.boxes
    ]


def held_out(
    experiment: config.Experiment,
    source: shards.Source,
    positions: Sequence[int],
    attention: StartAttention | None = None,
) -> dict[str, HeldOut]:
    """Strategy -> its masks of the dev clips: the same for every run and every seed.

    Masks by attention are the same for all that start from the same weights.
    """
    names = held_out_names(experiment)
    batches = bare_batches(experiment, source, positions, names, EVAL_SEED, attention)
    return {
        name: of_batch(experiment, name, batch, EVAL_SEED)
        for name, batch in batches.items()
    }


def drawn_when_needed(
    experiment: config.Experiment,
    source: shards.Source,
    positions: Sequence[int],
    attention: StartAttention | None = None,
) -> dict[str, Callable[[VideoBatch], Bool[np.ndarray, "b t n"]]]:
    """Strategy -> its `held_out` masks of a batch; no record is read before one is."""

    @functools.cache
    def every() -> dict[str, HeldOut]:
        return held_out(experiment, source, positions, attention)

    def masks_of(name: str, batch: VideoBatch) -> Bool[np.ndarray, "b t n"]:
        return every()[name].draw(batch)

    names = held_out_names(experiment)
    return {name: functools.partial(masks_of, name) for name in names}


def export(
    experiment: config.Experiment,
    corpus: Corpus,
    out: str,
    split: str,
    seed: int,
    attention: StartAttention | None = None,
) -> str:
    """Writes the static masks of a split to a file that `masking.masks` reads.

    Arrays: `ids` (e,), `masks` (e, t, n) with True = hidden, `grid` (rows, columns),
    `seed`, `strategy`. The same settings give the same bytes.

    Args:
      experiment: its strategy, with what that needs.
      corpus: the records.
      out: the .npz file.
      split: of the records.
      seed: of the masks.
      attention: of that split, for a strategy by attention.

    Returns:
      What was written.

    Raises:
      ValueError: if the file cannot be one, the records lack the split, masks are not
        static, or the strategy goes by attention and there is none.
    """
    path, name = pathlib.Path(out), experiment.masking.strategy
    if path.suffix != ".npz" or not path.parent.is_dir():
        raise ValueError(f"--out {out}: needs an .npz file in a folder that exists")
    _check_static(experiment.masking)
    ids, source = [e.example_id for e in corpus.entries(split)], corpus.source(split)
    hidden = []
    for first in range(0, len(ids), EXPORTED_AT_ONCE):
        # The last ones fill up the last part, so that all have one shape.
        most = min(EXPORTED_AT_ONCE, len(ids))
        first_drawn = min(first, len(ids) - most)
        positions = range(first_drawn, first_drawn + most)
        batches = bare_batches(experiment, source, positions, (name,), seed, attention)
        drawn = of_batch(experiment, name, batches[name], seed).is_masked
        hidden.append(drawn[first - first_drawn :])
    is_masked, grid = np.concatenate(hidden), examples.patch_grid(experiment.data)
    with atomic.place(path) as unfinished, open(unfinished, "wb") as file:
        np.savez_compressed(
            file,
            ids=np.array(ids),
            masks=is_masked,
            grid=np.array([grid.rows, grid.cols]),
            seed=np.array(seed),
            strategy=np.array(name),
        )
    return (
        f"{out}: masks of {len(ids)} examples of {split}, strategy {name}, seed {seed}:"
        f" {is_masked.shape[1]} frames of {grid}"
    )


def _check_static(masking: config.Masking) -> None:
    """Refuses masks of which there is more than one an example."""
    if masking.masks == "per_epoch":
        raise ValueError("masking.masks=per_epoch: a file holds one mask an example")
    if strategy_settings.is_live(masking):
        raise ValueError(
            "masking.attention=live: a file holds masks by the first weights alone;"
            " leave it out"
        )
