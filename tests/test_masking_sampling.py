"""Draws: Eq. 4, the order drawn, trimming and filling, on small literal cases."""

import functools
import hashlib

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import strategies as st

from mmdiffmask.masking import budget as budgets
from mmdiffmask.masking import sampling
from mmdiffmask.tokens import name_hash

WEIGHT = np.array([0.5, 0.0, 0.3, 0.15, 0.05], np.float32)
ALPHA = WEIGHT / WEIGHT.sum()
ROWS, COLS = 5, 8


def many_orders(select="sample"):
    gumbel = jax.random.gumbel(jax.random.key(3), (4000, 5))
    order = functools.partial(sampling.order, select=select)
    order = jax.jit(jax.vmap(order, (0, None)))
    return np.asarray(order(gumbel, jnp.asarray(WEIGHT)))


def assert_fits(counts, probability):
    """Chi-square of counts against probabilities, at one in a thousand."""
    expected = probability * counts.sum()
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert statistic < scipy.stats.chi2.ppf(0.999, len(counts) - 1)


def test_first_unit_follows_alpha():
    first = many_orders().argmin(1)
    counts = np.bincount(first, minlength=5)
    assert counts[1] == 0  # weight 0
    assert_fits(counts[ALPHA > 0], ALPHA[ALPHA > 0])


def test_order_is_successive_sampling_without_replacement():
    rank = many_orders()
    units = [0, 2, 3, 4]
    pairs = [(i, j) for i in units for j in units if i != j]
    counts = np.array([((rank[:, i] == 0) & (rank[:, j] == 1)).sum() for i, j in pairs])
    assert_fits(counts, np.array([ALPHA[i] * ALPHA[j] / (1 - ALPHA[i])
                                  for i, j in pairs]))  # fmt: skip
    assert (np.sort(rank, 1) == np.arange(5)).all()
    assert (rank[:, 1] == 4).all()  # weight 0 comes last


def test_top_goes_by_weight_and_breaks_ties_at_random():
    assert (many_orders("top") == [0, 4, 1, 2, 3]).all()
    gumbel = jax.random.gumbel(jax.random.key(0), (200, 2))
    order = functools.partial(sampling.order, select="top")
    ties = jax.jit(jax.vmap(order, (0, None)))(gumbel, jnp.ones(2))
    assert 60 < np.asarray(ties)[:, 0].sum() < 140


@pytest.mark.parametrize(
    "ratio, n, budget", [(0.25, 100, 25), (0.25, 10, 2), (0.25, 1, 1), (0.25, 0, 1)]
)
def test_budget_is_rounded_and_at_least_one(ratio, n, budget):
    assert budgets.token_budget(ratio, jnp.int32(n)) == budget


def test_keys_depend_on_seed_example_name_and_epoch_only():
    def bits(seed, *args):
        key = sampling.example_key(jax.random.key(seed), *args)
        return tuple(jax.random.key_data(key).tolist())

    digest = hashlib.sha256(b"difference").digest()
    assert name_hash("difference") == int.from_bytes(digest[:4], "big")
    one, other = jnp.uint32(7), jnp.uint32(2**32 - 1)
    assert bits(0, one, "random") == bits(0, one, "random", None)
    cases = [
        (0, one, "random"),
        (1, one, "random"),
        (0, other, "random"),
        (0, one, "difference"),
        (0, one, "random", 0),
        (0, one, "random", 1),
    ]
    assert len({bits(*case) for case in cases}) == len(cases)


POSITION = np.stack(
    np.unravel_index(np.arange(ROWS * COLS), (1, ROWS, COLS)), 1
).astype(np.int32)


@functools.partial(jax.jit, static_argnames=("is_filled", "is_box_strategy"))
def draw(seed, weight, unit, is_box, budget, box_budget, **kw):
    return sampling.draw(
        jax.random.key(seed),
        weight,
        sampling.Tokens(unit, is_box, POSITION),
        budget,
        box_budget,
        **kw,
    )


def clip(boxes, weights):
    """Unit of each token for rectangles (row, column, height, width) of one frame."""
    unit = np.full((ROWS, COLS), -1)
    for i, (row, col, height, width) in enumerate(boxes):
        unit[row : row + height, col : col + width] = i
    is_background = unit < 0
    unit[is_background] = len(boxes) + np.arange(is_background.sum())
    weight = np.zeros(ROWS * COLS, np.float32)
    weight[: len(boxes)] = weights
    is_box = np.arange(ROWS * COLS) < len(boxes)
    return weight, unit.reshape(-1).astype(np.int32), is_box


