"""Cells to predict, from masks; their contrast with clean cells, and its scores."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, UInt32

from mmdiffmask.masking import budget
from mmdiffmask.models.reserve import layers
from mmdiffmask.training import clip_contrast, contrast, contrast_blocks
from mmdiffmask.types import Array


class Cells(NamedTuple):
    """The pooled cells of each clip that are predicted, in k slots per clip.

    `index` counts cells of the clip (frame-major, row-major); `is_row` tells filled
    slots from empty ones; `is_hidden` marks cells whose valid patches are all masked;
    `dropped` counts touched cells that found no slot: 0, or the slots are too few.
    """

    index: Int[Array, "b k"]
    is_row: Bool[Array, "b k"]
    is_hidden: Bool[Array, "b k"]
    dropped: Int[Array, " b"]


class Compared(NamedTuple):
    """The loss of one stream and what each row (predicted cell) did.

    Row arrays are (b * k,); where `is_row` is False they hold 0 or False. `is_hit` is 1
    where the right cell alone is nearest, 1 / n where n cells are equally near.
    `is_counted` marks what is in the loss: the rows, or empty slots too, which then
    have `row_loss` and `row_log_candidates`.
    """

    loss: Float[Array, ""]
    row_loss: Float[Array, " r"]
    row_log_candidates: Float[Array, " r"]
    is_row: Bool[Array, " r"]
    is_hit: Float[Array, " r"]
    is_hit_in_clip: Float[Array, " r"]
    is_counted: Bool[Array, " r"]


def max_cells(ratio: float, mask_unit: str, patches: int, cells: int) -> int:
    """How many cells of a clip a mask can touch: the slots that `choose_cells` needs.

    With unit `cell` that is the budget, else the budget of patches but at most all
    cells. design.md section 4; both counts are of a whole clip, all of it valid.

    Example: ratio 0.25, 420 patches, 105 cells: 26 for `cell`, 105 for `patch`.
    """
    if mask_unit == "cell":
        return budget.most_tokens(ratio, cells)
    return min(cells, budget.most_tokens(ratio, patches))


def choose_cells(
    is_masked: Bool[Array, "b t n"],
    is_valid: Bool[Array, "b t n"],
    cell_of_patch: Int[Array, " n"],
    cells: int,
    slots: int,
) -> Cells:
    """Puts the cells with at least one masked patch into `slots` slots per clip.

    Args:
      is_masked: hidden patches.
      is_valid: patches that are picture; others neither mask nor uncover a cell.
      cell_of_patch: the cell of each patch of a frame.
      cells: how many a frame has.
      slots: k, see `max_cells`.
    """
    batch, segments, _ = is_masked.shape
    masked = _count(is_masked & is_valid, cell_of_patch, cells)
    shown = _count(~is_masked & is_valid, cell_of_patch, cells)
    is_touched = (masked > 0).reshape(batch, segments * cells)
    is_hidden = is_touched & (shown == 0).reshape(batch, segments * cells)
    order = jnp.argsort(~is_touched, axis=1, stable=True)[:, :slots]
    return Cells(
        index=order,
        is_row=jnp.take_along_axis(is_touched, order, 1),
        is_hidden=jnp.take_along_axis(is_hidden, order, 1),
        dropped=jnp.maximum(jnp.sum(is_touched, 1) - slots, 0),
    )


def _count(
    is_in: Bool[Array, "b t n"], cell_of_patch: Int[Array, " n"], cells: int
) -> Int[Array, "b t c"]:
    zeros = jnp.zeros((*is_in.shape[:2], cells), jnp.int32)
    return zeros.at[:, :, cell_of_patch].add(is_in.astype(jnp.int32))


def take_cells(
    features: Float[Array, "b t c d"], index: Int[Array, "b k"]
) -> Float[Array, "b k d"]:
    """The features of the chosen cells."""
    batch, _, _, width = features.shape
    flat = features.reshape(batch, -1, width)
    return jnp.take_along_axis(flat, index[:, :, None], 1)


def compare(
    prediction: Float[Array, "b k d"],
    target: Float[Array, "b k d"],
    is_row: Bool[Array, "b k"],
    clip_hash: UInt32[Array, " b"],
    log_scale: Float[Array, ""],
    *,
    is_counted: Bool[Array, "b k"] | None = None,
    learns_target: bool = False,
) -> Compared:
    """Symmetric InfoNCE between predicted and clean cells of the whole batch.

    Rows that are not real have weight 0 and are nobody's candidate. Nor are cells of
    another example of the same clip (overlapping windows hold the same frames).
    Paper: section 3.5 (the objective of MERLOT-Reserve); reserve.md section 4.1.
    Departs: design.md section 5 (real cells only, no gradient through the targets).

    Args:
      prediction: joint output at the chosen cells.
      target: clean pooled feature of the same cells.
      is_row: which slots are real.
      clip_hash: equal for examples of one clip.
      log_scale: learned; exp(min(log_scale, ln 100)) is the inverse temperature.
      is_counted: slots in the loss, of which those without a row are zero vectors,
        candidates of all and told apart by nothing; None: the rows alone.
      learns_target: whether targets get a gradient; the whole matrix of logits is made
        then, whatever its size.
    """
    if not learns_target:
        target = jax.lax.stop_gradient(target)
    if is_counted is not None:
        prediction, target = _zeros(is_row, prediction), _zeros(is_row, target)
    is_in_loss = is_row if is_counted is None else is_counted
    is_same_clip = clip_hash[:, None] == clip_hash[None, :]
    slots = clip_contrast.Slots(
        x=layers.unit_normalize(prediction),
        y=layers.unit_normalize(target),
        is_row=is_in_loss,
        may_compare=~is_same_clip | jnp.eye(len(is_row), dtype=bool),
    )
    # Blocks have no gradient of targets.
    is_large = is_row.size >= contrast_blocks.FROM and not learns_target
    way = contrast_blocks if is_large else clip_contrast
    rows = way.compare(slots, contrast.inverse_temperature(log_scale))
    row_loss = (rows.forth + rows.back) / 2
    count = jnp.maximum(clip_contrast.candidates(slots), 1).astype(jnp.float32)
    log_count = jnp.where(is_in_loss, jnp.log(count)[:, None], 0.0)
    if is_counted is not None:
        hits = clip_contrast.filled(rows, is_row)
        rows = hits._replace(forth=rows.forth, back=rows.back)
    return Compared(
        loss=jnp.sum(row_loss) / jnp.maximum(jnp.sum(is_in_loss), 1),
        row_loss=row_loss.reshape(-1),
        row_log_candidates=log_count.reshape(-1),
        is_row=is_row.reshape(-1),
        is_hit=rows.is_hit.reshape(-1),
        is_hit_in_clip=rows.is_hit_in_clip.reshape(-1),
        is_counted=is_in_loss.reshape(-1),
    )


def _zeros(
    is_row: Bool[Array, "b k"], features: Float[Array, "b k d"]
) -> Float[Array, "b k d"]:
    """Zero vectors in empty slots."""
    return jnp.where(is_row[..., None], features, 0)


def copy_queries(
    clean: Float[Array, "b t c d"], is_valid: Bool[Array, "b t c"]
) -> Float[Array, "b t c d"]:
    """The mean of the same cell's clean feature in the clip's other valid frames.

    What somebody retrieves with who only knows that pictures hardly change; 0 where
    no other frame has the cell. design.md section 5 (floor "copy").
    """
    weight = is_valid.astype(jnp.float32)[..., None]
    kept = clean.astype(jnp.float32) * weight
    others = jnp.sum(kept, 1, keepdims=True) - kept
    count = jnp.sum(weight, 1, keepdims=True) - weight
    return jnp.where(count > 0, others / jnp.maximum(count, 1.0), 0.0)


def scores(
    model: Compared, copy: Compared, cells: Cells
) -> dict[str, tuple[Float[Array, " b"], Float[Array, " b"]]]:
    """What the cells of each example add to a number: metric -> (sums, counts).

    Retrieval@1 of the model and of the copy floor, on all touched cells, on wholly
    hidden ones, and on touched ones among the clip's own cells; beside them `chance`
    and `chance_in_clip` of guessing.
    """
    shape = cells.is_row.shape
    is_hidden = cells.is_hidden & model.is_row.reshape(shape)

    def total(
        values: Float[Array, " r"] | Bool[Array, "..."],
        only: Bool[Array, "b k"] | None = None,
    ) -> Float[Array, " b"]:
        values = values.reshape(shape).astype(jnp.float32)
        return jnp.sum(values if only is None else values * only, axis=1)

    rows, hidden_rows = total(model.is_row), total(is_hidden)
    counted = total(model.is_counted)
    return {
        "loss": (total(model.row_loss), counted),
        "log_candidates": (total(model.row_log_candidates), counted),
        "retrieval_touched": (total(model.is_hit), rows),
        "retrieval_hidden": (total(model.is_hit, is_hidden), hidden_rows),
        "retrieval_in_clip": (total(model.is_hit_in_clip), rows),
        "copy_touched": (total(copy.is_hit), rows),
        "copy_hidden": (total(copy.is_hit, is_hidden), hidden_rows),
        "copy_in_clip": (total(copy.is_hit_in_clip), rows),
        "chance": (total(jnp.exp(-model.row_log_candidates) * model.is_row), rows),
        "chance_in_clip": (jnp.minimum(rows, 1.0), rows),
    }
