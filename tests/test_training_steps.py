"""The jitted steps: devices, traces, masks, and that the loss goes down."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import training_run as tiny

from mmdiffmask.training import mesh as meshes
from mmdiffmask.training import objective, optim, steps
from mmdiffmask.training.terms import patches, shared, streams

pytestmark = pytest.mark.usefixtures("quick_compilation")

TARGET_PARTS = {"vision_encoder", "contrastive_scales"}


@functools.cache
def _held():
    params = tiny.start()
    batches = [tiny.make_batch(range(4)), tiny.make_batch(range(4, 8))]
    return tiny.make_held(
        params, **patches.hold(tiny.make_objective(), params, batches)
    )


def _step(mesh, settings=tiny.TRAINING, clips=range(8), updates=2, seeds=1):
    """State and metrics after some updates on one batch; fails if traced twice.

    `seeds` are used in turn: with several, each update has another run's key.
    """
    chex.clear_trace_counter()
    family = objective.family(tiny.make_objective(settings))
    terms = family.terms

    @chex.assert_max_traces(n=1)
    def once(*args):
        return terms(*args)

    family = dataclasses.replace(family, terms=once)
    step = steps.make_train_step(family, settings, mesh)
    state = steps.first_state(optim.make(settings), _held().start, mesh)
    batch, found = tiny.make_batch(clips), []
    for epoch in range(updates):
        held = _held()._replace(key=jax.random.key(epoch % seeds))
        held = jax.device_put(held, steps.held_shardings(held, mesh))
        draw = steps.make_draw(tiny.draw_own, mesh)
        is_masked = draw(held.key, batch, np.int32(epoch))
        state, metrics = step(state, held, batch, is_masked)
        found.append(jax.device_get(metrics))
    return jax.device_get(state), found


def test_embedding_statistics_are_those_of_valid_patches():
    batch = tiny.make_batch(range(8))
    embedding = _held().start["vision_encoder"]["embedding"]
    is_valid = batch.is_patch_valid & batch.is_frame_valid[..., None]
    rows = batch.patches[is_valid] @ np.asarray(embedding["kernel"])
    rows = rows + np.asarray(embedding["bias"])
    np.testing.assert_allclose(
        _held().values[patches.NOISE_MEAN], rows.mean(0), atol=1e-5
    )
    np.testing.assert_allclose(_held().values[patches.NOISE_SD], rows.std(0), rtol=1e-3)


def test_no_valid_patch_is_the_users_mistake():
    batch = tiny.make_batch([0])
    batch = batch._replace(is_frame_valid=np.zeros_like(batch.is_frame_valid))
    made = tiny.make_objective()
    with pytest.raises(ValueError, match="no training example has a valid frame"):
        patches.hold(made, _held().start, [batch])


@pytest.mark.slow
def test_eight_devices_equal_one_and_nothing_is_traced_twice(monkeypatch):
    """Also where moments and start are cut over the devices."""
    monkeypatch.setattr(meshes, "SMALL", 1)
    meshed = [meshes.make(8, jax.devices()[:n]) for n in (1, 8)]
    two = [_step(mesh, updates=3, seeds=3) for mesh in meshed]
    one, eight = two
    for a, b in zip(one[1], eight[1], strict=True):
        np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-4)
        np.testing.assert_allclose(a["gradient_norm"], b["gradient_norm"], rtol=1e-3)
        assert a["rows"] == b["rows"] > 100
        assert a["retrieval"] == b["retrieval"] and a["dropped"] == 0
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), one[0].params, _held().start)
    assert max(jax.tree.leaves(moved)) > 1e-4
    # Adam's first updates are signs: weights whose gradient is rounding may differ.
    flat = [np.concatenate([*map(np.ravel, jax.tree.leaves(x.params))]) for x, _ in two]
    assert np.mean(np.abs(flat[0] - flat[1]) > 1e-5) < 0.01


def test_masks_do_not_depend_on_the_number_of_devices():
    batch, key = tiny.make_batch(range(8)), jax.random.key(0)
    meshed = [meshes.make(8, jax.devices()[:n]) for n in (1, 8)]
    one, eight = (
        np.asarray(steps.make_draw(tiny.draw_own, mesh)(key, batch, 0))
        for mesh in meshed
    )
    np.testing.assert_array_equal(one, eight)
    assert one.any() and not one[~np.asarray(shared.valid_patches(batch))].any()


def test_a_run_holds_the_part_of_its_start_that_is_read():
    """For the pull to it all, for fixed targets the vision tower, else nothing."""
    whole = _held().start
    for changes, names in (
        ({"decay_to": "initial"}, set(whole)),
        ({"decay_to": "zero"}, set()),
        ({"decay_to": "none"}, set()),
        ({"decay_to": "zero", "target": "initial"}, TARGET_PARTS),
    ):
        settings = dataclasses.replace(tiny.TRAINING, **changes)
        family = objective.family(tiny.make_objective(settings))
        assert set(steps.read_start(family, settings, whole)) == names


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("live", marks=pytest.mark.slow),
        pytest.param("initial", marks=pytest.mark.long),
    ],
)
def test_what_is_not_held_is_not_missed(target):
    """An update and the scores with the part that is read equal those with all."""
    settings = dataclasses.replace(tiny.TRAINING, decay_to="zero", target=target)
    family = objective.family(tiny.make_objective(settings))
    mesh, batch = meshes.make(8, jax.devices()[:1]), tiny.make_batch(range(8))
    train = steps.make_train_step(family, settings, mesh)
    score = steps.make_score_step(family, mesh)
    is_masked = steps.make_draw(tiny.draw_own, mesh)(_held().key, batch, 0)
    part = steps.read_start(family, settings, _held().start)
    results = []
    for start in (_held().start, part):
        held = _held()._replace(start=start)
        state = steps.first_state(optim.make(settings), _held().start, mesh)
        scores = score(state.params, held, batch, is_masked)
        results.append((train(state, held, batch, is_masked), scores))
    chex.assert_trees_all_equal(*results)


def test_devices_must_share_a_batch():
    with pytest.raises(ValueError, match="batch_size=6 cannot be shared by 8 devices"):
        meshes.make(6)


@functools.cache
def _forward_of(settings):
    made = tiny.make_objective(settings)
    return jax.jit(functools.partial(patches.forward, made))


def _forward(batch, is_masked, settings=tiny.TRAINING, params=None):
    params = _held().start if params is None else params
    return _forward_of(settings)(params, _held(), batch, is_masked)


@pytest.fixture(scope="module")
def masked():
    batch = tiny.make_batch(range(8))
    return batch, tiny.draw_cells(1, batch)


def test_nothing_of_a_hidden_patch_reaches_the_prediction(masked):
    batch, is_masked = masked
    made = tiny.make_objective()
    run = jax.jit(functools.partial(patches.masked_cells, made))
    before = run(_held().start, _held(), batch, is_masked)
    other = np.where(np.asarray(is_masked)[..., None], 0.7, batch.patches)
    batch = batch._replace(patches=other.astype(np.float32))
    after = run(_held().start, _held(), batch, is_masked)
    np.testing.assert_array_equal(before, after)
    clean = jax.jit(functools.partial(patches.clean_cells, made))
    assert np.abs(clean(_held().start, _held(), batch) - after).max() > 1e-3


def test_silent_examples_and_padded_rows_are_left_out(masked):
    batch, is_masked = masked
    before = _forward(batch, is_masked)
    audio = before.streams["audio"].is_row.reshape(8, -1).any(1)
    assert audio.tolist() == [i % 3 > 0 for i in range(8)]
    text = before.streams["text"].is_row.reshape(8, -1)
    np.testing.assert_array_equal(text, before.cells.is_row)
    assert text.sum() > 150
    fill = np.arange(8) < 6
    fewer = _forward(batch._replace(is_real=fill), is_masked)
    assert fewer.streams["text"].is_row.reshape(8, -1).any(1).tolist() == list(fill)
    change = {"patches": batch.patches[::-1], "text_tokens": batch.text_tokens[::-1]}
    for name, value in change.items():
        rows = fill.reshape(8, *[1] * (value.ndim - 1))
        change[name] = np.where(rows, getattr(batch, name), value)
    other = _forward(batch._replace(**change, is_real=fill), is_masked)
    np.testing.assert_allclose(fewer.loss, other.loss, rtol=1e-6)
    assert abs(fewer.loss - before.loss) > 1e-4


def test_unheard_sound_changes_nothing(masked):
    batch, is_masked = masked
    assert not batch.is_audio_valid[0].any()
    made = tiny.make_objective(dataclasses.replace(tiny.TRAINING, streams=("audio",)))

    @jax.jit
    def audio(batch):
        cells = patches.clean_cells(made, _held().start, _held(), batch)
        return streams.joint_cells(made, _held().start, batch, cells)["audio"]

    before = audio(batch)
    after = audio(batch._replace(spectrogram=batch.spectrogram + 1.0))
    np.testing.assert_array_equal(before[0], after[0])
    assert np.abs(before[1] - after[1]).max() > 1e-4


@pytest.mark.slow
def test_one_batch_is_learned():
    """With fixed targets; live ones move away from a small batch and take longer."""
    settings = dataclasses.replace(
        tiny.TRAINING, steps=100, warmup_steps=10, lr=3e-3, target="initial"
    )
    mesh = meshes.make(8, jax.devices()[:1])
    _, found = _step(mesh, settings, updates=100)
    assert found[0]["retrieval"] < 0.05 and found[-1]["retrieval"] > 0.5
    assert found[-1]["loss"] < 0.4 * found[-1]["log_candidates"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes", [{"mask_site": "vit_output"}, {"target": "initial"}]
)
def test_other_sites_and_targets(masked, changes):
    batch, is_masked = masked
    settings = dataclasses.replace(tiny.TRAINING, **changes)
    params = jax.tree.map(lambda x: 1.1 * x, _held().start)
    live = _forward(batch, is_masked, params=params)
    found = _forward(batch, is_masked, settings, params)
    assert np.isfinite(found.loss) and abs(found.loss - live.loss) > 1e-4
    made = tiny.make_objective(settings)
    if "target" in changes:
        clean = [
            patches.clean_cells(made, p, _held(), batch)
            for p in (params, _held().start)
        ]
        np.testing.assert_array_equal(*clean)
    else:
        cells = patches.masked_cells(made, params, _held(), batch, is_masked)
        clean = patches.clean_cells(made, params, _held(), batch)
        is_touched = jnp.any(is_masked.reshape(8, 7, 3, 2, 5, 2), (3, 5))
        is_same = np.all(np.isclose(cells, clean, atol=1e-5), axis=-1)
        np.testing.assert_array_equal(is_same, ~is_touched.reshape(8, 7, 15))
