"""Draws which tokens to hide: an order of units, units taken from it, and fill.

`order` serves every method. Words are never cut (`take_whole`); boxes are, where the
budget ends inside one (`take_and_trim`), and `fill` spends what they leave. `draw` puts
the pieces of a clip together.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, PRNGKeyArray, UInt32

from mmdiffmask import seeds
from mmdiffmask.tokens import name_hash
from mmdiffmask.types import Array

FAR = 1 << 20  # squared distance between frames: more than within any frame


class Tokens(NamedTuple):
    """The tokens of a clip, and the units they belong to.

    Attributes:
      unit_of_token: unit in [0, u); -1 = never hidden.
      is_box_unit: units of a box; the others are background.
      position: frame, row, column of each token.
    """

    unit_of_token: Int[Array, " n"]
    is_box_unit: Bool[Array, " u"]
    position: Int[Array, "n 3"]


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

    design.md section 4.4; paper: appendix A (static masks).

    Args:
      run_key: `jax.random.key` of the run's seed.
      example_hash: first 4 bytes of sha256 of the example's id.
      name: the strategy's, or of another purpose.
      epoch: None for static masks; a number for masks that change every epoch.
    """
    key = named_key(run_key, example_hash, name_hash(name))
    return key if epoch is None else jax.random.fold_in(key, epoch)


def named_key(
    run_key: PRNGKeyArray,
    example_hash: UInt32[Array, ""] | np.uint32,
    hashed_name: UInt32[Array, ""] | np.uint32,
) -> PRNGKeyArray:
    """`example_key` of a static mask, its name hashed already (`name_hash`)."""
    key = jax.random.fold_in(run_key, example_hash)
    return jax.random.fold_in(key, jnp.uint32(hashed_name))


