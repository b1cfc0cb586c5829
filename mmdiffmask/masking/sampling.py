"""Draws the hidden tokens of a clip: whole units, one cut to the budget, fill."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, PRNGKeyArray, UInt32

from mmdiffmask import seeds
from mmdiffmask.tokens import name_hash
from mmdiffmask.types import Array

FAR = 1 << 20  # squared distance between frames: more than within any frame


class Mask(NamedTuple):
    """What is hidden of one clip, and what the mask is made of.

    Under a box strategy `is_masked` is the disjoint union of `is_whole_box`,
    `is_cut_box` and `is_fill`; a patch strategy has no boxes, and fill only where it
    runs out of tokens that have weight. `unit_rank` is each unit's place in the order
    drawn, 0 first; units of weight 0 come after all others. `is_without_box`: a box
    strategy met a clip that has no box, so the whole mask is fill.
    """

    is_masked: Bool[Array, " n"]
    unit_rank: Int[Array, " u"]
    is_whole_box: Bool[Array, " n"]
    is_cut_box: Bool[Array, " n"]
    is_fill: Bool[Array, " n"]
    is_without_box: Bool[Array, ""]


def seed_key(seed: int) -> PRNGKeyArray:
    """The key of a seed, another one for every seed below 2^64.

    `jax.random.key` keeps the lower 32 bits alone unless JAX computes in 64 bits; then
    it makes the key that is made here. Below 2^32 both are the same.
    """
    upper, lower = seeds.words(seed)
    if not upper:
        return jax.random.key(lower)
    data = np.array([upper, lower], np.uint32)
    return jax.random.wrap_key_data(data, impl="threefry2x32")


def example_key(
    run_key: PRNGKeyArray,
    example_hash: UInt32[Array, ""] | np.uint32,
    name: str,
    epoch: Int[Array, ""] | int | None = None,
) -> PRNGKeyArray:
    """The key of one example's mask (or noise): no order, batch or device enters it.

    DESIGN section 4; paper: appendix A (static masks).

    Args:
      run_key: `jax.random.key` of the run's seed.
      example_hash: first 4 bytes of sha256 of the example's id.
      name: the strategy's, or of another purpose.
      epoch: None for static masks; a number for masks that change every epoch.
    """
    key = jax.random.fold_in(run_key, example_hash)
    key = jax.random.fold_in(key, jnp.uint32(name_hash(name)))
    return key if epoch is None else jax.random.fold_in(key, epoch)


def token_budget(ratio: float, n_tokens: Int[Array, ""]) -> Int[Array, ""]:
    """How many tokens to hide: max(1, round(ratio * n)), halves to even."""
    rounded = jnp.round(jnp.float32(ratio) * n_tokens.astype(jnp.float32))
    return jnp.maximum(1, rounded.astype(jnp.int32))


def most_tokens(ratio: float, n_tokens: int) -> int:
    """`token_budget` of a clip of which all is valid, as a plain number.

    Rounded as there, in float32: 0.35 * 130 is 45.5 or just below it, as the digits go.
    No clip with fewer valid tokens has a larger budget.
    """
    return max(1, int(np.round(np.float32(ratio) * np.float32(n_tokens))))


def draw_order(
    gumbel: Float[Array, " u"], weight: Float[Array, " u"], select: str = "sample"
) -> Int[Array, " u"]:
    """Each unit's place when units are drawn without replacement, 0 first.

    Sorting Gumbel noise added to log-weights has the law of drawing units one at a
    time with probability weight / sum of the weights left. Paper: Eq. 4, section 3.5.
    Units of weight 0 come last.

    Args:
      gumbel: one draw of `jax.random.gumbel` per unit.
      weight: at least 0.
      select: "sample", or "top": by weight alone, ties at random.
    """
    log_weight = jnp.where(weight > 0, jnp.log(weight), -jnp.inf)
    first = log_weight + gumbel if select == "sample" else log_weight
    slots = jnp.arange(weight.size)
    order = jax.lax.sort((-first, -gumbel, slots), num_keys=2)[2]
    return _inverse(order)


def draw(
    key: PRNGKeyArray,
    weight: Float[Array, " u"],
    unit_of_token: Int[Array, " n"],
    is_box_unit: Bool[Array, " u"],
    position: Int[Array, "n 3"],
    budget: Int[Array, ""] | int,
    box_budget: Int[Array, ""] | int | None = None,
    *,
    is_box_strategy: bool = True,
    select: str = "sample",
    fill: str = "random",
) -> Mask:
    """Hides exactly `budget` tokens: drawn units in their order, then fill.

    One sort does drawing, trimming and filling. Tokens of drawable units come first,
    unit by unit in the order drawn, inside a unit by distance from a random seed
    token, so the unit that meets the budget is cut to the part around its seed. Then
    come tokens outside all boxes in random order, then those in boxes of weight 0.
    Where boxes are capped and nothing else is left, the drawn order goes on past the
    cap: the budget holds wherever there are tokens enough. DESIGN section 4.

    Args:
      key: of one example (`example_key`).
      weight: at least 0; a unit of weight 0 is never drawn, only filled from.
      unit_of_token: unit in [0, u); -1 = never hidden.
      is_box_unit: units of a box; the others are background.
      position: frame, row, column of each token.
      budget: tokens to hide.
      box_budget: how many of them drawn units may take; None: all.
      is_box_strategy: only box units can be drawn; else every unit.
      select: "sample" or "top" (`draw_order`).
      fill: "random", or "none": what drawn units leave of the budget stays unused,
        except in a clip without boxes.
    """
    slots, n = len(weight), len(unit_of_token)
    gumbel = jax.random.gumbel(key, (slots + n,))  # one call: it is slow to compile
    lottery = _inverse(jnp.argsort(gumbel[slots:]))  # each token's own number
    given = (unit_of_token, is_box_unit, position)
    unit_of_token, is_box_unit, position = map(jnp.asarray, given)
    is_eligible = unit_of_token >= 0
    unit = jnp.where(is_eligible, unit_of_token, 0)
    size = jax.ops.segment_sum(is_eligible.astype(jnp.int32), unit, slots)
    is_drawable = (weight > 0) & (size > 0)
    if is_box_strategy:
        is_drawable &= is_box_unit
    rank = draw_order(gumbel[:slots], jnp.where(is_drawable, weight, 0.0), select)
    tier = _tier(unit, is_eligible, is_drawable, is_box_unit)
    distance = _distance_to_seed(unit, slots, is_eligible, lottery, position)
    place = _places(tier, rank[unit], distance, lottery)
    is_without_box = ~jnp.any(is_box_unit & (size > 0))
    is_filled = is_without_box if fill == "none" else jnp.array(True)
    cap = budget if box_budget is None else jnp.minimum(box_budget, budget)
    is_masked = _within_budget(place, tier, budget, cap, is_filled)
    is_whole = _hidden_whole(is_masked, unit, size)
    is_box = is_masked & (tier == 0) & is_box_strategy
    return Mask(
        is_masked, rank, is_box & is_whole, is_box & ~is_whole, is_masked & (tier > 0),
        is_without_box & is_box_strategy,
    )  # fmt: skip


def _hidden_whole(
    is_masked: Bool[Array, " n"], unit: Int[Array, " n"], size: Int[Array, " u"]
) -> Bool[Array, " n"]:
    """Tokens whose unit is hidden to its last token."""
    hidden = jax.ops.segment_sum(is_masked.astype(jnp.int32), unit, len(size))
    return (hidden == size)[unit]


def _tier(
    unit: Int[Array, " n"],
    is_eligible: Bool[Array, " n"],
    is_drawable: Bool[Array, " u"],
    is_box_unit: Bool[Array, " u"],
) -> Int[Array, " n"]:
    """0 in a drawable unit, 1 outside boxes, 2 in a box of weight 0, 3 never hidden."""
    tier = jnp.where(is_drawable[unit], 0, jnp.where(is_box_unit[unit], 2, 1))
    return jnp.where(is_eligible, tier, 3)


def _distance_to_seed(
    unit: Int[Array, " n"],
    slots: int,
    is_eligible: Bool[Array, " n"],
    lottery: Int[Array, " n"],
    position: Int[Array, "n 3"],
) -> Int[Array, " n"]:
    """Squared distance of each token to the token of its unit that won the lottery."""
    n = len(unit)
    winner = jax.ops.segment_min(jnp.where(is_eligible, lottery, n), unit, slots)
    seed = _inverse(lottery)[jnp.minimum(winner, n - 1)]  # (u,)
    step = position - position[seed][unit]
    within = step[:, 1] ** 2 + step[:, 2] ** 2
    return within + jnp.where(step[:, 0] == 0, 0, FAR)


def _places(
    tier: Int[Array, " n"],
    rank: Int[Array, " n"],
    distance: Int[Array, " n"],
    lottery: Int[Array, " n"],
) -> Int[Array, " n"]:
    """Place of each token in the one order of `draw`; ties by token index."""
    first = jnp.where(tier == 0, rank, lottery)
    second = jnp.where(tier == 0, distance, 0)
    index = jnp.arange(len(tier))
    order = jax.lax.sort((tier, first, second, index), num_keys=4)[3]
    return _inverse(order)


def _inverse(order: Int[Array, " n"]) -> Int[Array, " n"]:
    """The place of each item in an order of items."""
    return jnp.zeros_like(order).at[order].set(jnp.arange(len(order)))


def _within_budget(
    place: Int[Array, " n"],
    tier: Int[Array, " n"],
    budget: Int[Array, ""] | int,
    cap: Int[Array, ""] | int,
    is_filled: Bool[Array, ""],
) -> Bool[Array, " n"]:
    """The first `cap` drawable tokens, then fill, then drawable ones past the cap."""
    n_drawable = jnp.sum(tier == 0)
    n_fill = jnp.where(is_filled, jnp.sum((tier == 1) | (tier == 2)), 0)
    n_drawn = jnp.minimum(n_drawable, cap)
    n_filled = jnp.minimum(budget - n_drawn, n_fill)
    n_drawn = jnp.where(is_filled, budget - n_filled, n_drawn)  # past the cap
    is_drawn = (tier == 0) & (place < n_drawn)
    is_fill = (tier == 1) | (tier == 2)
    return is_drawn | (is_fill & (place - n_drawable < n_filled))
