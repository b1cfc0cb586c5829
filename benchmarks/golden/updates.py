"""Optimisers: schedules, moments, steps on a toy tree, and on the model.

The numbers are those of the folder's read-me, the same in every folder.
"""

import re
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import traverse_util

from benchmarks.golden import pretraining, questions
from benchmarks.golden.folder import Golden, fast_jit
from mmdiffmask.training import half_moments, optim, schedules

STEPS = {
    "finetune": optim.reserve_finetuning(1e-3, 10, 2),
    "pretrain": optim.reserve_pretraining(1e-3, 10, 2),
}
TOYS = {
    "opt_toy_finetune": optim.reserve_finetuning(3e-3, 8, 2),
    "opt_toy_pretrain": optim.reserve_pretraining(4e-3, 8, 2),
    "opt_toy_pretrain_fp32adam": optim.reserve_pretraining(
        4e-3, 8, 2, adam=half_moments.Adam(bias_correction=True, half_moments=False)
    ),
}
BIG = (64, 80)  # of the toy leaf of which only a corner is stored
MOVED_STARTS = 4  # of the update in bfloat16

Loss = Callable[[dict], jax.Array]


def opt_parts(golden: Golden) -> dict:
    """The second moment in 16 bits, and the schedules that the names describe."""
    z = golden.arrays("opt_parts")
    encoded = half_moments.encode_second_moment(z["nu_in"])
    arrays = {
        "nu_bf16_bits": np.asarray(encoded).view(np.uint16),
        "nu_decoded": half_moments.decode_second_moment(encoded),
    }
    for name in z:
        shape = re.fullmatch(r"sched_(?:linear|cosine)_w(\d+)_t(\d+)(?:_f(.+))?", name)
        if not shape:
            continue
        warmup, end = int(shape[1]), int(shape[2]) + 1
        if shape[3] is None:
            rate = schedules.line(1.0, warmup, end)
        else:
            rate = schedules.cosine(1.0, warmup, end, float(shape[3]))
        arrays[name] = rate(z["sched_steps"])
    return arrays


def toy(golden: Golden, file: str) -> dict:
    """Parameters after each update of a small tree, and the last moments."""
    z = golden.arrays(file)
    params = start = _toy_tree(z, "param0")
    update = fast_jit(TOYS[file].update)
    state, arrays = TOYS[file].init(params), {}
    count = max(int(n[5:].split("/")[0]) for n in z if n.startswith("param"))
    for step in range(count):
        grads = _toy_tree(z, f"grad{step}")
        changes, state = update(grads, state, params, start=start)
        params = optax.apply_updates(params, changes)
        arrays |= {f"param{step + 1}/{name}": x for name, x in params.items()}
    for kind, tree in (("mu", state[0].mu), ("nu", state[0].nu)):
        for name, x in tree.items():
            if x.dtype == jnp.bfloat16:
                arrays[f"{kind}_final_bits/{name}"] = np.asarray(x).view(np.uint16)
            else:
                arrays[f"{kind}_final/{name}"] = x
    return {name: _corner(x, z[name]) for name, x in arrays.items() if name in z}


def _toy_tree(z: dict, kind: str) -> dict:
    """A tree of the file; the rest of what is stored as a corner is zero."""
    tree = {n.split("/")[1]: x for n, x in z.items() if n.startswith(f"{kind}/")}
    if "big" in tree:
        missing = [(0, n - m) for n, m in zip(BIG, tree["big"].shape, strict=True)]
        tree["big"] = np.pad(tree["big"], missing)
    return tree


def _corner(x: np.ndarray, stored: np.ndarray):
    """As much of an array as the reference stored."""
    return x[tuple(slice(0, size) for size in stored.shape)]


def opt_step_finetune(golden: Golden) -> dict:
    """Three updates of the TVQA loss."""
    loss, start = _finetuning(golden)
    return _updates(golden, "opt_step_finetune", loss, start, "finetune")


def opt_step_pretrain(golden: Golden) -> dict:
    """Three updates of Reserve's own loss."""

    def loss(params: dict):
        return pretraining.loss(golden, params)

    return _updates(golden, "opt_step_pretrain", loss, golden.params, "pretrain")


