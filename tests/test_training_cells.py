"""The contrastive patch loss against its formula in numpy, and its laws."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmdiffmask import grid
from mmdiffmask.masking import budget as budgets
from mmdiffmask.models.reserve import layers
from mmdiffmask.training import mesh as meshes
from mmdiffmask.training.terms import cells as cells_lib

contrast = jax.jit(cells_lib.compare)
CLIPS = np.array([5, 9, 5, 7], np.uint32)  # examples 0 and 2 share a clip


@pytest.fixture
def cells():
    rng = np.random.default_rng(0)
    prediction = rng.normal(size=(4, 3, 8)).astype(np.float32)
    target = (prediction + rng.normal(size=(4, 3, 8))).astype(np.float32)
    is_row = np.array([[1, 1, 0], [1, 1, 1], [1, 0, 0], [1, 1, 1]], bool)
    return prediction, target, is_row


def _unit(x):
    return x / np.sqrt((x**2).sum() + 1e-5)


def _restated(prediction, target, is_row, log_scale):
    """Row by row: loss, number of candidates, hit, hit among the clip's own."""
    places = [(e, s) for e, s in np.ndindex(is_row.shape) if is_row[e, s]]
    scale = np.exp(min(log_scale, np.log(100)))

    def logit(i, j):
        return scale * _unit(prediction[i]) @ _unit(target[j])

    rows = {}
    for i in places:
        allowed = [j for j in places if j[0] == i[0] or CLIPS[j[0]] != CLIPS[i[0]]]
        forth = np.log(sum(np.exp(logit(i, j)) for j in allowed)) - logit(i, i)
        back = np.log(sum(np.exp(logit(j, i)) for j in allowed)) - logit(i, i)
        own = [j for j in allowed if j[0] == i[0]]
        is_hit = all(logit(i, i) > logit(i, j) for j in allowed if j != i)
        is_own = all(logit(i, i) > logit(i, j) for j in own if j != i)
        rows[i] = ((forth + back) / 2, len(allowed), is_hit, is_own)
    return rows


@pytest.mark.parametrize("log_scale", [0.0, 3.0, 6.0])
def test_contrast_equals_the_formula(cells, log_scale):
    found = contrast(*cells, CLIPS, jnp.float32(log_scale))
    wanted = _restated(*cells, log_scale)
    for (e, s), (loss, count, is_hit, is_own) in wanted.items():
        r = 3 * e + s
        np.testing.assert_allclose(found.row_loss[r], loss, rtol=2e-4, atol=2e-5)
        np.testing.assert_allclose(found.row_log_candidates[r], np.log(count), 1e-6)
        assert found.is_hit[r] == is_hit and found.is_hit_in_clip[r] == is_own
    assert np.array_equal(found.is_row, cells[2].reshape(-1))
    mean = np.mean([row[0] for row in wanted.values()])
    np.testing.assert_allclose(found.loss, mean, rtol=2e-4)
    assert {bool(row[2]) for row in wanted.values()} == {True, False}


def test_eight_devices_equal_one():
    """The batch is cut over devices, yet all its cells are candidates."""
    rng = np.random.default_rng(3)
    arrays = (
        rng.normal(size=(8, 3, 4)).astype(np.float32),
        rng.normal(size=(8, 3, 4)).astype(np.float32),
        rng.random((8, 3)) < 0.7,
        np.arange(8, dtype=np.uint32) // 2,
    )

    def loss(x, *rest):
        found = contrast(x, *rest, jnp.float32(2.0))
        return found.loss, (found.is_hit, found.row_log_candidates)

    found = []
    for count in (1, 8):
        mesh = meshes.make(8, jax.devices()[:count])
        cut = meshes.by_example(mesh)
        step = jax.jit(
            jax.value_and_grad(loss, has_aux=True),
            in_shardings=cut,
            out_shardings=meshes.replicated(mesh),
        )
        found.append(jax.device_get(step(*arrays)))
    for a, b in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_slots_without_a_row_change_nothing(cells):
    prediction, target, is_row = cells
    before = contrast(*cells, CLIPS, jnp.float32(3.0))
    noise = 100 * np.random.default_rng(1).normal(size=prediction.shape)
    empty = ~is_row[..., None]
    prediction = np.where(empty, noise, prediction).astype(np.float32)
    target = np.where(empty, noise, target).astype(np.float32)
    after = contrast(prediction, target, is_row, CLIPS, jnp.float32(3.0))
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)


def test_windows_of_one_clip_are_not_each_others_candidates(cells):
    prediction, target, is_row = cells
    before = contrast(*cells, CLIPS, jnp.float32(3.0))
    target = target.copy()
    target[2] = prediction[0, 0]  # the perfect distractor, were it a candidate
    after = contrast(prediction, target, is_row, CLIPS, jnp.float32(3.0))
    np.testing.assert_array_equal(before.is_hit[:3], after.is_hit[:3])
    np.testing.assert_allclose(before.row_loss[:2], after.row_loss[:2], rtol=1e-6)
    apart = np.arange(4, dtype=np.uint32)
    apart = contrast(prediction, target, is_row, apart, jnp.float32(3.0))
    assert not apart.is_hit[0]


