"""Masks by attention: the paper's Eq. 6 and 7, hints, boxes, and both ways to score."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from mmdiffmask import config, grid
from mmdiffmask.masking import (
    clips,
    sampling,
    scorers,
    strategies,
    strategy_settings,
    units,
)
from mmdiffmask.types import Boxes, MaskInputs, VideoBatch

GRID = grid.PatchGrid(6, 10)
T, N = 2, GRID.n_patches
DRAWS = 4000
BY_ATTENTION = ("attnmask", "attnmask-hint", "mst", "attention-body")
IS_VALID = np.ones((T, N), bool)
IS_VALID[:, 50:] = False  # the last row of patches is padding
ATTENTION = np.random.default_rng(0).gamma(1.0, size=(T, N)).astype(np.float32)
ATTENTION[1] *= 5  # the frame's [CLS] keeps less for itself
BODY = Boxes(
    frame=np.array([0, 1]),
    xyxy_px=np.zeros((2, 4)),
    kind=("body", "body"),
    label=("person", "person"),
    score=np.ones(2),
    track=np.full(2, -1),
    source=("test", "test"),
)
COVERED = np.zeros((2, N))
COVERED[0, [0, 1, 10, 11]] = 1
COVERED[1, 20:34] = 1


def settings(masking):
    return units.Settings(GRID, masking, 0.0, attention=lambda record: ATTENTION)


def clip_units(name, masking):
    record = types.SimpleNamespace(boxes=BODY, covered_share=COVERED)
    return strategies.find(name).clip_units(record, IS_VALID, settings(masking))


def expected_shares():
    """Restated: of its frame's valid patches each patch's share, frame by frame."""
    shares = np.zeros((T, N))
    for t in range(T):
        valid = IS_VALID[t]
        shares[t, valid] = ATTENTION[t, valid] / ATTENTION[t, valid].sum()
    return shares


def draws(name, masking, count=DRAWS):
    """The masks of many keys."""
    row, clip = strategies.find(name), clip_units(name, masking)
    layout = clips.layout_of(GRID, T, masking.mask_unit)
    inputs = MaskInputs(clip.unit_of_token, clip.unit_score)

    @jax.jit
    @jax.vmap
    def draw(key):
        return clips.mask_clip(key, inputs, clip.is_box_unit, layout, row, masking)

    return clip, jax.tree.map(
        np.asarray, draw(jax.random.split(jax.random.key(1), count))
    )


def test_shares_leave_out_padding_and_every_frame_weighs_alike():
    shares = scorers.attention_shares(ATTENTION, IS_VALID)
    np.testing.assert_allclose(shares, expected_shares(), rtol=1e-6)
    np.testing.assert_allclose(shares.sum(-1), 1.0, rtol=1e-6)
    nothing = scorers.attention_shares(ATTENTION, np.zeros_like(IS_VALID))
    assert not nothing.any()  # a frame that is absent


@pytest.mark.parametrize("mask_unit", ["patch", "cell"])
@pytest.mark.parametrize("name, power", [("attnmask", 1), ("mst", -1)])
def test_the_first_unit_follows_the_equation(name, power, mask_unit):
    masking = config.Masking(ratio=0.01, mask_unit=mask_unit)
    _, mask = draws(name, masking)
    shares = expected_shares().reshape(-1)
    if mask_unit == "cell":
        token = clips.layout_of(GRID, T, "cell").token_of_patch
        is_valid = IS_VALID.reshape(-1)
        mean = np.bincount(token[is_valid], shares[is_valid], token.max() + 1)
        counts = np.bincount(token[is_valid], minlength=token.max() + 1)
        mean = mean / np.maximum(counts, 1)
    else:
        mean = shares
    is_token = mean > 0
    weight = np.where(is_token, mean, 1.0) ** power * is_token
    first = (mask.unit_rank == 0).argmax(1)
    observed = np.bincount(first, minlength=len(weight))
    assert not observed[~is_token].any()  # padding
    expected = DRAWS * weight / weight.sum()
    is_rare = expected < 5  # chi-square wants them together
    table = [np.append(x[~is_rare], x[is_rare].sum()) for x in (observed, expected)]
    table = [x[table[1] > 0] for x in table]
    assert scipy.stats.chisquare(*table).pvalue > 0.01
    even = DRAWS * is_token / is_token.sum()
    assert scipy.stats.chisquare(observed[is_token], even[is_token]).pvalue < 1e-6


def test_the_second_unit_is_drawn_from_those_left():
    """Without replacement: p(j | i first) is w_j / (1 - w_i)."""
    _, mask = draws("attnmask", config.Masking(mask_unit="patch"), count=20000)
    weight = expected_shares().reshape(-1) / T
    second = (mask.unit_rank == 1).argmax(1)
    expected = weight * ((weight / (1 - weight)).sum() - weight / (1 - weight))
    observed = np.bincount(second, minlength=len(weight))
    kept = 20000 * expected >= 5
    assert expected.sum() == pytest.approx(1)
    kept &= weight > 0
    scaled = expected[kept] / expected[kept].sum() * observed[kept].sum()
    assert scipy.stats.chisquare(observed[kept], scaled).pvalue > 0.01


@pytest.mark.parametrize("mask_unit", ["patch", "cell"])
def test_every_row_hides_as_much_as_random(mask_unit):
    masking = config.Masking(mask_unit=mask_unit)
    counts = {}
    for name in ("random", *BY_ATTENTION):
        is_masked = draws(name, masking, count=20)[1].is_masked
        assert not is_masked[:, ~IS_VALID.reshape(-1)].any()
        token = clips.layout_of(GRID, T, mask_unit).token_of_patch
        counts[name] = {len(set(token[one].tolist())) for one in is_masked}
    assert len(set.union(*counts.values())) == 1


def test_hints_are_the_tenth_that_is_attended_most():
    masking = config.Masking(mask_unit="patch", ratio=0.8)
    hidden = draws("attnmask-hint", masking, count=200)[1].is_masked
    shares = expected_shares().reshape(-1)
    top = np.argsort(-shares)[:10]  # of 100 valid patches
    assert not hidden[:, top].any()
    assert set(hidden.sum(1)) == {80}
    assert hidden.any(0).sum() == 90
    assert draws("attnmask", masking, count=200)[1].is_masked[:, top].any()
    row = dataclasses.replace(strategies.find("attnmask-hint"), select="top")
    weight = clips._without_hint(jnp.asarray(shares), shares > 0, row.hint)
    assert np.flatnonzero((shares > 0) & (np.asarray(weight) == 0)).tolist() == sorted(
        top.tolist()
    )


def test_a_box_has_the_mean_attention_of_its_patches():
    masking = config.Masking(mask_unit="patch")
    clip, mask = draws("attention-body", masking)
    shares = expected_shares()
    means = [shares[0, COVERED[0] > 0].mean(), shares[1, COVERED[1] > 0].mean()]
    assert clip.is_box_unit.sum() == 2
    np.testing.assert_allclose(clip.unit_score[:2], means, rtol=1e-5)
    first = np.bincount((mask.unit_rank == 0).argmax(1), minlength=2)
    expected = DRAWS * np.array(means) / sum(means)
    assert scipy.stats.chisquare(first[:2], expected).pvalue > 0.01
    assert not first[2:].any()  # background only fills
    same = clip_units("difference", masking)
    np.testing.assert_array_equal(clip.unit_of_token, same.unit_of_token)


@pytest.mark.parametrize("name", BY_ATTENTION)
@pytest.mark.parametrize("mask_unit", ["patch", "cell"])
def test_attention_in_the_draw_is_attention_in_the_row(name, mask_unit):
    masking = config.Masking(mask_unit=mask_unit)
    scored, row = clip_units(name, masking), strategies.find(name)
    record = types.SimpleNamespace(boxes=BODY, covered_share=COVERED)
    bare = row.unscored().clip_units(
        record, IS_VALID, settings(masking)._replace(attention=None)
    )
    assert scored.unit_score.any() and not bare.unit_score.any()

    def batch_of(clip):
        return VideoBatch(*[None] * len(VideoBatch._fields))._replace(
            unit_of_token=clip.unit_of_token[None],
            unit_score=clip.unit_score[None],
            is_box_unit=clip.is_box_unit[None],
            is_patch_valid=IS_VALID[None],
            is_frame_valid=IS_VALID.any(1)[None],
            example_hash=np.array([7], np.uint32),
        )

    key = sampling.seed_key(0)
    by_row = clips.mask_batch(batch_of(scored), key, row, masking, GRID)
    in_draw = clips.mask_batch(
        batch_of(bare), key, row, masking, GRID, attention=ATTENTION[None]
    )
    np.testing.assert_array_equal(by_row.is_masked, in_draw.is_masked)
    np.testing.assert_array_equal(by_row.unit_rank, in_draw.unit_rank)
    other = clips.mask_batch(
        batch_of(bare), key, row, masking, GRID, attention=ATTENTION[None, :, ::-1]
    )
    if not row.units.is_box:  # both boxes are hidden whatever their order
        assert (np.asarray(other.is_masked) != np.asarray(in_draw.is_masked)).any()


def test_masks_by_attention_that_nobody_knows_are_refused():
    unknown = settings(config.Masking())._replace(attention=None)
    with pytest.raises(ValueError, match="need the weights that a run starts from"):
        strategies.find("mst").clip_units(None, IS_VALID, unknown)


def test_live_attention_without_effect_is_refused():
    live = config.Masking(strategy="difference", attention="live")
    with pytest.raises(
        ValueError, match="strategy=difference does not go by attention"
    ):
        strategy_settings.check_live([config.Masking(strategy="mst"), live])
    strategy_settings.check_live([live, dataclasses.replace(live, strategy="mst")])
    strategy_settings.check_live([config.Masking(strategy="random")])


def test_only_strategies_by_attention_follow_the_weights():
    live = config.Masking(strategy="mst", attention="live")
    assert strategy_settings.is_live(live)
    assert not strategy_settings.is_live(dataclasses.replace(live, attention="start"))
    assert not strategy_settings.is_live(dataclasses.replace(live, strategy="random"))
    assert {
        name for name, row in strategies.REGISTRY.items() if row.is_by_attention
    } == set(BY_ATTENTION)
