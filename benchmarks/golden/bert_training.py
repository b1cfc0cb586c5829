"""Gradients, their norms and some updates of an encoder with a head."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import optax
from flax import traverse_util

from benchmarks.golden import folder
from benchmarks.golden.bert_case import UNREAD, Case
from benchmarks.golden.compare import Row
from mmdiffmask.models.bert import checkpoints, names
from mmdiffmask.training import optim
from mmdiffmask.types import Array

RELATIVE = 1e-5
UPDATED = 2e-5  # of losses and norms after updates: roundings of six add up
WHOLE = "__global__"
NUMBERS = ("betas", "clip_global_norm", "eps", "lr", "no_decay_substrings", "steps")
NUMBERS += ("weight_decay",)

Verdicts = Iterator[tuple[str, list[Row]]]


def gradients(
    case: Case, kind: str, head_mask: Array | None = None
) -> dict[str, np.ndarray]:
    """Of the loss by each parameter that it reads, under Hugging Face's names."""
    checkpoint = case.checkpoints[kind]

    def loss(params: checkpoints.Params) -> Array:
        return case.run(kind, params, head_mask)["loss"]

    grads = folder.fast_jit(jax.grad(loss))(checkpoint.params)
    unread = _unread(case, kind)
    arrays = checkpoints.arrays_of(dataclasses.replace(checkpoint, params=grads))
    return {name: x for name, x in arrays.items() if name not in unread}


def _unread(case: Case, kind: str) -> set[str]:
    """Parameters of a checkpoint that the loss of a kind does not read."""
    checkpoint = case.checkpoints[kind]
    parts = UNREAD[kind, checkpoint.settings.family]
    wanted = names.entries(checkpoint.settings, checkpoint.style)
    present = traverse_util.flatten_dict(checkpoint.params, sep="/")
    return {
        wanted[path].name
        for path in present
        if path.split("/")[0] in parts or path == names.UNREAD_BIAS
    }


def rows(case: Case, name: str) -> Verdicts:
    """The verdict on everything in scalars.json."""
    for key, value in case.scalars.items():
        row, kind = f"{name}/scalars/{key}", key.removeprefix("params_without_grad_")
        kind = "mlm" if key == "adamw" else kind.split("_")[0]
        if case.checkpoints.get(kind) is None:
            yield row, []
        elif key == f"{kind}_loss":
            ours = float(_compiled(case, kind)["loss"])
            yield row, [_near(row, ours, value, RELATIVE)]
        elif key == f"{kind}_grad_norms":
            yield row, list(_norms(case, kind, row, value))
        elif key == f"params_without_grad_{kind}":
            differ = _unread(case, kind) ^ set(value)
            yield row, [Row(row, float(len(differ)), 0.0, "names")]
        elif key == "adamw":
            yield from _updates(case, row, value)
        else:
            yield row, []


def _compiled(case: Case, kind: str) -> dict[str, Any]:
    run = folder.fast_jit(functools.partial(case.run, kind))
    return run(case.checkpoints[kind].params)


def _near(name: str, ours: float, theirs: float, relative: float) -> Row:
    return Row(name, abs(ours - theirs), relative * max(1.0, abs(theirs)))


def _norms(case: Case, kind: str, row: str, theirs: dict[str, float]) -> Iterator[Row]:
    """Of every gradient, and of all together."""
    grads = {k: np.float64(x) for k, x in gradients(case, kind).items()}
    ours = {key: float(np.linalg.norm(x)) for key, x in grads.items()}
    ours[WHOLE] = float(np.linalg.norm(list(ours.values())))
    for key, value in theirs.items():
        # Some are 0 but for roundings: a bias of keys changes no softmax.
        allowed = RELATIVE * abs(value) + RELATIVE / 10 * ours[WHOLE]
        difference = abs(ours[key] - value) if key in ours else np.inf
        yield Row(f"{row}/{key}", difference, allowed)
    for key in sorted(ours.keys() - theirs.keys() - {WHOLE}):
        yield Row(f"{row}/{key}", np.inf, 0.0, "the reference has none")


def _updates(case: Case, row: str, theirs: dict[str, Any]) -> Verdicts:
    """Losses and norms before each update, and the loss after the last."""
    trace, numbers = theirs.get("trace", []), theirs["hparams"]
    for key in sorted(theirs.keys() - {"hparams", "trace", "final_loss"}):
        yield f"{row}/{key}", []
    for key in sorted(numbers.keys() - set(NUMBERS)):
        yield f"{row}/hparams/{key}", []
    checkpoint = case.checkpoints["mlm"]
    update = _optimiser(checkpoint, numbers)

    def loss(params: checkpoints.Params) -> Array:
        return case.run("mlm", params)["loss"]

    @folder.fast_jit
    def step(params: checkpoints.Params, state: optax.OptState):
        value, grads = jax.value_and_grad(loss)(params)
        changes, state = update.update(grads, state, params)
        norm = optax.global_norm(grads)
        return value, norm, optax.apply_updates(params, changes), state

    params, state = checkpoint.params, update.init(checkpoint.params)
    for number, entry in enumerate(trace):
        value, norm, params, state = step(params, state)
        ours = {"loss": float(value), "grad_norm": float(norm)}
        for key, expected in entry.items():
            name = f"{row}/{number}/{key}"
            known = key in ours
            yield name, [_near(name, ours[key], expected, UPDATED)] if known else []
    if "final_loss" in theirs:
        name, value = f"{row}/final_loss", float(step(params, state)[0])
        yield name, [_near(name, value, theirs["final_loss"], UPDATED)]


def _optimiser(
    checkpoint: checkpoints.Checkpoint, numbers: dict[str, Any]
) -> optax.GradientTransformationExtraArgs:
    """AdamW of the house behind the clipping of gradients.

    Raises:
      ValueError: if other arrays are decayed than those of more than one axis.
    """
    words = numbers["no_decay_substrings"]
    for name, value in checkpoints.arrays_of(checkpoint).items():
        if any(word in name for word in words) != (value.ndim < 2):
            raise ValueError(f"no_decay_substrings: {name} is decayed otherwise here")
    return optax.chain(
        optax.clip_by_global_norm(numbers["clip_global_norm"]),
        optax.scale_by_adam(*numbers["betas"], eps=numbers["eps"]),
        optim.decay_towards(numbers["weight_decay"], "zero"),
        optax.scale_by_learning_rate(numbers["lr"]),
    )