def test_order_of_examples_and_length_of_vectors_do_not_matter(cells):
    order = np.array([2, 0, 3, 1])
    before = contrast(*cells, CLIPS, jnp.float32(2.0))
    shuffled = [x[order] for x in cells]
    after = contrast(*shuffled, CLIPS[order], jnp.float32(2.0))
    np.testing.assert_allclose(before.loss, after.loss, rtol=1e-6)
    longer = contrast(50 * cells[0], 9 * cells[1], cells[2], CLIPS, jnp.float32(2.0))
    np.testing.assert_allclose(before.loss, longer.loss, rtol=1e-4)


def test_no_gradient_through_targets_or_empty_slots(cells):
    def loss(prediction, target):
        return contrast(prediction, target, cells[2], CLIPS, jnp.float32(2.0)).loss

    of_prediction, of_target = jax.grad(loss, (0, 1))(*map(jnp.asarray, cells[:2]))
    assert not np.any(of_target)
    assert not np.any(of_prediction[~cells[2]])
    assert np.all(np.any(of_prediction[cells[2]], axis=-1))


def test_nothing_to_predict_is_a_finite_loss(cells):
    nothing = np.zeros_like(cells[2])
    found = contrast(*cells[:2], nothing, CLIPS, jnp.float32(2.0))
    assert found.loss == 0 and not found.is_hit.any()
    gradient = jax.grad(
        lambda x: contrast(x, cells[1], nothing, CLIPS, jnp.float32(2.0)).loss
    )(jnp.asarray(cells[0]))
    assert np.all(gradient == 0)


def test_cases_of_equal_features_count_as_their_share():
    same = np.ones((2, 2, 4), np.float32)
    clips = np.array([1, 2], np.uint32)
    found = contrast(same, same, np.ones((2, 2), bool), clips, jnp.float32(1))
    np.testing.assert_array_equal(found.is_hit, 0.25)
    np.testing.assert_array_equal(found.is_hit_in_clip, 0.5)
    np.testing.assert_allclose(found.row_loss, np.log(4.0), rtol=1e-5)


def test_choose_cells_table():
    patch_grid = grid.PatchGrid(2, 4)  # two cells: patches 0 1 4 5 and 2 3 6 7
    is_masked = np.zeros((1, 2, 8), bool)
    is_masked[0, 0, [0, 1, 4]] = True  # cell 0 of frame 0, but patch 5 is no picture
    is_masked[0, 1, 2] = True  # cell 3: one of four
    is_masked[0, 0, 7] = True  # not picture: touches nothing
    is_valid = np.ones((1, 2, 8), bool)
    is_valid[0, 0, [5, 7]] = False
    of_patch = grid.cell_of_patch(patch_grid)
    found = cells_lib.choose_cells(is_masked, is_valid, of_patch, 2, 3)
    assert found.index[0, :2].tolist() == [0, 3]
    assert found.is_row.tolist() == [[True, True, False]]
    assert found.is_hidden.tolist() == [[True, False, False]]
    assert found.dropped.tolist() == [0]
    found = cells_lib.choose_cells(is_masked, is_valid, of_patch, 2, 1)
    assert found.index.tolist() == [[0]] and found.dropped.tolist() == [1]


def test_max_cells_table():
    assert cells_lib.max_cells(0.25, "cell", 420, 105) == 26
    assert cells_lib.max_cells(0.25, "patch", 420, 105) == 105
    assert cells_lib.max_cells(0.01, "patch", 420, 105) == 4
    assert cells_lib.max_cells(0.01, "cell", 12, 3) == 1


def test_take_cells_takes_frame_major():
    features = jnp.arange(1 * 2 * 3 * 1.0).reshape(1, 2, 3, 1)
    taken = cells_lib.take_cells(features, jnp.array([[4, 0]]))
    assert taken[0, :, 0].tolist() == [4.0, 0.0]


def test_copy_is_the_mean_of_other_valid_frames():
    clean = np.array([1.0, 3.0, 8.0, 100.0], np.float32).reshape(1, 4, 1, 1)
    is_valid = np.array([1, 1, 1, 0], bool).reshape(1, 4, 1)
    found = cells_lib.copy_queries(clean, is_valid)[0, :, 0, 0]
    np.testing.assert_allclose(found, [5.5, 4.5, 2.0, 4.0])
    alone = cells_lib.copy_queries(clean[:, :1], is_valid[:, :1])
    assert alone.item() == 0.0


def test_unit_normalize_keeps_the_released_epsilon():
    x = np.array([[3.0, 4.0], [0.0, 0.0], [1e-3, 0.0]], np.float32)
    wanted = x / np.sqrt((x**2).sum(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(layers.unit_normalize(x), wanted, rtol=1e-6)


def test_cases_of_slots_against_the_budget_of_any_ratio():
    ratios = np.concatenate(
        [np.arange(1, 96) / 100, np.random.default_rng(0).uniform(0.01, 0.95, 200)]
    )
    valid = np.arange(1, 421)
    halves = 0
    for ratio in ratios.tolist():
        most = [cells_lib.max_cells(ratio, "cell", 4 * n, n) for n in valid.tolist()]
        budget = functools.partial(budgets.token_budget, ratio)
        found = np.asarray(jax.vmap(budget)(valid))
        np.testing.assert_array_equal(most, found)  # all valid: exactly the budget
        assert np.all(np.diff(most) >= 0)  # fewer valid ones never need more
        halves += sum(round(ratio * n) != m for n, m in zip(valid, most, strict=True))
    assert halves  # where Python's own rounding gave another number
