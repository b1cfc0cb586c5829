"""The three optimisers: golden steps, schedules, the formulas in numpy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mmdiffmask import atomic, config
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import checkpoint, half_moments, optim, schedules, steps
from mmdiffmask.training import mesh as meshes

SETTINGS = config.Training(steps=10, warmup_steps=4, lr=0.1)
OPTIMISERS = ("adamw", "reserve", "reserve_finetune")
TOYS = {  # the golden read-me: 8 steps, 2 of them warm-up
    "opt_toy_finetune": optim.reserve_finetuning(3e-3, 8, 2),
    "opt_toy_pretrain": optim.reserve_pretraining(4e-3, 8, 2),
    "opt_toy_pretrain_fp32adam": optim.reserve_pretraining(
        4e-3, 8, 2, adam=half_moments.Adam(bias_correction=True, half_moments=False)
    ),
}


def _run(tx, start, grads):
    """Weights after each update, and the last state."""
    params, state, found = start, tx.init(start), []
    update = jax.jit(lambda *a: tx.update(*a, start=start))
    for grad in grads:
        updates, state = update(grad, state, params)
        params = optax.apply_updates(params, updates)
        found.append(params)
    return found, state


def _toy(arrays, kind, step):
    """A golden tree; `big` is stored as a corner of 64 x 80: the rest is zero."""
    tree = {n: arrays[f"{kind}{step}/{n}"] for n in ("mat", "big", "vec", "cube")}
    big = np.zeros((64, 80), np.float32)
    big[:2, :8] = tree["big"]
    return tree | {"big": big}


def _corner(name, x):
    return np.asarray(x[:2, :8] if name == "big" else x)


def _toy_arrays(name, z):
    """Every array of a golden file that is not an input."""
    grads = [_toy(z, "grad", step) for step in range(5)]
    trees, state = _run(TOYS[name], _toy(z, "param", 0), grads)
    moments = state[0]
    found = {f"param{i}/{n}": x for i, t in enumerate(trees, 1) for n, x in t.items()}
    for kind, tree in (("mu", moments.mu), ("nu", moments.nu)):
        for n, x in tree.items():
            if x.dtype == jnp.bfloat16:
                found[f"{kind}_final_bits/{n}"] = np.asarray(x).view(np.uint16)
            else:
                found[f"{kind}_final/{n}"] = x
    return {path: _corner(path.rpartition("/")[2], x) for path, x in found.items()}


@pytest.mark.parametrize("name", TOYS)
def test_golden_steps(shared, golden_tolerances, name):
    with np.load(shared / "golden" / "reserve" / f"{name}.npz") as file:
        z = dict(file)
    found = _toy_arrays(name, z)
    inputs = {path for path in z if path.startswith(("grad", "param0"))}
    assert set(found) == set(z) - inputs
    for path, x in found.items():
        if "_bits" in path:
            apart = np.abs(x.astype(int) - z[path].astype(int))
            assert apart.max() <= 1, path
        else:
            atol = golden_tolerances[name][path]["atol"]
            np.testing.assert_allclose(x, z[path], rtol=0, atol=atol, err_msg=path)


@pytest.fixture
def golden_tolerances(shared):
    path = shared / "golden" / "reserve" / "tolerances.json"
    return atomic.read_json(path)["arrays"]


def test_golden_schedules(shared, golden_tolerances):
    with np.load(shared / "golden" / "reserve" / "opt_parts.npz") as z:
        for name, rate in (
            ("sched_linear_w4_t10", schedules.line(1.0, 4, 11)),
            ("sched_cosine_w4_t10_f0.02", schedules.cosine(1.0, 4, 11, 0.02)),
        ):
            atol = golden_tolerances["opt_parts"][name]["atol"]
            np.testing.assert_allclose(rate(z["sched_steps"]), z[name], 0, atol)


def test_line_table():
    found = schedules.line(0.1, 4, 10)(np.arange(11))
    up, down = [0, 0.025, 0.05, 0.075], [0.1 * (1 - i / 6) for i in range(7)]
    np.testing.assert_allclose(found, up + down, atol=1e-8)


def test_cosine_table():
    found = schedules.cosine(2.0, 2, 6, 0.1)(np.arange(8))
    quarter = 0.1 + 0.9 * (1 + np.sqrt(0.5)) / 2
    wanted = 2 * np.array([0, 0.5, 1, quarter, 0.55, 1.1 - quarter, 0.1, 0.1])
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_no_warmup_begins_at_the_full_rate():
    assert float(schedules.line(0.1, 0, 10)(0)) == pytest.approx(0.1)
    assert float(schedules.cosine(0.1, 0, 10, 0.0)(0)) == pytest.approx(0.1)


# What sets the optimisers apart: bias correction, smallest pulled size, half start,
# and the rate of update t in the run of SETTINGS, as part of the peak.
def _rate(optimiser, t):
    if t < 4:
        return t / 4
    if optimiser == "reserve":
        return 0.02 + 0.98 * (1 + np.cos(np.pi * (t - 4) / 7)) / 2
    return 1 - (t - 4) / (7 if optimiser == "reserve_finetune" else 6)


def _restated(optimiser, settings, weights, grads):
    """The formulas with exact moments, in float64."""
    m, v, start = 0 * weights, 0 * weights, weights
    if optimiser == "reserve_finetune":
        start = np.float64(jnp.bfloat16(start))
    start = {"initial": start, "zero": 0 * start, "none": weights}[settings.decay_to]
    least = 4097 if optimiser == "reserve_finetune" else 0
    is_pulled = weights.ndim > 1 and weights.size >= least
    for t, grad in enumerate(grads):
        m = 0.9 * m + 0.1 * grad
        v = settings.b2 * v + (1 - settings.b2) * grad**2
        by = (1 - 0.9 ** (t + 1), 1 - settings.b2 ** (t + 1))
        by = (1, 1) if optimiser == "reserve" else by
        step = m / by[0] / (np.sqrt(v / by[1]) + settings.eps)
        if is_pulled and settings.decay_to != "none":
            step = step + settings.weight_decay * (weights - start)
        weights = weights - settings.lr * _rate(optimiser, t) * step
    return weights


@pytest.mark.parametrize("decay_to", ["initial", "zero", "none"])
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_updates_equal_the_formula(optimiser, decay_to):
    settings = dataclasses.replace(
        SETTINGS, optimiser=optimiser, decay_to=decay_to, weight_decay=2.0
    )
    rng = np.random.default_rng(0)
    shapes = {"kernel": (3, 2), "bias": 3, "edge": (64, 64), "large": (17, 241)}
    start = {k: rng.normal(size=v).astype(np.float32) for k, v in shapes.items()}
    grads = [
        {k: rng.normal(size=v).astype(np.float32) for k, v in shapes.items()}
        for _ in range(6)
    ]
    found, _ = _run(optim.make(settings), start, grads)
    for name in shapes:
        wanted = _restated(
            optimiser,
            settings,
            np.float64(start[name]),
            [np.float64(g[name]) for g in grads],
        )
        # Half moments: one part in 256 of at most 3 in each of some 3 full updates.
        atol = 2e-5 if optimiser == "adamw" else 3e-3
        np.testing.assert_allclose(found[-1][name], wanted, rtol=0, atol=atol)


def test_finetuning_pulls_large_arrays_to_the_start_in_bfloat16():
    """Without gradients only the pull is left; update 2 is the first at full rate."""
    rng = np.random.default_rng(0)
    start = {"edge": (64, 64), "large": (17, 241), "vector": 5000}
    start = {k: rng.normal(size=v).astype(np.float32) for k, v in start.items()}
    grads = [jax.tree.map(np.zeros_like, start)] * 3
    found, _ = _run(optim.reserve_finetuning(0.5, 8, 2), start, grads)
    once = np.float64(start["large"])  # after update 1, at half the rate
    half = np.float64(jnp.bfloat16(start["large"]))
    for factor in (0.5, 1.0):
        once = once - 0.5 * factor * 0.1 * (once - half)
    moved, wanted = found[-1]["large"] - start["large"], once - start["large"]
    assert np.abs(wanted).max() > 1e-4
    np.testing.assert_allclose(moved, wanted, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(found[-1]["edge"], start["edge"])
    np.testing.assert_array_equal(found[-1]["vector"], start["vector"])


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_first_update_moves_nothing(optimiser):
    params = {"kernel": jnp.ones((2, 2))}
    tx = optim.make(dataclasses.replace(SETTINGS, optimiser=optimiser))
    updates, _ = tx.update(params, tx.init(params), params, start=params)
    assert not np.any(updates["kernel"])


@pytest.mark.parametrize("devices", [1, 8])
@pytest.mark.parametrize("optimiser", ["reserve", "reserve_finetune"])
def test_saved_state_goes_on_to_the_same_bits(tmp_path, optimiser, devices):
    settings = dataclasses.replace(SETTINGS, optimiser=optimiser, decay_to="initial")
    mesh, tx = meshes.make(8, jax.devices()[:devices]), optim.make(settings)
    rng = np.random.default_rng(0)
    start = {"large": rng.normal(size=(72, 64)).astype(np.float32)}

    @jax.jit
    def step(state, grad):
        updates, inner = tx.update(grad, state.opt_state, state.params, start=start)
        params = optax.apply_updates(state.params, updates)
        return steps.TrainState(params, inner, state.step + 1)

    state = steps.first_state(tx, start, mesh)
    grads = [{"large": rng.normal(size=(72, 64)).astype(np.float32)} for _ in range(5)]
    for grad in grads[:3]:
        state = step(state, grad)
    with checkpoint.open_steps(RunFolder(tmp_path)) as manager:
        checkpoint.save(manager, state, checkpoint.Progress(3))
        again = checkpoint.restore(manager, steps.first_state(tx, start, mesh), mesh)
    for grad in grads[3:]:
        state, again = step(state, grad), step(again, grad)
    for a, b in zip(*map(jax.tree.leaves, (state, again)), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    assert state.opt_state[0].nu["large"].dtype == jnp.bfloat16


def test_warmup_must_end():
    with pytest.raises(ValueError, match="warmup_steps=10 must be below"):
        optim.check(dataclasses.replace(SETTINGS, warmup_steps=10))
    optim.check(dataclasses.replace(SETTINGS, steps=0))
