"""The mesh and the jitted steps: one program on 1 CPU, 1 GPU or 8 TPU cores."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Bool, Float, Int

from mmdiffmask.training import losses, total
from mmdiffmask.training import objective as objectives
from mmdiffmask.types import Array, VideoBatch

DrawMasks = Callable[[VideoBatch, Int[Array, ""] | int], Bool[Array, "b t n"]]


class TrainState(NamedTuple):
    """What an update changes."""

    params: Any
    opt_state: Any
    step: Int[Array, ""]


class Counts(NamedTuple):
    """Sums over the predicted cells of each example, for one stream.

    `hits_*` are of the model, `copies_*` of the copy floor: over all touched cells,
    over wholly hidden ones, and over touched ones among the clip's own cells.
    `chance` sums 1 / candidates over the rows; `clips` is 1 where there is a row.
    """

    rows: Float[Array, " b"]
    hidden_rows: Float[Array, " b"]
    loss: Float[Array, " b"]
    log_candidates: Float[Array, " b"]
    chance: Float[Array, " b"]
    clips: Float[Array, " b"]
    hits_touched: Float[Array, " b"]
    hits_hidden: Float[Array, " b"]
    hits_in_clip: Float[Array, " b"]
    copies_touched: Float[Array, " b"]
    copies_hidden: Float[Array, " b"]
    copies_in_clip: Float[Array, " b"]


def make_mesh(batch_size: int, devices: list | None = None) -> Mesh:
    """One `data` axis over all devices; the compiler places what is not on it.

    Raises:
      ValueError: if the devices can not share a batch equally.
    """
    devices = jax.devices() if devices is None else devices
    if batch_size % len(devices):
        raise ValueError(
            f"training.batch_size={batch_size} can not be shared by {len(devices)}"
            " devices; choose a multiple"
        )
    return Mesh(np.array(devices), ("data",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same on every device."""
    return NamedSharding(mesh, PartitionSpec())


def by_example(mesh: Mesh) -> NamedSharding:
    """Cut over devices along the first axis."""
    return NamedSharding(mesh, PartitionSpec("data"))


def first_state(
    tx: optax.GradientTransformationExtraArgs, params: Any, mesh: Mesh
) -> TrainState:
    """The state before the first update, in arrays of its own (steps donate them)."""
    own = jax.tree.map(jnp.array, params)
    state = TrainState(own, tx.init(own), jnp.zeros((), jnp.int32))
    return jax.device_put(state, replicated(mesh))


def make_train_step(
    objective: objectives.Objective,
    tx: optax.GradientTransformationExtraArgs,
    draw_masks: DrawMasks | None,
    mesh: Mesh,
) -> Callable:
    """(state, frozen, batch, epoch) -> (state, metrics); the state is donated.

    The masks are drawn inside, per example, so no device count changes them.

    Args:
      objective: what to minimise.
      tx: `optim.make`.
      draw_masks: (batch, epoch) -> hidden patches (b, t, n); pure. None: nothing is
        hidden, the language terms alone train.
      mesh: `make_mesh`.
    """

    def step(state, frozen, batch, epoch):
        is_masked = None if draw_masks is None else draw_masks(batch, epoch)

        def loss_of(params):
            out = total.forward(objective, params, frozen, batch, is_masked)
            return out.loss, out

        gradient = jax.value_and_grad(loss_of, has_aux=True)
        (loss, out), grads = gradient(state.params)
        updates, opt_state = tx.update(
            grads, state.opt_state, state.params, start=frozen.start
        )
        params = optax.apply_updates(state.params, updates)
        metrics = {"loss": loss, "gradient_norm": optax.global_norm(grads)}
        if len(out.terms) > 1:
            metrics |= {f"loss_{name}": value for name, value in out.terms.items()}
        if out.patches is not None:
            metrics |= _of_rows(out.patches)
        return TrainState(params, opt_state, state.step + 1), metrics

    same, cut = replicated(mesh), by_example(mesh)
    return jax.jit(
        step,
        in_shardings=(same, same, cut, same),
        out_shardings=same,
        donate_argnums=0,
    )


def _of_rows(out: objectives.Outcome) -> dict[str, Array]:
    """Chance loss, retrieval@1 over all streams' rows, and cells without a slot."""
    streams = list(out.streams.values())
    rows = sum(jnp.sum(s.is_row) for s in streams)
    hits = sum(jnp.sum(s.is_hit) for s in streams)
    chance = sum(
        jnp.sum(s.row_log_candidates) / jnp.maximum(jnp.sum(s.is_row), 1)
        for s in streams
    )
    return {
        "log_candidates": chance,
        "retrieval": hits / jnp.maximum(rows, 1),
        "rows": rows,
        "dropped": jnp.sum(out.cells.dropped),
    }


@jax.jit
def _all_finite(leaves: list) -> Bool[Array, ""]:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))


def is_finite(tree: Any) -> bool:
    """Whether every number of a tree of arrays is finite."""
    leaves = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
    return not leaves or bool(_all_finite(leaves))


def make_eval_step(objective: objectives.Objective, mesh: Mesh) -> Callable:
    """(params, frozen, batch, is_masked) -> ({stream: Counts}, dropped cells).

    The masks are an argument, so one program serves masks of every kind.
    """

    def step(params, frozen, batch, is_masked):
        out = objectives.forward(objective, params, frozen, batch, is_masked)
        counts = {
            name: count_rows(out.streams[name], out.copies[name], out.cells)
            for name in out.streams
        }
        return counts, jnp.sum(out.cells.dropped)

    same, cut = replicated(mesh), by_example(mesh)
    return jax.jit(step, in_shardings=(same, same, cut, cut), out_shardings=same)


def make_draw(draw_masks: DrawMasks, mesh: Mesh) -> Callable:
    """batch -> hidden patches (b, t, n) as epoch 0 has them, on the mesh."""
    cut = by_example(mesh)
    return jax.jit(
        lambda batch: draw_masks(batch, 0), in_shardings=(cut,), out_shardings=cut
    )


def count_rows(
    model: losses.Contrast, copy: losses.Contrast, cells: losses.Cells
) -> Counts:
    """What the rows of each example add up to."""
    shape = cells.is_row.shape
    is_hidden = cells.is_hidden & model.is_row.reshape(shape)

    def total(values, only=None):
        values = values.reshape(shape).astype(jnp.float32)
        return jnp.sum(values if only is None else values * only, axis=1)

    return Counts(
        rows=total(model.is_row),
        hidden_rows=total(is_hidden),
        loss=total(model.row_loss),
        log_candidates=total(model.row_log_candidates),
        chance=total(jnp.exp(-model.row_log_candidates) * model.is_row),
        clips=jnp.minimum(total(model.is_row), 1.0),
        hits_touched=total(model.is_hit),
        hits_hidden=total(model.is_hit, is_hidden),
        hits_in_clip=total(model.is_hit_in_clip),
        copies_touched=total(copy.is_hit),
        copies_hidden=total(copy.is_hit, is_hidden),
        copies_in_clip=total(copy.is_hit_in_clip),
    )
