"""The contrast in blocks against the whole matrix, on one device and on eight."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import collectives
from mmdiffmask.training import clip_contrast, contrast_blocks
from mmdiffmask.training import mesh as meshes
from mmdiffmask.training.terms import cells

CLIPS, SLOTS, WIDTH = 8, 26, 16
HASH = np.array([5, 9, 5, 7, 1, 2, 7, 7], np.uint32)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 7 slots a clip, the last one padded, for every batch."""
    monkeypatch.setattr(contrast_blocks, "FROM", 0)
    monkeypatch.setattr(contrast_blocks, "MOST_SLOTS", 8)


def make(seed=0, spread=2.0):
    """Predicted and clean vectors; some equal, some slots empty anywhere."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(CLIPS, SLOTS, WIDTH)).astype(np.float32)
    y = (x + spread * rng.normal(size=x.shape)).astype(np.float32)
    y[1, 3:6], y[4, 20] = y[1, 3], y[1, 3]
    x[1, 3:6] = y[1, 3]
    is_row = rng.random((CLIPS, SLOTS)) < 0.7
    is_row[1, 3:6] = is_row[4, 20] = True
    is_row[6] = False
    return x, y, is_row


def run(x, y, is_row, log_scale):
    """Loss and all rows, and gradients of x, y and the scale."""

    def loss(x, y, log_scale):
        compared = cells.compare(x, y, is_row, HASH, log_scale)
        weight = jnp.arange(1.0, 1 + is_row.size)  # rows are not alike
        return compared.loss + compared.row_loss @ weight / 1e4, compared

    return jax.value_and_grad(loss, (0, 1, 2), has_aux=True)(x, y, log_scale)


def check(one, other, rtol=2e-5):
    (value, rows), grads = one
    (other_value, other_rows), other_grads = other
    np.testing.assert_allclose(value, other_value, rtol=rtol)
    for name, row in rows._asdict().items():
        np.testing.assert_allclose(row, getattr(other_rows, name), rtol, 1e-5, name)
    for a, b in zip(grads, other_grads, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max())


@pytest.mark.parametrize("log_scale", [0.0, 3.0, 9.0])
def test_blocks_are_the_whole(small_blocks, monkeypatch, log_scale):
    problem = (*make(), np.float32(log_scale))
    in_blocks = jax.jit(lambda *args: run(*args))(*problem)
    monkeypatch.setattr(contrast_blocks, "FROM", CLIPS * SLOTS + 1)
    whole = jax.jit(lambda *args: run(*args))(*problem)
    check(in_blocks, whole)
    (_, rows), (x_grad, y_grad, _) = in_blocks
    assert not y_grad.any() and not x_grad[~problem[2]].any()
    assert x_grad[problem[2]].any(axis=-1).all() or log_scale == 9.0
    np.testing.assert_array_equal(rows.is_hit, whole[0][1].is_hit)
    share = rows.is_hit.reshape(CLIPS, SLOTS)[1, 3:6]
    np.testing.assert_allclose(share, 0.25)  # of three in the clip, one elsewhere
    own = rows.is_hit_in_clip.reshape(CLIPS, SLOTS)[1, 3:6]
    np.testing.assert_allclose(own, 1 / 3)


def test_columns_are_far_below_the_largest_logit(small_blocks):
    """exp(-200) is 0 in float32; a column of nothing but such logits has its sum."""
    x = np.ones((CLIPS, SLOTS, 2), np.float32)
    y = x.copy()
    y[:, 0] = -1.0
    is_row = np.ones((CLIPS, SLOTS), bool)
    (_, rows), _ = run(x, y, is_row, np.float32(9.0))
    loss = rows.row_loss.reshape(CLIPS, SLOTS)
    others = [np.sum((HASH != h) | (np.arange(CLIPS) == i)) for i, h in enumerate(HASH)]
    back = np.log(np.array(others) * SLOTS)
    forth = 200 + np.log(np.array(others) * (SLOTS - 1))
    np.testing.assert_allclose(loss[:, 0], (forth + back) / 2, rtol=1e-5)


def test_slots_behind_the_last_filled_one_are_not_visited(small_blocks):
    x, y, is_row = make()
    is_row[:, 14:] = False
    is_row[1, 3] = True
    before = run(x, y, is_row, np.float32(2.0))
    unseen = x.copy(), y.copy()
    for values in unseen:
        values[:, 14:] = np.nan
    slots = clip_contrast.Slots(*unseen, is_row, HASH[:, None] != HASH[None])
    slots = slots._replace(may_compare=slots.may_compare | np.eye(CLIPS, dtype=bool))

    def loss(x):
        rows = contrast_blocks.compare(slots._replace(x=x), jnp.float32(1.0))
        return jnp.sum(rows.forth + rows.back)

    value, grad = jax.value_and_grad(loss)(jnp.asarray(unseen[0]))
    assert np.isfinite(value) and np.isfinite(grad).all() and before[0][0] > 0


def test_nothing_to_predict_is_zero(small_blocks):
    x, y, _ = make()
    nothing = np.zeros((CLIPS, SLOTS), bool)
    (value, rows), grads = run(x, y, nothing, np.float32(2.0))
    assert value == 0 and not rows.is_hit.any()
    assert all(np.all(grad == 0) for grad in grads)


def test_no_matrix_of_all_rows_is_kept():
    shape = (8, 504, 16)
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    step = jax.jit(run).lower(x, x, jax.ShapeDtypeStruct(shape[:2], bool), 2.0)
    kept = step.compile().memory_analysis().temp_size_in_bytes
    assert kept < 16e6 < 4 * (8 * 504) ** 2


@pytest.mark.parametrize("start", [0, 10_000])
def test_eight_devices_are_one_and_send_little(small_blocks, monkeypatch, start):
    """Each sends its y and a few numbers a row, outside of loops."""
    monkeypatch.setattr(contrast_blocks, "FROM", start)
    problem = (*make(), np.float32(2.0))
    mesh = meshes.make(8)
    cut, same = meshes.by_example(mesh), meshes.replicated(mesh)
    on_eight = jax.jit(
        meshes.within(mesh, functools.partial(run)),
        in_shardings=(cut, cut, cut, same),
    )
    compiled = on_eight.lower(*problem).compile()
    seen = collectives.read(compiled.as_text())
    assert {one.kind for one in seen} <= {"all-gather", "all-reduce"}
    rows = CLIPS * SLOTS
    assert sum(one.size * one.count for one in seen) < 4 * rows * (WIDTH + 16)
    placed = [jax.device_put(v, cut) for v in problem[:3]]
    check(on_eight(*placed, problem[3]), jax.jit(lambda *args: run(*args))(*problem))
