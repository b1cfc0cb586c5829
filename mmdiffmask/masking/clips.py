"""Masks of clips, from their units, a strategy, its settings and the grid."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, PRNGKeyArray, UInt32

from mmdiffmask import config
from mmdiffmask.grid import PatchGrid
from mmdiffmask.masking import budget as budgets
from mmdiffmask.masking import sampling, scorers, strategies, units
from mmdiffmask.types import Array, MaskInputs, VideoBatch


class Layout(NamedTuple):
    """Where the tokens that are drawn lie: patches, or 2x2 cells (n tokens a clip)."""

    token_of_patch: Int[np.ndarray, " q"]
    position: Int[np.ndarray, "n 3"]  # frame, row, column


def layout_of(grid: PatchGrid, segments: int, mask_unit: str) -> Layout:
    """The tokens of a clip, frame-major and row-major."""
    of_patch = units.group_of_patch(grid, mask_unit)
    step = grid.pool if mask_unit == "cell" else 1
    rows, cols = grid.rows // step, grid.cols // step
    frame = np.arange(segments)[:, None] * (rows * cols)
    position = np.stack(
        np.unravel_index(np.arange(segments * rows * cols), (segments, rows, cols)),
        axis=1,
    )
    return Layout(
        (frame + of_patch).reshape(-1).astype(np.int32), position.astype(np.int32)
    )


def mask_clip(
    key: PRNGKeyArray,
    inputs: MaskInputs,
    is_box_unit: Bool[Array, " u"],
    layout: Layout,
    strategy: strategies.Strategy,
    settings: config.Masking,
) -> sampling.Mask:
    """The mask of one clip, over its patches.

    The budget counts tokens with something valid in them: patches, or cells with at
    least one valid patch, each cell counting 1; all valid patches of a drawn cell are
    hidden. Where units are patches every token is
    its own unit. design.md section 4; paper:
    appendix B.

    Args:
      key: `sampling.example_key` of the example and the strategy.
      inputs: units over patches (`Strategy.clip_units`), for the same mask unit.
      is_box_unit: units of a box.
      layout: `layout_of` the grid for settings.mask_unit.
      strategy: a row of the registry.
      settings: ratio, box share, select, fill.

    Returns:
      A `Mask` over the q patches; `unit_rank` has one slot per unit slot (box
      strategies) or per token (patch strategies).
    """
    tokens, is_box_unit = _over_tokens(inputs, layout), jnp.asarray(is_box_unit)
    is_box = strategy.units.is_box
    is_alone = not (is_box or strategy.units.is_whole)
    if is_alone:
        tokens, is_box_unit = _each_alone(tokens)
    n_tokens = jnp.sum(tokens.unit_of_token >= 0)
    budget = budgets.token_budget(settings.ratio, n_tokens)
    weight = strategy.weight(tokens)
    if is_alone:
        weight = _without_hint(weight, tokens.unit_of_token >= 0, strategy.hint)
    share = settings.box_share if is_box else 1.0
    box_budget = jnp.round(jnp.float32(share) * budget).astype(jnp.int32)
    mask = sampling.draw(
        key,
        weight,
        sampling.Tokens(tokens.unit_of_token, is_box_unit, layout.position),
        budget,
        box_budget,
        is_box_strategy=is_box,
        select=_select(strategy, settings),
        is_filled=settings.fill == "random",
    )
    is_valid = jnp.asarray(inputs.unit_of_token) >= 0
    return mask._replace(
        is_masked=mask.is_masked[layout.token_of_patch] & is_valid,
        is_whole_box=mask.is_whole_box[layout.token_of_patch] & is_valid,
        is_cut_box=mask.is_cut_box[layout.token_of_patch] & is_valid,
        is_fill=mask.is_fill[layout.token_of_patch] & is_valid,
    )


def _without_hint(
    weight: Float[Array, " n"], is_valid: Bool[Array, " n"], share: float
) -> Float[Array, " n"]:
    """Weight 0 for the share of the valid tokens whose weight is greatest."""
    if not share:
        return weight
    count = jnp.round(jnp.float32(share) * jnp.sum(is_valid))
    place = jnp.argsort(jnp.argsort(-jnp.where(is_valid, weight, -1.0)))
    return jnp.where(place < count, 0.0, weight)


def _select(strategy: strategies.Strategy, settings: config.Masking) -> str:
    """How units are chosen: as the setting says, else as the strategy does."""
    return strategy.select if settings.select == "strategy" else settings.select


def _over_tokens(inputs: MaskInputs, layout: Layout) -> MaskInputs:
    """Units of patches as those of tokens: a cell takes that of its valid patches."""
    n, unit_of_patch = len(layout.position), jnp.asarray(inputs.unit_of_token)
    unit_of_token = jax.ops.segment_max(unit_of_patch, layout.token_of_patch, n)
    return MaskInputs(unit_of_token, jnp.asarray(inputs.unit_score))


def _each_alone(tokens: MaskInputs) -> tuple[MaskInputs, Bool[Array, " n"]]:
    """Every token its own unit, with the score of the unit it was in; no boxes."""
    unit = tokens.unit_of_token
    alone = jnp.where(unit >= 0, jnp.arange(len(unit)), -1)
    score = jnp.where(unit >= 0, tokens.unit_score[unit], 0.0)
    return MaskInputs(alone, score), jnp.zeros(len(unit), bool)


def mask_batch(
    batch: VideoBatch,
    run_key: PRNGKeyArray,
    strategy: strategies.Strategy,
    settings: config.Masking,
    grid: PatchGrid,
    epoch: Int[Array, ""] | int | None = None,
    attention: Float[Array, "b t n"] | None = None,
) -> sampling.Mask:
    """The masks of a batch, each from (seed, strategy, example) alone.

    Args:
      batch: rows whose units were made for settings.mask_unit.
      run_key: `jax.random.key` of the run's seed.
      strategy: its name is part of the key, so strategies draw independently.
      settings: as in `mask_clip`; the epoch plays a part with `masks = per_epoch`.
      grid: of the batch.
      epoch: needed with `masks = per_epoch`.
      attention: of each frame to its patches, for a strategy by attention in place of
        the batch's scores. The noise of a draw does not depend on it.

    Raises:
      ValueError: if masks change per epoch and none is given.
    """
    if settings.masks != "per_epoch":
        epoch = None
    elif epoch is None:
        raise ValueError("masking.masks=per_epoch needs the epoch of the batch")
    layout = layout_of(grid, batch.is_frame_valid.shape[1], settings.mask_unit)
    if attention is not None:
        is_drawable = jnp.asarray(batch.unit_of_token).reshape(attention.shape) >= 0
        value = scorers.attention_shares(attention, is_drawable)
        batch = batch._replace(unit_score=_means(batch.unit_of_token, value))

    def one(
        example_hash: UInt32[Array, ""],
        unit_of_token: Int[Array, " q"],
        unit_score: Float[Array, " q"],
        is_box_unit: Bool[Array, " q"],
    ) -> sampling.Mask:
        key = sampling.example_key(run_key, example_hash, strategy.name, epoch)
        inputs = MaskInputs(unit_of_token, unit_score)
        return mask_clip(key, inputs, is_box_unit, layout, strategy, settings)

    return jax.vmap(one)(
        batch.example_hash, batch.unit_of_token, batch.unit_score, batch.is_box_unit
    )


def _means(
    unit_of_token: Int[Array, "b q"], value: Float[Array, "b t n"]
) -> Float[Array, "b q"]:
    """The mean value of each unit's patches, as `units.with_means` has it."""

    def one(unit: Int[Array, " q"], value: Float[Array, " q"]) -> Float[Array, " q"]:
        is_valid, slots = unit >= 0, len(unit)
        unit = jnp.where(is_valid, unit, 0)
        total = jax.ops.segment_sum(jnp.where(is_valid, value, 0.0), unit, slots)
        count = jax.ops.segment_sum(is_valid.astype(jnp.float32), unit, slots)
        return total / jnp.maximum(count, 1.0)

    unit_of_token = jnp.asarray(unit_of_token)
    return jax.vmap(one)(unit_of_token, value.reshape(unit_of_token.shape))
