"""Masks of texts: words or pieces drawn whole, and what stands in their place."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, PRNGKeyArray, UInt32

from mmdiffmask.masking import budget as budgets
from mmdiffmask.masking import sampling, text_strategies
from mmdiffmask.tokens import name_hash
from mmdiffmask.types import Array, MaskInputs

# Kind of replacement -> share of [MASK], share of random pieces; others stay.
WITHOUT_MASK = "random"  # needs no [MASK]
REPLACEMENTS = {"bert": (0.8, 0.1), "mask": (1.0, 0.0), WITHOUT_MASK: (0.0, 1.0)}
NO_LIMIT = 1 << 30  # pieces: more than any budget


class Batch(NamedTuple):
    """Windows of texts, padded to n pieces.

    Attributes:
      ids: of the pieces, without those that open and close a text.
      unit_of_piece: word or piece that each belongs to; -1 = never hidden.
      unit_score: of each unit.
      n_pieces: how many pieces each window has, background too.
      window_hash: of text and window (`data.texts.window_hash`).
      draw: which mask of the window, 0 the first.
    """

    ids: Int[Array, "b n"]
    unit_of_piece: Int[Array, "b n"]
    unit_score: Float[Array, "b n"]
    n_pieces: Int[Array, " b"]
    window_hash: UInt32[Array, " b"]
    draw: Int[Array, " b"]


class Vocabulary(NamedTuple):
    """`mask` is the id of [MASK]; `ordinary` are those that random pieces are of."""

    mask: Int[Array, ""]
    ordinary: Int[Array, " v"]


def draw(
    key: PRNGKeyArray,
    weight: Float[Array, " u"],
    unit_of_piece: Int[Array, " n"],
    budget: Int[Array, ""] | int,
    select: str = "sample",
) -> Bool[Array, " n"]:
    """Hides units whole, in the order drawn, as long as they fit into the budget.

    Units of weight 0 follow those that have weight, at random: where all weigh 0 the
    draw is uniform. The first unit is always hidden. Paper: Eq. 4, section 3.5.

    Args:
      key: of one window and draw.
      weight: at least 0.
      unit_of_piece: -1 = never hidden.
      budget: pieces to hide.
      select: "sample" or "top" (`sampling.order`).
    """
    slots = len(weight)
    is_eligible = unit_of_piece >= 0
    unit = jnp.where(is_eligible, unit_of_piece, 0)
    size = jax.ops.segment_sum(is_eligible.astype(jnp.int32), unit, slots)
    weight = jnp.where(size > 0, weight, 0.0)
    rank = sampling.order(jax.random.gumbel(key, (slots,)), weight, select)
    is_taken = sampling.take_whole(rank, size, jnp.ones(slots, bool), budget)
    return is_eligible & is_taken[unit]


def replace(
    key: PRNGKeyArray,
    ids: Int[Array, " n"],
    is_masked: Bool[Array, " n"],
    vocabulary: Vocabulary,
    shares: Float[Array, "2"],
) -> Int[Array, " n"]:
    """The pieces with the hidden ones replaced.

    Paper: appendix A puts random values in their place; BERT puts [MASK] in 80 % of
    them, a random piece in 10 % and leaves 10 %.

    Args:
      key: of one window and draw; no strategy enters it.
      ids: the pieces.
      is_masked: which are hidden.
      vocabulary: what may stand there.
      shares: of [MASK] and of random pieces among the hidden ones.
    """
    kind, lot = jax.random.uniform(key, (2, len(ids)))
    n = len(vocabulary.ordinary)
    place = jnp.minimum((lot * n).astype(jnp.int32), n - 1)
    new = jnp.where(kind < shares[0] + shares[1], vocabulary.ordinary[place], ids)
    new = jnp.where(kind < shares[0], vocabulary.mask, new)
    return jnp.where(is_masked, new, ids)


def mask_batch(
    run_key: PRNGKeyArray,
    batch: Batch,
    vocabulary: Vocabulary,
    *,
    strategy: text_strategies.TextStrategy,
    ratio: float,
    replacement: str,
) -> tuple[Bool[Array, "b n"], Int[Array, "b n"]]:
    """What is hidden of each window, and its pieces with that replaced.

    Args:
      run_key: of the seed (`sampling.seed_key`).
      batch: windows.
      vocabulary: of the replacement.
      strategy: whose weights count.
      ratio: share of a window's pieces that is hidden.
      replacement: one of `REPLACEMENTS`.
    """
    inputs = MaskInputs(batch.unit_of_piece, batch.unit_score)
    weight = jax.vmap(strategy.weight)(inputs)
    recipe = _Recipe(
        *map(name_hash, (strategy.name, "replacement")),
        shares=np.array(REPLACEMENTS[replacement], np.float32),
        limit=np.int32(NO_LIMIT if strategy.limit is None else strategy.limit),
    )
    return _mask_batch(
        run_key,
        batch,
        weight,
        vocabulary,
        recipe,
        ratio=ratio,
        select=strategy.select,
    )


class _Recipe(NamedTuple):
    """Of a strategy and a replacement: hashed names (`name_hash`), shares, limit."""

    strategy: UInt32[Array, ""]
    replacement: UInt32[Array, ""]
    shares: Float[Array, "2"]
    limit: Int[Array, ""]


# Names and weights are arguments, so that all strategies share what is compiled.
@functools.partial(jax.jit, static_argnames=("ratio", "select"))
def _mask_batch(
    run_key: PRNGKeyArray,
    batch: Batch,
    weight: Float[Array, "b n"],
    vocabulary: Vocabulary,
    recipe: _Recipe,
    ratio: float,
    select: str,
) -> tuple[Bool[Array, "b n"], Int[Array, "b n"]]:
    """`mask_batch` of a strategy's weights."""

    def one(
        row: Batch, weight: Float[Array, " n"]
    ) -> tuple[Bool[Array, " n"], Int[Array, " n"]]:
        def key_of(name: UInt32[Array, ""]) -> PRNGKeyArray:
            # The first draw is the static mask; the others are told apart by number.
            key = sampling.named_key(run_key, row.window_hash, name)
            first, again = map(
                jax.random.key_data, (key, jax.random.fold_in(key, row.draw))
            )
            return jax.random.wrap_key_data(jnp.where(row.draw == 0, first, again))

        full = budgets.token_budget(ratio, row.n_pieces)
        budget = jnp.minimum(full, recipe.limit)
        drawing = key_of(recipe.strategy)
        hidden = draw(drawing, weight, row.unit_of_piece, budget, select)
        replacing = key_of(recipe.replacement)
        new = replace(replacing, row.ids, hidden, vocabulary, recipe.shares)
        return hidden, new

    return jax.vmap(one)(batch, weight)


def check_replacement(name: str) -> None:
    """Raises ValueError for a kind of replacement that there is not."""
    if name not in REPLACEMENTS:
        raise ValueError(
            f"replacement {name}: must be one of {', '.join(REPLACEMENTS)}"
        )


def check_ratio(ratio: float) -> None:
    """Raises ValueError for a share that hides nothing or everything."""
    if not 0 < ratio < 1 or np.isnan(ratio):
        raise ValueError(f"mask ratio {ratio:g}: must be above 0 and below 1")