def order(
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
    return _inverse(jax.lax.sort((-first, -gumbel, slots), num_keys=2)[2])


def take_whole(
    rank: Int[Array, " u"],
    size: Int[Array, " u"],
    is_drawable: Bool[Array, " u"],
    budget: Int[Array, ""] | int,
) -> Bool[Array, " u"]:
    """Units taken whole, in their order, as long as they fit into the budget.

    A unit that does not fit is skipped, and smaller ones after it may still fit. The
    first is always taken, so that something is hidden: it alone may pass the budget.

    Example: sizes 2, 3, 1 in this order and a budget of 3 -> the first and the third.

    Args:
      rank: place of each unit (`order`).
      size: tokens of each unit.
      is_drawable: False: never taken, like units without a token.
      budget: tokens to hide.
    """
    is_drawable = is_drawable & (size > 0)

    def step(
        n_taken: Int[Array, ""], unit: Int[Array, ""]
    ) -> tuple[Int[Array, ""], Bool[Array, ""]]:
        fits = (n_taken + size[unit] <= budget) | (n_taken == 0)
        is_taken = is_drawable[unit] & fits
        return n_taken + jnp.where(is_taken, size[unit], 0), is_taken

    return jax.lax.scan(step, jnp.zeros((), size.dtype), _inverse(rank))[1][rank]


def take_and_trim(
    rank: Int[Array, " u"],
    unit: Int[Array, " n"],
    is_drawable: Bool[Array, " n"],
    lottery: Int[Array, " n"],
    position: Int[Array, "n 3"],
    budget: Int[Array, ""] | int,
) -> Bool[Array, " n"]:
    """Exactly `budget` tokens of units in their order; the last unit is cut to fit.

    Inside a unit tokens go by their distance from its seed, the token that won the
    lottery: the unit that meets the budget is cut to the compact part around its seed.

    Args:
      rank: place of each unit (`order`).
      unit: unit of each token, in [0, u).
      is_drawable: tokens of the units that may be drawn; no others are taken.
      lottery: a random order of all tokens, each one's place in it.
      position: frame, row, column of each token.
      budget: tokens to take; where there are fewer, all are.
    """
    n, slots = len(unit), len(rank)
    winner = jax.ops.segment_min(jnp.where(is_drawable, lottery, n), unit, slots)
    seed = _inverse(lottery)[jnp.minimum(winner, n - 1)]  # (u,)
    step = position - position[seed][unit]
    distance = step[:, 1] ** 2 + step[:, 2] ** 2 + jnp.where(step[:, 0] == 0, 0, FAR)
    first = jnp.where(is_drawable, rank[unit], slots)
    keys = (first, distance, jnp.arange(n))  # ties by token index
    place = _inverse(jax.lax.sort(keys, num_keys=3)[2])
    return is_drawable & (place < budget)


def fill(
    lottery: Int[Array, " n"],
    is_outside: Bool[Array, " n"],
    is_spare: Bool[Array, " n"],
    budget: Int[Array, ""] | int,
) -> Bool[Array, " n"]:
    """`budget` tokens at random: first from outside all boxes, then the spare ones.

    Args:
      lottery: a random order of all tokens, each one's place in it.
      is_outside: tokens in no box.
      is_spare: tokens of boxes that cannot be drawn, for when the others run out.
      budget: tokens to take; where there are fewer, all are.
    """
    in_order = _inverse(lottery)

    def count_up_to(is_one: Bool[Array, " n"]) -> Int[Array, " n"]:
        # How many of them the lottery has up to each token.
        return jnp.cumsum(is_one[in_order])[lottery]

    is_taken = is_outside & (count_up_to(is_outside) <= budget)
    n_left = budget - jnp.sum(is_outside)
    return is_taken | (is_spare & (count_up_to(is_spare) <= n_left))


def draw(
    key: PRNGKeyArray,
    weight: Float[Array, " u"],
    tokens: Tokens,
    budget: Int[Array, ""] | int,
    box_budget: Int[Array, ""] | int | None = None,
    *,
    is_box_strategy: bool = True,
    select: str = "sample",
    is_filled: bool = True,
) -> Mask:
    """Hides exactly `budget` tokens of a clip: drawn units in their order, then fill.

    Where boxes are capped and nothing else is left, the drawn order goes on past the
    cap: the budget holds wherever there are tokens enough. design.md section 4.

    Args:
      key: of one example (`example_key`).
      weight: at least 0; a unit of weight 0 is never drawn, only filled from.
      tokens: the clip's.
      budget: tokens to hide.
      box_budget: how many of them drawn units may take; None: all.
      is_box_strategy: only box units can be drawn; else every unit.
      select: "sample" or "top" (`order`).
      is_filled: False: what drawn units leave of the budget stays unused, except in a
        clip without boxes.
    """
    slots, n = len(weight), len(tokens.unit_of_token)
    gumbel = jax.random.gumbel(key, (slots + n,))  # one call: it is slow to compile
    lottery = _inverse(jnp.argsort(gumbel[slots:]))
    is_eligible = jnp.asarray(tokens.unit_of_token) >= 0
    unit = jnp.where(is_eligible, tokens.unit_of_token, 0)
    is_box_unit = jnp.asarray(tokens.is_box_unit)
    position = jnp.asarray(tokens.position)
    size = jax.ops.segment_sum(is_eligible.astype(jnp.int32), unit, slots)
    is_drawable = (weight > 0) & (size > 0) & (is_box_unit | (not is_box_strategy))
    rank = order(gumbel[:slots], jnp.where(is_drawable, weight, 0.0), select)
    is_without_box = ~jnp.any(is_box_unit & (size > 0))
    in_drawable = is_eligible & is_drawable[unit]
    in_others = is_eligible & ~is_drawable[unit]
    n_take, n_fill = _split(
        budget,
        cap=budget if box_budget is None else jnp.minimum(box_budget, budget),
        n_drawable=jnp.sum(in_drawable),
        n_others=jnp.sum(in_others),
        is_filled=is_without_box | is_filled,
    )
    is_taken = take_and_trim(rank, unit, in_drawable, lottery, position, n_take)
    in_box = is_box_unit[unit]
    is_fill = fill(lottery, in_others & ~in_box, in_others & in_box, n_fill)
    is_box, is_whole = is_taken & is_box_strategy, _is_whole(is_taken, unit, size)
    return Mask(
        is_masked=is_taken | is_fill,
        unit_rank=rank,
        is_whole_box=is_box & is_whole,
        is_cut_box=is_box & ~is_whole,
        is_fill=is_fill,
        is_without_box=is_without_box & is_box_strategy,
    )


def _split(
    budget: Int[Array, ""] | int,
    cap: Int[Array, ""] | int,
    n_drawable: Int[Array, ""],
    n_others: Int[Array, ""],
    is_filled: Bool[Array, ""] | bool,
) -> tuple[Int[Array, ""], Int[Array, ""]]:
    """How many tokens drawn units may take (past the cap if need be), and fill."""
    n_fill = jnp.minimum(budget - jnp.minimum(n_drawable, cap), n_others)
    n_fill = jnp.where(is_filled, n_fill, 0)
    return jnp.where(is_filled, budget - n_fill, cap), n_fill


def _is_whole(
    is_taken: Bool[Array, " n"], unit: Int[Array, " n"], size: Int[Array, " u"]
) -> Bool[Array, " n"]:
    """Tokens whose unit is taken to its last token."""
    taken = jax.ops.segment_sum(is_taken.astype(jnp.int32), unit, len(size))
    return (taken == size)[unit]


def _inverse(order: Int[Array, " n"]) -> Int[Array, " n"]:
    """The place of each item in an order of items."""
    return jnp.zeros_like(order).at[order].set(jnp.arange(len(order)))
