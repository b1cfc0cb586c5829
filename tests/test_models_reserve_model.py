"""The model's own laws; test_benchmarks_parity.py compares it with the reference."""

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from helpers.model_tools import fast_jit, normal

from benchmarks.golden import folder
from mmdiffmask import config
from mmdiffmask.grid import PatchGrid
from mmdiffmask.models.reserve import joining
from mmdiffmask.models.reserve import model as reserve

TINY, SMALL, BASE, LARGE = (
    config.MODELS[name] for name in ("tiny", "small", "base", "large")
)
GRID = PatchGrid(4, 6)


@pytest.fixture(scope="module")
def golden(shared):
    return folder.Golden(shared / "golden/reserve")


@pytest.fixture(scope="module")
def params():
    return reserve.init(jax.random.key(0), TINY, GRID, 2, 1, 16)


@pytest.fixture(scope="module")
def patches():
    return 0.5 + normal(2, 3, GRID.n_patches, 768, spread=0.2)


def apply(params, method, *args, **kwargs):
    model = reserve.Reserve(TINY)
    return model.apply({"params": params}, *args, method=method, **kwargs)


def run(params, method, *args, **kwargs):
    return fast_jit(lambda params: apply(params, method, *args, **kwargs))(params)


def test_parameter_tree_is_the_checkpoints(golden):
    model = golden.model.settings
    ours = jax.eval_shape(
        lambda key: reserve.init(key, model, GRID, 2, 3, 40), jax.random.key(0)
    )
    ours, theirs = (traverse_util.flatten_dict(t) for t in (ours, golden.params))
    assert {k: v.shape for k, v in ours.items()} == {
        k: v.shape for k, v in theirs.items()
    }
    assert all(value.dtype == jnp.float32 for value in ours.values())


@pytest.mark.parametrize(
    ("settings", "count", "leaves"),
    [(BASE, 316_412_163, 449), (LARGE, 853_117_955, 689)],
    ids=["base", "large"],
)
def test_counts_are_the_published_ones(settings, count, leaves):
    shapes = jax.eval_shape(
        lambda key: reserve.init(key, settings, PatchGrid(2, 2), 1, 1, 2),
        jax.random.key(0),
    )
    shapes = jax.tree.leaves(shapes)
    assert sum(x.size for x in shapes) == count
    assert len(shapes) == leaves


def test_small_fits_in_8_megabytes():
    shapes = jax.eval_shape(
        lambda key: reserve.init(key, SMALL, PatchGrid(6, 10), 7, 1, 64),
        jax.random.key(0),
    )
    stored = jax.tree.map(lambda x: np.zeros(x.shape, np.float16), shapes)
    size = len(flax.serialization.msgpack_serialize({"step": 0, "params": stored}))
    assert 3e6 < size <= 8e6


def test_masked_patches_leave_no_trace(params, patches):
    is_masked = normal(*patches.shape[:-1], seed=1) > 0.5
    noise = normal(*is_masked.shape, TINY.hidden, seed=2)
    other = jnp.where(is_masked[..., None], 1.0 - patches, patches)

    @fast_jit
    def encode(x, noise):
        return apply(params, "vision", x, GRID, is_masked, noise)

    for one, two in zip(encode(patches, noise), encode(other, noise), strict=True):
        np.testing.assert_array_equal(one, two)
    embedded = run(params, "embed_patches", patches)
    kept = encode(patches, embedded)  # replaced by themselves
    clean = run(params, "vision", patches, GRID)
    np.testing.assert_allclose(kept.seq, clean.seq, atol=1e-6)
    assert not np.allclose(clean.seq, encode(patches, noise).seq, atol=1e-3)


def test_vision_alone_and_invalid_frames(params, patches):
    cells = run(params, "vision", patches, GRID).seq_attnpool
    count = cells.shape[2]
    is_valid = jnp.array([[True, True, False]] * 2)

    @fast_jit
    def vision(cells):
        part = joining.VisionPart(cells, None, is_valid)
        return apply(params, "joint", vision=part, grid=GRID)

    out = vision(cells)
    assert out.text is None
    assert out.vision.shape == (2, 3 * count, TINY.hidden)
    two_frames = joining.VisionPart(cells[:, :2])
    alone = run(params, "joint", vision=two_frames, grid=GRID)
    np.testing.assert_allclose(out.vision[:, : 2 * count], alone.vision, atol=1e-5)
    changed = vision(cells.at[:, 2].add(1.0))
    np.testing.assert_array_equal(
        out.vision[:, : 2 * count], changed.vision[:, : 2 * count]
    )
    assert np.isfinite(out.seq).all()


def test_parts_of_the_output_are_the_sequence(params, patches):
    cells = run(params, "vision", patches, GRID).seq_attnpool
    text = joining.TextPart(jnp.full((2, 5), 9), jnp.ones((2, 5), int))
    parts = {"text": text, "vision": joining.VisionPart(cells)}
    out = run(params, "joint", **parts, grid=GRID, length=30)
    assert out.seq.shape[1] == 30
    np.testing.assert_array_equal(out.text, out.seq[:, :5])
    np.testing.assert_array_equal(out.vision, out.seq[:, 5:23])


def test_gradients_are_finite_with_rows_that_see_nothing(params):
    text = joining.TextPart(jnp.array([[7, 8, 0, 0], [0, 0, 0, 0]]))

    def loss(params):
        return jnp.sum(apply(params, "joint", text).text[0, :2] ** 2)

    gradients = jax.tree.leaves(fast_jit(jax.grad(loss))(params))
    assert all(np.isfinite(g).all() for g in gradients)


def test_wrong_sizes_are_named(params, patches):
    with pytest.raises(ValueError, match="24 patches do not fill a grid of 6x6"):
        run(params, "vision", patches, PatchGrid(6, 6))
    with pytest.raises(ValueError, match="needs text, vision or both"):
        run(params, "joint")
    with pytest.raises(ValueError, match="at most 15 fit"):
        run(params, "span", jnp.ones((1, 16), int))
    text = joining.TextPart(jnp.ones((1, 4), int))
    with pytest.raises(ValueError, match="4 positions do not fit in length=3"):
        run(params, "joint", text, length=3)
    part = joining.VisionPart(jnp.zeros((1, 1, 5, TINY.hidden)))
    with pytest.raises(ValueError, match="5 cells a frame do not fill"):
        run(params, "joint", vision=part, grid=GRID)