def test_whole_units_then_a_compact_cut():
    weight, unit, is_box = clip([(0, 0, 4, 4), (0, 4, 4, 4)], [1, 1])
    for seed in range(20):
        mask = draw(seed, weight, unit, is_box, 21, 21)
        first, second = np.argsort(mask.unit_rank[:2])
        assert (np.asarray(mask.is_whole_box) == (unit == first)).all()
        cut = np.asarray(mask.is_cut_box).reshape(ROWS, COLS)
        assert (unit[cut.reshape(-1)] == second).all()
        assert cut.sum() == 5
        assert is_connected(cut)
        assert not mask.is_fill.any()


def is_connected(shape):
    """Whether the True patches hang together by their sides."""
    todo = [tuple(np.argwhere(shape)[0])]
    seen = set(todo)
    while todo:
        row, col = todo.pop()
        for near in ((row - 1, col), (row + 1, col), (row, col - 1), (row, col + 1)):
            inside = 0 <= near[0] < shape.shape[0] and 0 <= near[1] < shape.shape[1]
            if inside and shape[near] and near not in seen:
                seen.add(near)
                todo.append(near)
    return len(seen) == shape.sum()


def test_every_patch_of_a_box_serves_as_seed():
    weight, unit, is_box = clip([(1, 1, 2, 2)], [1])
    hidden = np.array(
        [
            np.flatnonzero(draw(s, weight, unit, is_box, 1, 1).is_masked)
            for s in range(99)
        ]
    )
    assert set(hidden.reshape(-1)) == set(np.flatnonzero(unit == 0))


def test_fill_is_outside_boxes_and_scattered():
    weight, unit, is_box = clip([(0, 0, 2, 2), (2, 4, 2, 2)], [1, 0])
    filled = np.zeros(ROWS * COLS)
    for seed in range(40):
        mask = draw(seed, weight, unit, is_box, 10, 10)
        assert np.asarray(mask.is_masked).sum() == 10
        assert (np.asarray(mask.is_whole_box) == (unit == 0)).all()
        filled += mask.is_fill
    assert not filled[unit < 2].any()
    assert (filled[unit >= 2] > 0).all()


def test_no_fill_leaves_the_budget_short_except_without_boxes():
    weight, unit, is_box = clip([(0, 0, 2, 2)], [1])
    mask = draw(0, weight, unit, is_box, 10, 10, is_filled=False)
    assert (np.asarray(mask.is_masked) == (unit == 0)).all()
    assert not mask.is_without_box
    weight, unit, is_box = clip([], [])
    mask = draw(0, weight, unit, is_box, 10, 10, is_filled=False)
    assert mask.is_fill.sum() == 10
    assert mask.is_without_box


def test_boxes_past_their_share_only_when_nothing_else_is_left():
    weight, unit, is_box = clip([(0, 0, 5, 7)], [1])  # 5 patches outside
    mask = draw(0, weight, unit, is_box, 12, 4)
    assert (mask.is_cut_box.sum(), mask.is_fill.sum()) == (7, 5)
    mask = draw(0, weight, unit, is_box, 8, 4)
    assert (mask.is_cut_box.sum(), mask.is_fill.sum()) == (4, 4)


def test_weight_zero_box_is_hidden_after_all_background():
    weight, unit, is_box = clip([(0, 0, 5, 7)], [0])
    mask = draw(0, weight, unit, is_box, 5, 5)
    assert (np.asarray(mask.is_masked) == (unit > 0)).all()
    mask = draw(0, weight, unit, is_box, 9, 9)
    assert mask.is_fill.sum() == 9
    assert not mask.is_without_box


def test_budget_beyond_the_clip_hides_all_that_may_be_hidden():
    weight, unit, is_box = clip([(0, 0, 2, 2)], [1])
    unit = np.where(np.arange(ROWS * COLS) % 3 == 0, -1, unit)
    mask = draw(0, weight, unit, is_box, 100, 100)
    assert (np.asarray(mask.is_masked) == (unit >= 0)).all()


take_whole = jax.jit(sampling.take_whole)


