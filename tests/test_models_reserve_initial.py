"""Initial values: spreads by fan-in, reproducibility, centred pixels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from mmdiffmask import config
from mmdiffmask.grid import PatchGrid
from mmdiffmask.models.reserve import initial
from mmdiffmask.models.reserve import model as reserve

SIZES = config.Model(
    hidden=128,
    vision_layers=1,
    audio_layers=1,
    span_layers=1,
    joint_layers=1,
    vocabulary=256,
    scale_init=3.0,
)


def init(seed=0, mean_patch=None):
    key = jax.random.key(seed)
    return reserve.init(key, SIZES, PatchGrid(4, 6), 2, 1, 8, "reserve", mean_patch)


@pytest.fixture(scope="module")
def flat():
    return traverse_util.flatten_dict(init(), sep="/")


@pytest.mark.parametrize(
    ("name", "expected"),
    [  # half widths of the truncated normal's support over 2 (reserve.md section 2.7)
        ("vision_encoder/embedding/kernel", 0.02 / 2**0.5),
        ("audio_encoder/embedding/kernel", 0.02 / 2**0.5),
        ("joint_transformer/layer_00/attention_layer/qkv/kernel", 0.02 / 2**0.5),
        ("span_encoder/transformer/layer_00/mlp_layer/out/kernel", 0.02 / 2**0.5),
        ("vision_encoder/seq_attnpool/query/kernel", 128**-0.5 / 0.8796),
        ("audio_encoder/seq_attnpool/out/kernel", 128**-0.5 / 0.8796),
    ],
)
def test_kernels_are_truncated_normals(flat, name, expected):
    values = np.asarray(flat[name])
    assert np.abs(values).max() <= 2.0 * expected * 1.001
    np.testing.assert_allclose(values.std(), 0.8796 * expected, rtol=0.05)


@pytest.mark.parametrize(
    ("initialiser", "spread"),
    [("reserve", 0.8796 * 18 / 3072 / 2**0.5), ("lecun", 3072**-0.5)],
)
def test_wide_inputs_get_narrow_kernels(initialiser, spread):
    shapes = {"mlp_layer": {"out": {"kernel": jax.ShapeDtypeStruct((3072, 64), float)}}}
    found = initial.draw(jax.random.key(0), shapes, 1.0, initialiser)
    np.testing.assert_allclose(
        found["mlp_layer"]["out"]["kernel"].std(), spread, rtol=0.01
    )


def test_vectors_biases_and_scales(flat):
    for name, value in flat.items():
        assert value.dtype == jnp.float32, name
        last = name.rpartition("/")[2]
        if last in ("cls", "embedding"):
            np.testing.assert_allclose(value.std(), 0.02, rtol=0.3)
        elif last in ("bias", "scale"):
            np.testing.assert_array_equal(value, float(last == "scale"))
    np.testing.assert_array_equal(flat["contrastive_scales"], 3.0)


def test_leaves_are_not_copies_of_one_another(flat):
    kernels = [
        np.asarray(v).ravel()[:100] for k, v in flat.items() if k.endswith("kernel")
    ]
    assert len({k.tobytes() for k in kernels}) == len(kernels)


def test_the_key_decides():
    one, again, other = init(0), init(0), init(1)
    for a, b in zip(*map(jax.tree.leaves, (one, again)), strict=True):
        np.testing.assert_array_equal(a, b)
    head = [tree["head"]["kernel"] for tree in (one, other)]
    assert not np.allclose(*head)


def test_mean_patch_embeds_to_nothing():
    mean = np.linspace(0.2, 0.8, 768, dtype=np.float32)
    plain, centred = init(), init(mean_patch=mean)
    embedding = centred["vision_encoder"]["embedding"]
    kernel = np.asarray(embedding["kernel"])
    np.testing.assert_allclose(mean @ kernel + embedding["bias"], 0.0, atol=1e-5)
    np.testing.assert_allclose(
        kernel, 4 * plain["vision_encoder"]["embedding"]["kernel"]
    )


def test_an_odd_grid_is_refused_before_a_run():
    grid = PatchGrid(3, 6, pool=3)
    with pytest.raises(ValueError, match="whose sides must be even"):
        reserve.init(jax.random.key(0), SIZES, grid, 2, 1, 8)