def opt_step_finetune_bf16(golden: Golden) -> dict:
    """The same with model, parameters and gradients in bfloat16 until the update.

    After an update the numbers are partly noise: where a gradient is no more than
    rounding, Adam makes a whole step of its sign, and processors round differently.
    Starts that differ by less than bfloat16 can tell gave third gradients from 12.2 to
    14.3 long (float32: 13.0). So what is given is what lies nearest to the reference
    between the least and the most of a few such starts.
    """
    z = golden.arrays("opt_step_finetune_bf16")
    loss, params = _finetuning(golden.in_dtype("bfloat16"))

    def half_loss(params: dict):
        # The gradient with respect to the rounded weights, cast back to float32.
        return loss(jax.tree.map(lambda x: x.astype(jnp.bfloat16), params))

    step, state = _step(half_loss, params, "finetune")
    runs = []
    for seed in range(1 + MOVED_STARTS):
        begin = _moved(params, seed) if seed else params
        runs.append(_run(step, state, begin, len(z["losses"]))[0])
    spread = {name: np.array([run[name] for run in runs]) for name in runs[0]}
    return {
        name: np.clip(z[name], values.min(0), values.max(0))
        for name, values in spread.items()
        if name in z
    }


def _moved(params: dict, seed: int) -> dict:
    """Every number times 1 + a thousandth or so: less than bfloat16 can tell."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda x: jnp.float32(x * (1 + 1e-3 * rng.standard_normal(x.shape))), params
    )


def _finetuning(golden: Golden) -> tuple[Loss, dict]:
    """The loss on the whole batch, and the parameters that TVQA starts from."""
    inputs = questions.batch(golden)
    params = {
        k: v for k, v in golden.params.items() if k not in ("head", "span_encoder")
    }
    params["proj"] = {"kernel": golden.arrays("tvqa")["proj_kernel"]}

    def loss(params: dict):
        scores = questions.logits(golden.model, params, inputs, golden.grid)
        # The reference's losses are numbers that its model's dtype can hold.
        scores = scores.astype(golden.model.settings.dtype)
        return questions.losses(scores, inputs.labels).sum()

    return loss, params


def _updates(golden: Golden, file: str, loss: Loss, start: dict, kind: str) -> dict:
    """As many updates as the file has losses, of the same batch each time."""
    z = golden.arrays(file)
    step, state = _step(loss, start, kind)
    norms, first, params = _run(step, state, start, len(z["losses"]))
    return norms | _leaves(z, start, first, params)


def _step(loss: Loss, start: dict, kind: str) -> tuple[Callable, optax.OptState]:
    """One update, with decay towards `start`, and the optimiser's first state."""
    optimiser = STEPS[kind]

    def step(params: dict, state: optax.OptState):
        value, grads = jax.value_and_grad(loss)(params)
        changes, state = optimiser.update(grads, state, params, start=start)
        new = optax.apply_updates(params, changes)
        moved = jax.tree.map(jnp.subtract, new, params)
        norms = [optax.global_norm(tree) for tree in (grads, new, moved)]
        return new, state, grads, (value, *norms)

    return fast_jit(step), optimiser.init(start)


def _run(
    step: Callable, state: optax.OptState, params: dict, count: int
) -> tuple[dict[str, np.ndarray], dict, dict]:
    """Losses and norms of `count` updates, the first gradient, the last parameters."""
    first, rows = None, []
    for _ in range(count):
        params, state, grads, row = step(params, state)
        first = grads if first is None else first
        rows.append(row)
    names = ("losses", "grad_global_norm", "param_global_norm", "update_global_norm")
    norms = dict(zip(names, np.array(rows, np.float32).T, strict=True))
    return norms, first, params


def _leaves(z: dict, start: dict, grads: dict, params: dict) -> dict:
    """Single leaves as far as they are stored, and the length of every leaf."""
    trees = {"before": start, "grad0": grads, "after": params}
    flat = {
        kind: {
            "/".join(path): np.asarray(x)
            for path, x in sorted(traverse_util.flatten_dict(tree).items())
        }
        for kind, tree in trees.items()
    }
    arrays = {}
    for name, stored in z.items():
        kind, _, path = name.partition("/")
        if kind in flat and path in flat[kind]:
            arrays[name] = _corner(flat[kind][path], stored)
    before, after = flat["before"], flat["after"]
    arrays["all_names"] = np.array(list(before))
    arrays["all_grad0_l2"] = _lengths(flat["grad0"].values())
    arrays["all_delta_l2"] = _lengths(after[name] - before[name] for name in before)
    arrays["all_after_l2"] = _lengths(after.values())
    return arrays


def _lengths(leaves: Iterable[np.ndarray]) -> np.ndarray:
    return np.array([np.linalg.norm(x.astype(np.float64)) for x in leaves])
