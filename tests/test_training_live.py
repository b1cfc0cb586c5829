"""Masks drawn in the update from the attention of its weights: laws, stop, resume."""

import contextlib
import dataclasses
import functools
import os
import signal

import chex
import jax
import numpy as np
import pytest
from helpers import training_run as tiny

from mmdiffmask import config, masks
from mmdiffmask.masking import strategy_settings
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import checkpoint, loop, objective, optim, steps
from mmdiffmask.training import mesh as meshes
from mmdiffmask.training.terms import shared

pytestmark = pytest.mark.usefixtures("quick_compilation")

DATA = config.Data(rows=tiny.GRID.rows, cols=tiny.GRID.cols, segments=tiny.FRAMES)
MASKING = config.Masking(strategy="attnmask", attention="live")
DRAW = masks.patch_drawer(DATA, MASKING)


def held():
    return tiny.make_held(tiny.start())


drawn = jax.jit(DRAW)


@functools.cache
def clean_pass():
    """In a program of its own."""
    return jax.jit(tiny.make_objective().vision_with_attention)


def attention_of(params, batch):
    """Of the clean pass of these weights."""
    return clean_pass()(params, batch.patches)[1]


@pytest.mark.slow
def test_the_update_hides_what_its_attention_says():
    """The same loss as with these masks drawn before; others give another."""
    made, batch = tiny.make_objective(), tiny.make_batch(range(8))
    fixed = held()
    losses = jax.jit(functools.partial(objective.losses, made))

    def live(params, fixed, batch):
        draw = functools.partial(DRAW, fixed.key, batch, 0)
        return objective.losses(made, params, fixed, batch, draw)

    for params in (tiny.start(), tiny.start(1)):
        attention = attention_of(params, batch)
        hidden = drawn(fixed.key, batch, 0, attention)
        assert int(np.asarray(hidden).sum()) > 100
        assert not np.asarray(hidden)[~np.asarray(shared.valid_patches(batch))].any()
        terms, metrics = jax.jit(live)(params, fixed, batch)
        before, same = losses(params, fixed, batch, hidden)
        np.testing.assert_allclose(terms["patches"], before["patches"], rtol=1e-5)
        assert metrics["rows"] == same["rows"] > 0
        turned, _ = losses(params, fixed, batch, np.asarray(hidden)[::-1])
        assert abs(turned["patches"] - before["patches"]) > 1e-3


@pytest.mark.slow
def test_masks_follow_the_weights_and_no_gradient_goes_through_them():
    made, batch, fixed = tiny.make_objective(), tiny.make_batch(range(8)), held()
    hidden = [
        np.asarray(drawn(fixed.key, batch, 0, attention_of(tiny.start(seed), batch)))
        for seed in (0, 1)
    ]
    assert (hidden[0] != hidden[1]).any()

    def loss(params, is_masked):
        return objective.losses(made, params, fixed, batch, is_masked)[0]["patches"]

    draw = functools.partial(DRAW, fixed.key, batch, 0)
    live = jax.jit(jax.grad(lambda params: loss(params, draw)))(tiny.start())
    before = jax.jit(jax.grad(loss))(tiny.start(), hidden[0])
    for one, other in zip(*map(jax.tree.leaves, (live, before)), strict=True):
        scale = np.abs(other).max() + 1e-6
        np.testing.assert_allclose(one / scale, other / scale, atol=1e-4)


def updates(mesh, count=3):
    chex.clear_trace_counter()
    family = objective.family(tiny.make_objective())
    terms = family.terms

    @chex.assert_max_traces(n=1)
    def once(*args):
        return terms(*args)

    family = dataclasses.replace(family, terms=once)
    step = steps.make_train_step(family, tiny.TRAINING, mesh, DRAW)
    state = steps.first_state(optim.make(tiny.TRAINING), held().start, mesh)
    noted = []
    for epoch in range(count):
        fixed = held()._replace(key=jax.random.key(epoch))
        fixed = jax.device_put(fixed, meshes.replicated(mesh))
        batch = tiny.make_batch(range(4 * epoch, 4 * epoch + 8))
        state, metrics = step(state, fixed, batch, np.int32(epoch))
        noted.append(jax.device_get(metrics))
    return noted


@pytest.mark.long
def test_eight_devices_equal_one_and_the_step_is_traced_once():
    one, eight = (updates(meshes.make(8, jax.devices()[:n])) for n in (1, 8))
    for a, b in zip(one, eight, strict=True):
        np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-4)
        np.testing.assert_allclose(a["gradient_norm"], b["gradient_norm"], rtol=1e-3)
        assert a["rows"] == b["rows"] > 100 and a["dropped"] == 0


def job(**changes):
    return dataclasses.replace(
        tiny.make_job(**changes), draw_masks=None, draw_live=DRAW
    )


@pytest.mark.slow
def test_a_stopped_run_goes_on_with_the_same_bits(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert loop.train(job(), RunFolder(whole)).finished == "steps"
    stopped = job()
    batches = stopped.train_batches

    @contextlib.contextmanager
    def with_signal(first):
        with batches(first) as inner:

            def until_signal():
                for i, item in enumerate(inner):
                    if first + i == 4:
                        os.kill(os.getpid(), signal.SIGTERM)
                    yield item

            yield until_signal()

    with pytest.raises(KeyboardInterrupt, match="Step 5 is saved"):
        loop.train(
            dataclasses.replace(stopped, train_batches=with_signal), RunFolder(cut)
        )
    assert loop.train(job(), RunFolder(cut)).finished == "steps"
    for which in ("start", "best", "last"):
        trees = [checkpoint.load_params(RunFolder(run), which) for run in (whole, cut)]
        for a, b in zip(*map(jax.tree.leaves, trees), strict=True):
            np.testing.assert_array_equal(a, b)
    assert (whole / "metrics.jsonl").read_bytes() == (
        cut / "metrics.jsonl"
    ).read_bytes()


def test_rows_of_one_strategy_share_a_step():
    mesh, family = meshes.make(8, jax.devices()[:1]), objective.family
    network = family(tiny.make_objective())
    again = masks.patch_drawer(DATA, dataclasses.replace(MASKING))
    assert again is DRAW

    def step(*draw):
        return steps.make_train_step(network, tiny.TRAINING, mesh, *draw)

    assert step(DRAW) is step(again) is not step()
    assert strategy_settings.is_live(MASKING)
