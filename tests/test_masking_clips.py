"""Masks of whole clips on every grid: the laws that comparisons rest on."""

import dataclasses
import functools
import types

import jax
import numpy as np
import pytest

from mmdiffmask import config, grid
from mmdiffmask.masking import clips, sampling, strategies, units
from mmdiffmask.types import Boxes, MaskInputs, VideoBatch

GRIDS = [(12, 20), (12, 24), (16, 16), (18, 32), (6, 10)]
LABELS = {"person": [1.0, 0], "dog": [0.4, np.sqrt(0.84)], "cup": [0, 1.0]}
LABELS = {label: np.array(vector) for label, vector in LABELS.items()}
T, B = 2, 8


def random_boxes(rng, n_boxes, width, height):
    """Boxes of 5 to 70 per cent of a frame's sides, some past its border."""
    size = rng.uniform(0.05, 0.7, (n_boxes, 2)) * [width, height]
    corner = rng.uniform(-0.1, 0.9, (n_boxes, 2)) * [width, height]
    return Boxes(
        frame=rng.integers(0, T, n_boxes),
        xyxy_px=np.concatenate([corner, corner + size], 1),
        kind=("body",) * n_boxes,
        label=tuple(rng.choice(sorted(LABELS), n_boxes)),
        score=np.ones(n_boxes),
        track=np.full(n_boxes, -1),
        source=("test",) * n_boxes,
    )


def make_batch(patch_grid, masking, seed=0):
    """B random clips: any aspect, missing frames, no boxes in the first one."""
    rng = np.random.default_rng([seed, patch_grid.rows, patch_grid.cols])
    rows, valid = [], []
    for i in range(B):
        width, height = rng.integers(100, 400, 2)
        fit = grid.fit_frame(patch_grid, int(width), int(height))
        frames = np.array([True, i % 3 > 0])
        is_valid = frames[:, None] & grid.valid_patches(patch_grid, fit)[None]
        boxes = random_boxes(
            rng, 0 if i == 0 else int(rng.integers(1, 7)), *fit_of(fit)
        )
        share = grid.covered_share(patch_grid, grid.fit_boxes(fit, boxes.xyxy_px))
        overlap = 0.25 if patch_grid.rows == 6 else 0.0
        rows.append(
            strategies.find(masking.strategy).clip_units(
                types.SimpleNamespace(boxes=boxes, covered_share=share),
                is_valid,
                units.Settings(patch_grid, masking, overlap, LABELS),
            )
        )
        valid.append(is_valid)
    batch = VideoBatch(*[None] * len(VideoBatch._fields))
    return batch._replace(
        unit_of_token=np.stack([row.unit_of_token for row in rows]),
        unit_score=np.stack([row.unit_score for row in rows]),
        is_box_unit=np.stack([row.is_box_unit for row in rows]),
        is_patch_valid=np.stack(valid),
        is_frame_valid=np.stack(valid).any(2),
        example_hash=np.arange(B, dtype=np.uint32) * 12345,
    )


def fit_of(fit):
    return fit.source_width, fit.source_height


@functools.cache
def masks(patch_grid, masking, strategy):
    batch = make_batch(patch_grid, masking)
    mask = jitted(patch_grid, masking, strategy)(batch)
    return batch, jax.tree.map(np.asarray, mask)


@functools.cache
def jitted(patch_grid, masking, strategy):
    row = strategies.find(strategy)
    return jax.jit(
        lambda batch, epoch=0: clips.mask_batch(
            batch, jax.random.key(0), row, masking, patch_grid, epoch
        )
    )


SLOTS = T * 18 * 32 + 1  # of the largest grid, and one that is always padding


def padded(values, fill, axis=0):
    widths = [(0, 0)] * values.ndim
    widths[axis] = (0, SLOTS - values.shape[axis])
    return np.pad(values, widths, constant_values=fill)


