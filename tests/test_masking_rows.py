"""Every row of the registry: the same number hidden in every clip, from its key."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmdiffmask import config, grid
from mmdiffmask.masking import clips, strategies, tables, units
from mmdiffmask.tokens import name_hash
from mmdiffmask.types import MaskInputs
from tests.helpers import clip_records

GRID, T, B = grid.PatchGrid(6, 10), 3, 6
ROWS = list(strategies.REGISTRY.values())


def over_tokens(of_patch, mask_unit, reduce):
    """(b, tokens) from (b, t, n), without the code under test."""
    values = np.asarray(of_patch).reshape(-1, T, 6, 10)
    if mask_unit == "cell":
        values = reduce(values.reshape(-1, T, 3, 2, 5, 2), axis=(3, 5))
    return values.reshape(len(values), -1)


def budgets(is_valid, masking):
    count = over_tokens(is_valid, masking.mask_unit, np.any).sum(1)
    return [max(1, round(masking.ratio * int(n))) for n in count]


@functools.cache
def batch():
    """Records, all but the last with boxes, and their valid patches."""
    pairs = [clip_records.make(GRID, i, T, n_boxes=8) for i in range(B - 1)]
    pairs.append(clip_records.make(GRID, B, T, n_boxes=0))
    return [record for record, _ in pairs], np.stack([valid for _, valid in pairs])


def files(masking):
    """Scores and masks of the batch by id, as files would hold them."""
    records, is_valid = batch()
    rng, ids = np.random.default_rng(0), [r.example_id for r in records]
    scores, masks = rng.random((B, T, GRID.n_patches)), np.zeros_like(is_valid)
    for i, budget in enumerate(budgets(is_valid, masking)):
        group = units.group_of_patch(GRID, masking.mask_unit)
        token = np.arange(T)[:, None] * 100 + group
        chosen = rng.permutation(np.unique(token[is_valid[i]]))[:budget]
        masks[i] = np.isin(token, chosen) & is_valid[i]
    place = {name: i for i, name in enumerate(ids)}
    return {
        name: tables.Table("FILE.npz", name, place, values, None)
        for name, values in (("scores", scores), ("masks", masks))
    }


def attention_of(record):
    """Made up, and the same whenever it is asked."""
    rng = np.random.default_rng(int(name_hash(record.example_id)))
    return rng.gamma(1.0, size=(T, GRID.n_patches)).astype(np.float32)


def stacked(row, masking, seed=0, epoch=None):
    """The units of the batch under a row."""
    records, is_valid = batch()
    settings = units.Settings(
        GRID,
        masking,
        0.25,
        seed=seed,
        epoch=epoch,
        tables=files(masking),
        pictures=functools.partial(clip_records.pixels, patch_grid=GRID),
        lend=lambda record, kinds: records[(records.index(record) + 1) % (B - 1)],
        attention=attention_of,
    )
    pairs = zip(records, is_valid, strict=True)
    made = [row.clip_units(record, valid, settings) for record, valid in pairs]
    return units.ClipUnits(*map(np.stack, zip(*made, strict=True)))


@functools.cache
def drawer(is_box, is_whole, weight, select, hint, masking):
    """Draws masks of a batch; rows that draw alike share a program."""
    kind = units.Units("", units.patches, is_box, is_whole)
    row = strategies.Strategy("", "", kind, None, weight, select, hint=hint)
    layout = clips.layout_of(GRID, T, masking.mask_unit)

    def one(key, inputs, is_box_unit):
        return clips.mask_clip(key, inputs, is_box_unit, layout, row, masking)

    return jax.jit(jax.vmap(one))


def hidden(row, masking, seed=0, epoch=None):
    made = stacked(row, masking, seed, epoch)
    key = jax.random.fold_in(jax.random.key(seed), jnp.uint32(name_hash(row.name)))
    if epoch is not None:
        key = jax.random.fold_in(key, epoch)
    apart = dataclasses.replace(masking, tracks="apart")  # units are there already
    kind, how = row.units, (row.weight, row.select, row.hint)
    draw = drawer(kind.is_box, kind.is_whole, *how, apart)
    inputs = MaskInputs(made.unit_of_token, made.unit_score)
    mask = draw(jax.random.split(key, B), inputs, made.is_box_unit)
    return np.asarray(mask.is_masked).reshape(B, T, -1)


@pytest.mark.parametrize("mask_unit", ["patch", "cell"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_hides_the_budget_in_every_clip(row, mask_unit):
    masking, (_, is_valid) = config.Masking(mask_unit=mask_unit), batch()
    is_masked = hidden(row, masking)
    assert not (is_masked & ~is_valid).any()
    some = over_tokens(is_masked, mask_unit, np.any)
    assert some.sum(1).tolist() == budgets(is_valid, masking)
    whole = over_tokens(is_masked | ~is_valid, mask_unit, np.all)
    assert (whole | ~some).all()  # no part of a cell


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_depends_on_seed_epoch_and_example(row):
    masking = config.Masking(mask_unit="patch")
    first, again = (hidden(row, masking) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other_seed, other_epoch = hidden(row, masking, 1), hidden(row, masking, 0, 3)
    if row.file == "masks":
        np.testing.assert_array_equal(first, files(masking)["masks"].values)
        np.testing.assert_array_equal(first, other_seed)
        return
    assert (first != other_seed).any() and (first != other_epoch).any()


def test_joined_tracks_keep_the_budget():
    masking, (_, is_valid) = config.Masking(tracks="joined"), batch()
    for name in ("difference", "moved", "other-clip"):
        is_masked = hidden(strategies.find(name), masking)
        some = over_tokens(is_masked, "cell", np.any)
        assert some.sum(1).tolist() == budgets(is_valid, masking)


def test_tubes_and_frames_are_cut_but_once():
    masking, (_, is_valid) = config.Masking(), batch()
    of_tubes = hidden(strategies.find("random-tube"), masking)
    of_frames = hidden(strategies.find("whole-frames"), masking)
    for axis, is_masked in ((1, of_tubes), (2, of_frames)):
        is_open = (~is_masked & is_valid).any(axis) & is_masked.any(axis)
        is_cut = is_open.reshape(B, -1)
        if axis == 1:
            is_cut = is_cut.reshape(B, 3, 2, 5, 2).any((2, 4)).reshape(B, -1)
        assert (is_cut.sum(1) <= 1).all() and is_masked.any()


def test_one_trace_serves_all_rows():
    """Units of every row have the same shapes and types, so steps compile once."""

    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(made):
        return sum(part.astype(jnp.float32).sum() for part in made)

    masking = config.Masking()
    sums = {row.name: float(step(stacked(row, masking))) for row in ROWS}
    assert len(set(sums.values())) > len(ROWS) // 2
