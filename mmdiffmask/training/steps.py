"""The compiled steps of a family: one program for all masks, seeds and epochs."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Bool, Float, Int, PRNGKeyArray

from mmdiffmask import config
from mmdiffmask.training import mesh as meshes
from mmdiffmask.training import optim
from mmdiffmask.training.family import (
    Batch,
    Encode,
    Family,
    Held,
    Hidden,
    OthersStep,
    Params,
    ScoreStep,
)
from mmdiffmask.types import Array

# (the run's key, batch, epoch) -> what is hidden
DrawMasks = Callable[[PRNGKeyArray, Batch, Int[Array, ""] | int], Hidden]
# The same from the attention of the update's clean pass too, its fourth argument
DrawLive = Callable[
    [PRNGKeyArray, Batch, Int[Array, ""] | int, Float[Array, "b t n"]],
    Bool[Array, "b t n"],
]
KEPT = 8  # compiled steps; a process meets few families


class TrainState(NamedTuple):
    """What an update changes."""

    params: Params
    opt_state: optax.OptState
    step: Int[Array, ""]


TrainStep = Callable[
    [TrainState, Held, Batch, Hidden | Int[Array, ""] | None],
    tuple[TrainState, dict[str, Array]],
]


def first_state(
    tx: optax.GradientTransformationExtraArgs, params: Params, mesh: Mesh
) -> TrainState:
    """The state before the first update, in arrays of its own (steps donate them).

    Moments are made where they stay, not on one device and then copied from there.
    """
    everywhere = meshes.replicated(mesh)
    copied = jax.device_put(jax.tree.map(jnp.array, params), everywhere)
    cut = meshes.spread(jax.eval_shape(tx.init, copied), mesh)
    moments = jax.jit(tx.init, out_shardings=cut)(copied)
    return TrainState(copied, moments, jax.device_put(jnp.int32(0), everywhere))


def state_shardings(state: TrainState, mesh: Mesh) -> TrainState:
    """Where a state lies: weights and step on every device, moments cut.

    Args:
      state: or its shapes.
      mesh: `mesh.make`.
    """
    same = meshes.replicated(mesh)
    return TrainState(same, meshes.spread(state.opt_state, mesh), same)


def held_shardings(held: Held, mesh: Mesh) -> Held:
    """Where it lies: the start cut, everything else on every device."""
    same = meshes.replicated(mesh)
    return Held(meshes.spread(held.start, mesh), same, same)


def read_start(family: Family, settings: config.Training, start: Params) -> Params:
    """The part of the first weights that updates or scores read: all, some or none."""
    if settings.decay_to == "initial":
        return start
    return {name: start[name] for name in family.start_parts}


def state_shapes(
    tx: optax.GradientTransformationExtraArgs, params: Params
) -> TrainState:
    """Shapes and types of `first_state`; nothing is put on a device.

    Args:
      tx: the optimiser.
      params: weights or their shapes.
    """
    shapes = jax.eval_shape(lambda tree: tree, params)
    opt_state = jax.eval_shape(tx.init, shapes)
    return TrainState(shapes, opt_state, jax.ShapeDtypeStruct((), jnp.int32))


@functools.lru_cache(maxsize=KEPT)
def make_train_step(
    family: Family,
    settings: config.Training,
    mesh: Mesh,
    draw_live: DrawLive | None = None,
) -> TrainStep:
    """(state, held, batch, is_masked) -> (state, metrics); the state is donated.

    Masks are an argument, and the seed's key lies in `held`: rows and seeds of a
    comparison share one program.

    Args:
      family: what is trained.
      settings: of the optimiser.
      mesh: `mesh.make`.
      draw_live: draws the masks in the update, from the attention of its weights; the
        step's fourth argument is the epoch then.
    """
    tx = optim.make(settings)

    def step(
        state: TrainState,
        held: Held,
        batch: Batch,
        is_masked: Hidden | Int[Array, ""] | None,
    ) -> tuple[TrainState, dict[str, Array]]:
        key = jax.random.fold_in(held.key, state.step)
        if draw_live is not None:
            is_masked = functools.partial(draw_live, held.key, batch, is_masked)

        def loss_of(params: Params) -> tuple[Float[Array, ""], tuple[dict, dict]]:
            terms, metrics = family.terms(params, held, batch, is_masked, key)
            weighted = (family.weights[name] * loss for name, loss in terms.items())
            return jnp.asarray(sum(weighted), jnp.float32), (terms, metrics)

        gradient = jax.value_and_grad(loss_of, has_aux=True)
        (loss, (terms, metrics)), grads = gradient(state.params)
        if mesh.size > 1:  # else the moments' cut spreads to the backward passes
            same = meshes.replicated(mesh)
            grads = jax.lax.with_sharding_constraint(grads, same)
        updates, opt_state = tx.update(
            grads, state.opt_state, state.params, start=held.start
        )
        params = optax.apply_updates(state.params, updates)
        noted = {"loss": loss, "gradient_norm": optax.global_norm(grads)}
        if len(terms) > 1:
            noted |= {f"loss_{name}": value for name, value in terms.items()}
        return TrainState(params, opt_state, state.step + 1), noted | metrics

    def shardings(state: TrainState, held: Held, *_: Any) -> tuple[tuple, tuple]:
        same, cut = meshes.replicated(mesh), meshes.by_example(mesh)
        placed = state_shardings(state, mesh)
        masks = cut if draw_live is None else same  # or the epoch
        return (placed, held_shardings(held, mesh), cut, masks), (placed, same)

    return meshes.Placed(meshes.within(mesh, step), shardings, donate=(0,))


@jax.jit
def _all_finite(leaves: list[Array]) -> Bool[Array, ""]:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))


def is_finite(tree: Any) -> bool:
    """Whether every number of a tree of arrays is finite."""
    leaves = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
    return not leaves or bool(_all_finite(leaves))


@functools.lru_cache(maxsize=KEPT)
def make_score_step(family: Family, mesh: Mesh) -> ScoreStep:
    """(params, held, batch, is_masked) -> (Scores, dropped), of a held-out batch."""
    return _placed_scores(family.scores, mesh)


@functools.lru_cache(maxsize=KEPT)
def make_others_step(family: Family, mesh: Mesh) -> OthersStep:
    """(params, held, batch) -> {kind: Scores}, of a held-out batch without masks."""
    return _placed_scores(family.others, mesh)


def _placed_scores(function: Callable[..., Any], mesh: Mesh) -> meshes.Placed:
    """(params, held, what is cut by example ...) -> results on every device."""

    def shardings(params: Params, held: Held, *cut: Any) -> tuple[tuple, Any]:
        same, by_example = meshes.replicated(mesh), meshes.by_example(mesh)
        return (same, held_shardings(held, mesh), *[by_example] * len(cut)), same

    return meshes.Placed(meshes.within(mesh, function), shardings)


@functools.lru_cache(maxsize=KEPT)
def make_encode(family: Family) -> Encode:
    """(params, batch) -> {read-out: features (b, d)}."""
    return jax.jit(family.encode)


@functools.lru_cache(maxsize=4 * KEPT)
def make_draw(draw_masks: DrawMasks, mesh: Mesh) -> DrawMasks:
    """(key, batch, epoch) -> what is hidden (b, ...), on the mesh.

    Masks are drawn per example, so no number of devices changes them.
    """
    same, cut = meshes.replicated(mesh), meshes.by_example(mesh)
    return jax.jit(draw_masks, in_shardings=(same, cut, same), out_shardings=cut)