def test_words_are_taken_whole_and_what_does_not_fit_is_skipped():
    rank, size = np.array([0, 1, 2, 3]), np.array([2, 3, 1, 1])
    everything = np.ones(4, bool)

    def taken(budget, rank=rank, size=size, is_drawable=everything):
        return np.flatnonzero(take_whole(rank, size, is_drawable, budget)).tolist()

    assert taken(3) == [0, 2]
    assert taken(5) == [0, 1]
    assert taken(7) == [0, 1, 2, 3]
    assert taken(1) == [0]  # the first always, and then nothing fits
    assert taken(1, rank[::-1].copy()) == [3]
    assert taken(3, is_drawable=rank > 0) == [1]  # weight 0: never, though first
    assert taken(9, size=np.array([0, 3, 0, 0])) == [1]  # a unit without a token
    assert taken(9, is_drawable=~everything) == []


@hypothesis.settings(max_examples=60, deadline=None, derandomize=True)
@hypothesis.given(
    st.permutations(range(8)),
    st.lists(st.integers(0, 5), min_size=8, max_size=8),
    st.lists(st.booleans(), min_size=8, max_size=8),
    st.integers(1, 30),
)
def test_laws_of_whole_units(in_order, size, is_drawable, budget):
    rank, size = np.argsort(in_order), np.array(size)
    is_drawable = np.array(is_drawable)
    is_taken = np.asarray(take_whole(rank, size, is_drawable, budget))
    candidates = [u for u in in_order if is_drawable[u] and size[u] > 0]
    assert set(np.flatnonzero(is_taken)) <= set(candidates)
    assert size[is_taken].sum() <= budget or is_taken.sum() == 1
    if candidates:
        assert is_taken[candidates[0]]
    for unit in candidates:  # whoever was skipped did not fit
        before = is_taken & (rank < rank[unit])
        assert is_taken[unit] or size[before].sum() + size[unit] > budget


def test_taking_and_filling_meet_their_budgets_apart():
    weight, unit, is_box = clip([(0, 0, 2, 2), (2, 4, 2, 2)], [1, 0])
    in_box, lottery = is_box[unit], np.random.default_rng(0).permutation(ROWS * COLS)
    for budget in (0, 3, 4, 9):
        taken = sampling.take_and_trim(
            np.arange(ROWS * COLS), unit, unit == 0, lottery, POSITION, budget
        )
        assert np.asarray(taken).sum() == min(budget, 4)
        assert not taken[unit != 0].any()
        filled = np.asarray(sampling.fill(lottery, ~in_box, unit == 1, budget + 30))
        assert filled.sum() == min(budget + 30, 36)
        assert filled[~in_box].sum() == min(budget + 30, 32)
        assert filled[unit == 1].sum() == max(0, min(budget - 2, 4))
        assert not filled[unit == 0].any()


rectangles = st.tuples(st.integers(0, 4), st.integers(0, 7), st.integers(1, 5),
                       st.integers(1, 8))  # fmt: skip


@hypothesis.settings(max_examples=60, deadline=None, derandomize=True)
@hypothesis.given(
    st.integers(0, 2**20),
    st.lists(st.tuples(rectangles, st.sampled_from([0.0, 0.3, 1.0])), max_size=5),
    st.integers(1, 45),
    st.floats(0, 1),
)
def test_laws_of_any_draw(seed, drawn_boxes, budget, share):
    """The whole law, restated with loops."""
    boxes = [box for box, _ in drawn_boxes]
    weight, unit, is_box = clip(boxes, [w for _, w in drawn_boxes])
    cap = round(share * budget)
    mask = jax.tree.map(np.asarray, draw(seed, weight, unit, is_box, budget, cap))
    hidden, token_weight = mask.is_masked, (weight * is_box)[unit]
    assert hidden.sum() == min(budget, len(unit))
    assert (mask.is_whole_box | mask.is_cut_box | mask.is_fill == hidden).all()
    assert mask.is_whole_box.sum() + mask.is_cut_box.sum() + mask.is_fill.sum() == (
        hidden.sum()
    )
    from_boxes = mask.is_whole_box | mask.is_cut_box
    assert (token_weight[from_boxes] > 0).all()
    assert (token_weight[mask.is_fill] == 0).all()
    n_outside = (token_weight == 0).sum()
    assert from_boxes.sum() == max(
        min((token_weight > 0).sum(), cap), hidden.sum() - n_outside
    )
    assert len(np.unique(unit[mask.is_cut_box])) <= 1
    drawn = np.unique(unit[from_boxes])
    left = np.setdiff1d(unit[token_weight > 0], drawn)
    if len(left) and len(drawn):
        assert mask.unit_rank[drawn].max() < mask.unit_rank[left].min()
    if mask.is_fill[is_box[unit]].any():
        assert hidden[~is_box[unit]].all()
