"""`clip_contrast.compare` by blocks of logits, for batches of many rows.

8 clips with 504 slots each have 4,032 rows: a matrix of their logits takes 62 MiB, and
two softmaxes with their gradients hold several. Here no array of that size is made: the
backward pass, written by hand, computes the logits again, and slots behind the last
filled one of all clips are not visited.

y and what is known of columns lie on every device before the first block, rows stay on
the device of their clip: nothing is sent while blocks are visited.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Bool, Float, Int

from mmdiffmask.training import clip_contrast, contrast
from mmdiffmask.training import mesh as meshes
from mmdiffmask.training.clip_contrast import Best, Logits, Rows, Slots
from mmdiffmask.types import Array

FROM = 1025  # rows; of fewer the whole matrix takes at most 4 MiB
MOST_SLOTS, MOST_ROWS = 64, 4096  # of a block: of each clip, of all clips


class Block(NamedTuple):
    """The logits of some rows with some columns, and where both begin."""

    logits: Logits
    y: Float[Array, "c r d"]
    first_row: Int[Array, ""]
    first_column: Int[Array, ""]


class LogSum(NamedTuple):
    """The largest logit of each row or column so far; the sum of exp(logit - most)."""

    most: Float[Array, "..."]
    total: Float[Array, "..."]


class Sums(NamedTuple):
    """What is known of rows, all (b, k); `right` is the logit of a row's own column."""

    forth: LogSum
    best: Best
    best_in_clip: Best
    right: Float[Array, "b k"]


