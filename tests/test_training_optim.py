"""AdamW with decay towards the start, against numpy."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mmdiffmask import config
from mmdiffmask.training import optim

SETTINGS = config.Training(steps=10, warmup_steps=4, lr=0.1)


def test_schedule_table():
    rate = optim.schedule(SETTINGS)
    found = [float(rate(step)) for step in range(11)]
    up, down = [0, 0.025, 0.05, 0.075], [0.1 * (1 - i / 6) for i in range(7)]
    np.testing.assert_allclose(found, up + down, atol=1e-8)


def test_no_warmup_begins_at_the_full_rate():
    rate = optim.schedule(dataclasses.replace(SETTINGS, warmup_steps=0))
    assert float(rate(0)) == pytest.approx(0.1)


@pytest.mark.parametrize("decay_to", ["initial", "zero", "none"])
def test_updates_equal_the_formula(decay_to):
    settings = dataclasses.replace(SETTINGS, decay_to=decay_to, weight_decay=0.3)
    rng = np.random.default_rng(0)
    start = {"kernel": rng.normal(size=(3, 2)), "bias": rng.normal(size=3)}
    grads = [{k: rng.normal(size=v.shape) for k, v in start.items()} for _ in range(6)]
    tx = optim.make(settings)
    first = {k: jnp.asarray(v, jnp.float32) for k, v in start.items()}
    params, state = first, tx.init(first)
    for grad in grads:
        grad = {k: jnp.asarray(v, jnp.float32) for k, v in grad.items()}
        updates, state = tx.update(grad, state, params, start=first)
        params = optax.apply_updates(params, updates)
    for name, weights in start.items():
        goal = {"initial": weights, "zero": 0 * weights}.get(decay_to)
        if weights.ndim < 2:
            goal = None
        wanted = _restated(weights, goal, [g[name] for g in grads], settings)
        np.testing.assert_allclose(params[name], wanted, rtol=2e-5, atol=2e-6)


def _restated(weights, goal, grads, settings):
    m, v = 0 * weights, 0 * weights
    for t, grad in enumerate(grads):
        m = 0.9 * m + 0.1 * grad
        v = settings.b2 * v + (1 - settings.b2) * grad**2
        step = m / (1 - 0.9 ** (t + 1))
        step = step / (np.sqrt(v / (1 - settings.b2 ** (t + 1))) + settings.eps)
        if goal is not None:
            step = step + settings.weight_decay * (weights - goal)
        rate = t / 4 if t < 4 else 1 - (t - 4) / 6
        weights = weights - settings.lr * rate * step
    return weights


def test_first_update_moves_nothing():
    params = {"kernel": jnp.ones((2, 2))}
    tx = optim.make(SETTINGS)
    updates, _ = tx.update(params, tx.init(params), params, start=params)
    assert not np.any(updates["kernel"])


def test_warmup_must_end():
    with pytest.raises(ValueError, match="warmup_steps=10 must be below"):
        optim.check(dataclasses.replace(SETTINGS, warmup_steps=10))
    optim.check(dataclasses.replace(SETTINGS, steps=0))