@functools.cache
def one_shape(masking, strategy):
    """`mask_clip` over a batch, compiled once for all grids and both mask units."""
    row = strategies.find(strategy)

    def one(example_hash, inputs, is_box_unit, layout):
        key = sampling.example_key(jax.random.key(0), example_hash, strategy)
        return clips.mask_clip(key, inputs, is_box_unit, layout, row, masking)

    return jax.jit(jax.vmap(one, (0, 0, 0, None)))


@functools.cache
def padded_masks(patch_grid, masking, strategy):
    """A batch on any grid and its masks."""
    batch = make_batch(patch_grid, masking)
    return batch, run_padded(batch, patch_grid, masking, strategy)


def run_padded(batch, patch_grid, masking, strategy):
    """The masks of a batch, drawn in arrays padded to one shape."""
    layout = clips.layout_of(patch_grid, T, masking.mask_unit)
    layout = clips.Layout(
        padded(layout.token_of_patch, SLOTS - 1), padded(layout.position, 0)
    )
    inputs = MaskInputs(
        padded(batch.unit_of_token, -1, 1), padded(batch.unit_score, 0, 1)
    )
    anything = dataclasses.replace(masking, mask_unit="cell")  # `layout` decides
    mask = one_shape(anything, strategy)(
        batch.example_hash, inputs, padded(batch.is_box_unit, False, 1), layout
    )
    q = batch.unit_of_token.shape[1]
    return jax.tree.map(
        lambda part: np.asarray(part)[:, :q] if part.ndim > 1 else np.asarray(part),
        mask,
    )