def compare(slots: Slots, scale: Float[Array, ""]) -> Rows:
    """Compares all filled slots; y gets no gradient.

    Args:
      slots: the vectors.
      scale: the inverse temperature.
    """
    clips, count = slots.is_row.shape
    most = max(1, min(MOST_SLOTS, MOST_ROWS // clips))
    size = -(-count // -(-count // most))  # blocks as equal as can be
    padding = ((0, 0), (0, -count % size))
    padded = Slots(
        x=jnp.pad(scale * slots.x, (*padding, (0, 0))),
        y=jnp.pad(slots.y, (*padding, (0, 0))),
        is_row=jnp.pad(slots.is_row, padding),
        may_compare=slots.may_compare,
    )
    rows = _compare(size, padded)
    return jax.tree.map(lambda value: value[:, :count], rows)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _compare(size: int, slots: Slots) -> Rows:
    return _forward(size, slots)[0]


def _forward(size: int, slots: Slots) -> tuple[Rows, tuple[Any, ...]]:
    clips, count = slots.is_row.shape

    def add(sums: tuple[Sums, LogSum], block: Block) -> tuple[Sums, LogSum]:
        rows, columns = sums
        i, j = block.first_row, block.first_column
        new_rows = _add(_take(rows, i, size, axis=1), block)
        new_columns = _take(columns, j, size, axis=2)
        new_columns = _added(new_columns, _log_sum(block.logits, (1,)))
        return _put(rows, new_rows, i, axis=1), _put(columns, new_columns, j, axis=2)

    # Of columns each clip's rows have sums of their own, (b, c, k), until the end.
    no_row, no_column = (
        LogSum(jnp.full(shape, contrast.NEVER), jnp.zeros(shape))
        for shape in ((clips, count), (clips, clips, count))
    )
    nothing = Sums(no_row, Best(*no_row), Best(*no_row), no_row.total)
    sums, columns = _fold(size, slots, add, (nothing, no_column))
    most = jnp.max(columns.most, axis=0)
    total = jnp.sum(columns.total * jnp.exp(columns.most - most[None]), axis=0)
    row_sum = sums.forth.most + jnp.log(sums.forth.total)
    column_sum = most + jnp.log(total)
    rows = Rows(
        forth=row_sum - sums.right,
        back=column_sum - sums.right,
        is_hit=clip_contrast.hit(sums.right, sums.best),
        is_hit_in_clip=clip_contrast.hit(sums.right, sums.best_in_clip),
    )
    return clip_contrast.filled(rows, slots.is_row), (slots, row_sum, column_sum)


def _backward(size: int, saved: tuple[Any, ...], grads: Rows) -> tuple[Slots]:
    """Of x alone: (softmaxes of rows and of columns - the right ones) times y."""
    slots, row_sum, column_sum = saved
    of_row, of_column, row_sum, column_sum = (
        jnp.where(slots.is_row, value, 0.0)
        for value in (grads.forth, grads.back, row_sum, column_sum)
    )
    both = of_row + of_column
    of_column, column_sum = meshes.everywhere((of_column, column_sum))

    def add(x_grad: Float[Array, "b k d"], block: Block) -> Float[Array, "b k d"]:
        i, j = block.first_row, block.first_column
        at_row, log_row, right = _take((of_row, row_sum, both), i, size, axis=1)
        at_column, log_column = _take((of_column, column_sum), j, size, axis=1)
        grad = _by_row(at_row) * jnp.exp(block.logits - _by_row(log_row))
        grad += at_column[None, None] * jnp.exp(block.logits - log_column[None, None])
        grad -= jnp.where(_is_right(block), _by_row(right), 0.0)
        product = jnp.einsum("bscr,crd->bsd", grad, block.y)
        before = _take(x_grad, i, size, axis=1)
        return _put(x_grad, before + product, i, axis=1)

    x_grad = _fold(size, slots, add, jnp.zeros_like(slots.x))
    return (Slots(x_grad, None, None, None),)


_compare.defvjp(_forward, _backward)


def _fold(
    size: int, slots: Slots, add: Callable[[Any, Block], Any], nothing: Any
) -> Any:
    """add(what it gave before, block) over all blocks with filled slots."""
    every_y, is_column = meshes.everywhere((slots.y, slots.is_row))
    position = jnp.arange(1, slots.is_row.shape[1] + 1)
    last = jnp.max(jnp.where(jnp.any(is_column, axis=0), position, 0))
    count = (last + size - 1) // size

    def visit(number: Int[Array, ""], before: Any) -> Any:
        i, j = number // count * size, number % count * size
        x, is_row = _take((slots.x, slots.is_row), i, size, axis=1)
        y, is_candidate = _take((every_y, is_column), j, size, axis=1)
        logits = jnp.einsum("bsd,crd->bscr", x, y)
        logits = clip_contrast.masked(logits, slots.may_compare, is_row, is_candidate)
        return add(before, Block(logits, y, i, j))

    return lax.fori_loop(0, count * count, visit, nothing)


def _add(rows: Sums, block: Block) -> Sums:
    """What is known of the block's rows with the block."""
    logits = block.logits
    clips, size = logits.shape[:2]
    is_same_clip = jnp.eye(clips, dtype=bool)[:, None, :, None]
    in_clip = jnp.sum(jnp.where(is_same_clip, logits, 0.0), axis=2)  # (b, s, r)
    is_right = jnp.eye(size, dtype=bool) & (block.first_row == block.first_column)
    right = jnp.sum(jnp.where(is_right[None], in_clip, 0.0), axis=2)
    return Sums(
        forth=_added(rows.forth, _log_sum(logits, (2, 3))),
        best=_better(rows.best, clip_contrast.best(logits, (2, 3))),
        best_in_clip=_better(rows.best_in_clip, clip_contrast.best(in_clip, (2,))),
        right=rows.right + right,
    )


def _is_right(block: Block) -> Bool[Array, "b s c r"]:
    """Each row's own column."""
    clips, size = block.logits.shape[:2]
    is_same_clip, is_same_slot = (jnp.eye(n, dtype=bool) for n in (clips, size))
    is_right = is_same_clip[:, None, :, None] & is_same_slot[None, :, None, :]
    return is_right & (block.first_row == block.first_column)


def _log_sum(logits: Logits, axes: tuple[int, ...]) -> LogSum:
    most = jnp.max(logits, axes, keepdims=True)
    total = jnp.sum(jnp.exp(logits - most), axes)
    return LogSum(jnp.squeeze(most, axes), total)


def _added(one: LogSum, other: LogSum) -> LogSum:
    most = jnp.maximum(one.most, other.most)
    return LogSum(most, sum(v.total * jnp.exp(v.most - most) for v in (one, other)))


def _better(one: Best, other: Best) -> Best:
    most = jnp.maximum(one.most, other.most)
    counts = (jnp.where(v.most == most, v.count, 0.0) for v in (one, other))
    return Best(most, sum(counts))


def _by_row(values: Float[Array, "b s"]) -> Float[Array, "b s 1 1"]:
    return values[:, :, None, None]


def _take(tree: Any, start: Int[Array, ""], size: int, axis: int) -> Any:
    """`size` slots of every array, from `start` on."""
    return jax.tree.map(
        lambda x: lax.dynamic_slice_in_dim(x, start, size, axis=axis), tree
    )


def _put(tree: Any, part: Any, start: Int[Array, ""], axis: int) -> Any:
    """`tree` with `part` from `start` on."""
    return jax.tree.map(
        lambda x, new: lax.dynamic_update_slice_in_dim(x, new, start, axis=axis),
        tree,
        part,
    )