def over_tokens(values, patch_grid, mask_unit, reduce):
    """(b, t * groups) from (b, q), without the code under test."""
    values = np.asarray(values).reshape(-1, patch_grid.rows, patch_grid.cols)
    if mask_unit == "cell":
        b, rows, cols = values.shape
        values = values.reshape(b, rows // 2, 2, cols // 2, 2)
        values = reduce(values, axis=(2, 4))
    return values.reshape(B, -1)


def budgets(batch, patch_grid, masking):
    valid = over_tokens(batch.is_patch_valid, patch_grid, masking.mask_unit, np.any)
    return [max(1, round(masking.ratio * int(n))) for n in valid.sum(1)]


@pytest.mark.parametrize("strategy", ["random", "difference"])
@pytest.mark.parametrize("mask_unit", ["patch", "cell"])
@pytest.mark.parametrize("shape", GRIDS)
def test_budget_holds_exactly_and_nothing_invalid_is_hidden(shape, mask_unit, strategy):
    patch_grid = grid.PatchGrid(*shape)
    masking = config.Masking(mask_unit=mask_unit)
    batch, mask = padded_masks(patch_grid, masking, strategy)
    valid = batch.is_patch_valid.reshape(B, -1)
    assert not (mask.is_masked & ~valid).any()
    hidden = over_tokens(mask.is_masked, patch_grid, mask_unit, np.any)
    whole = over_tokens(mask.is_masked | ~valid, patch_grid, mask_unit, np.all)
    assert hidden.sum(1).tolist() == budgets(batch, patch_grid, masking)
    assert (whole | ~hidden).all()  # no part of a cell
    assert mask.is_without_box.tolist() == [
        strategy == "difference" and not row.any() for row in batch.is_box_unit
    ]
    if strategy == "random":
        assert not (mask.is_whole_box | mask.is_cut_box | mask.is_fill).any()


@pytest.mark.parametrize("box_share", [1.0, 0.4])
@pytest.mark.parametrize("mask_unit", ["patch", "cell"])
@pytest.mark.parametrize("shape", GRIDS)
def test_whole_units_but_one_which_is_cut_around_its_seed(shape, mask_unit, box_share):
    patch_grid = grid.PatchGrid(*shape)
    masking = config.Masking(mask_unit=mask_unit, box_share=box_share)
    batch, mask = padded_masks(patch_grid, masking, "difference")
    layout = clips.layout_of(patch_grid, T, mask_unit)
    as_tokens = functools.partial(
        over_tokens, patch_grid=patch_grid, mask_unit=mask_unit, reduce=np.max
    )
    unit, hidden = as_tokens(batch.unit_of_token), as_tokens(mask.is_masked)
    whole, cut = as_tokens(mask.is_whole_box), as_tokens(mask.is_cut_box)
    for i, budget in enumerate(budgets(batch, patch_grid, masking)):
        score = np.where(unit[i] < 0, 0, batch.unit_score[i][unit[i]])
        for u in np.unique(unit[i][whole[i]]):
            assert hidden[i][unit[i] == u].all()
        cut_units = np.unique(unit[i][cut[i]])
        assert len(cut_units) <= 1
        for u in cut_units:
            members = np.flatnonzero(unit[i] == u)
            assert is_cut_around_a_seed(layout.position[members], cut[i][members])
        from_boxes = whole[i] | cut[i]
        assert (score[from_boxes] > 0).all()
        n_outside = ((unit[i] >= 0) & (score == 0)).sum()
        if budget - round(box_share * budget) <= n_outside:
            assert (
                from_boxes.sum() == min(round(box_share * budget), (score > 0).sum())
                or budget - from_boxes.sum() == n_outside
            )
        if hidden[i][(score == 0) & (unit[i] >= 0)].any():  # after the others
            spent = round(box_share * budget)
            assert from_boxes.sum() >= min(spent, (score > 0).sum())


def is_cut_around_a_seed(position, is_hidden):
    """Whether the hidden members are those nearest to one of them."""
    assert len(np.unique(position[:, 0])) == 1
    distance = ((position[:, None] - position[None]) ** 2).sum(-1)
    return any(
        distance[seed][is_hidden].max() <= distance[seed][~is_hidden].min()
        for seed in np.flatnonzero(is_hidden)
    )


SMALL = grid.PatchGrid(6, 10)


def test_no_fill_hides_what_boxes_hold():
    masking = config.Masking(fill="none", mask_unit="patch", ratio=0.6)
    batch, mask = masks(SMALL, masking, "difference")
    score = np.take_along_axis(batch.unit_score, np.maximum(batch.unit_of_token, 0), 1)
    in_boxes = ((score > 0) & (batch.unit_of_token >= 0)).sum(1)
    expected = np.minimum(budgets(batch, SMALL, masking), in_boxes)
    expected[0] = budgets(batch, SMALL, masking)[0]  # without boxes: random
    assert mask.is_masked.sum(1).tolist() == expected.tolist()
    assert (expected < budgets(batch, SMALL, masking)).any()


@pytest.mark.parametrize("strategy", ["random", "difference"])
def test_mask_depends_on_seed_strategy_and_example_alone(strategy):
    masking = config.Masking()
    batch, mask = masks(SMALL, masking, strategy)
    arrays = {k: v for k, v in batch._asdict().items() if v is not None}
    shuffle = np.random.default_rng(0).permutation(B)
    shuffled = batch._replace(**{k: v[shuffle] for k, v in arrays.items()})
    step = jitted(SMALL, masking, strategy)
    np.testing.assert_array_equal(step(shuffled).is_masked, mask.is_masked[shuffle])
    np.testing.assert_array_equal(step(batch, 5).is_masked, mask.is_masked)


def test_mask_does_not_depend_on_the_batch_size():
    batch, mask = masks(SMALL, config.Masking(), "difference")
    arrays = {k: v for k, v in batch._asdict().items() if v is not None}
    alone = batch._replace(**{k: v[3:4] for k, v in arrays.items()})
    got = jitted(SMALL, config.Masking(), "difference")(alone)
    np.testing.assert_array_equal(got.is_masked, mask.is_masked[3:4])


@pytest.mark.slow  # one compilation per operation
def test_jitted_equals_eager():
    masking = config.Masking()
    batch, mask = masks(SMALL, masking, "difference")
    layout = clips.layout_of(SMALL, T, masking.mask_unit)
    row = strategies.find("difference")
    key = sampling.example_key(jax.random.key(0), batch.example_hash[5], row.name)
    inputs = MaskInputs(batch.unit_of_token[5], batch.unit_score[5])
    eager = clips.mask_clip(key, inputs, batch.is_box_unit[5], layout, row, masking)
    for one, other in zip(mask, eager, strict=True):
        np.testing.assert_array_equal(one[5], other)


@pytest.mark.parametrize(
    "strategy", ["difference", pytest.param("random", marks=pytest.mark.slow)]
)
def test_one_and_eight_devices_hide_the_same(strategy):
    masking = config.Masking()
    batch, mask = masks(SMALL, masking, strategy)
    mesh = jax.make_mesh((8,), ("data",), (jax.sharding.AxisType.Auto,))
    sharding = jax.NamedSharding(mesh, jax.P("data"))
    spread = jitted(SMALL, masking, strategy)(jax.device_put(batch, sharding))
    assert len(spread.is_masked.sharding.device_set) == 8
    for one, other in zip(mask, spread, strict=True):
        np.testing.assert_array_equal(one, other)


def test_other_examples_and_strategies_get_other_masks():
    masking = config.Masking()
    batch, mask = masks(SMALL, masking, "difference")
    other = batch._replace(example_hash=batch.example_hash + np.uint32(1))
    changed = np.asarray(jitted(SMALL, masking, "difference")(other).is_masked)
    # One large box can fill two draws of one clip alike, but not of most clips.
    assert (changed != mask.is_masked).any(1).sum() > B // 2
    # Without boxes both are random, but not the same draw.
    assert (masks(SMALL, masking, "random")[1].is_masked[0] != mask.is_masked[0]).any()


def test_masks_of_another_epoch():
    masking = config.Masking(masks="per_epoch")
    batch = make_batch(SMALL, masking)
    step = jitted(SMALL, masking, "difference")
    first, again, second = (np.asarray(step(batch, e).is_masked) for e in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != second).any(1).sum() > B // 2
    with pytest.raises(ValueError, match="needs the epoch"):
        key, row = jax.random.key(0), strategies.find("difference")
        clips.mask_batch(batch, key, row, masking, SMALL)


def test_random_ignores_boxes():
    masking = config.Masking(mask_unit="patch")
    batch, mask = padded_masks(SMALL, masking, "random")
    bare = batch._replace(
        unit_of_token=np.where(
            batch.unit_of_token < 0, -1, np.arange(batch.unit_of_token.shape[1])
        ),
        unit_score=np.zeros_like(batch.unit_score),
        is_box_unit=np.zeros_like(batch.is_box_unit),
    )
    other = run_padded(bare, SMALL, masking, "random")
    np.testing.assert_array_equal(other.is_masked, mask.is_masked)


def test_a_score_of_patches_decides_which_cells_are_hidden():
    score = np.zeros((1, 6, 10), np.float32)
    score[0, 2:4, 4:6] = 1  # one cell
    score[0, 0, 0] = 3  # a quarter of 3: second
    row = strategies.Strategy(
        "attention",
        "by attention",
        units=units.PATCHES,
        score=lambda record, settings: score,
        weight=strategies.by_score,
        select="top",
    )
    masking = config.Masking(ratio=2 / 15)
    layout = clips.layout_of(SMALL, 1, "cell")
    is_valid = np.ones((1, 60), bool)
    made = row.clip_units(None, is_valid, units.Settings(SMALL, masking, 0.0))
    inputs = MaskInputs(made.unit_of_token, made.unit_score)

    def hidden(masking):
        draw = jax.jit(
            lambda key, inputs: clips.mask_clip(
                key, inputs, np.zeros(60, bool), layout, row, masking
            )
        )
        mask = draw(jax.random.key(0), inputs)
        return layout.token_of_patch[np.asarray(mask.is_masked)].tolist()

    assert set(hidden(masking)) == {0, 7}
    three = dataclasses.replace(masking, ratio=3 / 15, select="sample")
    assert {0, 7} < set(hidden(three))  # weight 0 only fills
