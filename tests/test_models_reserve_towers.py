"""Cells, CLS attention and leading axes of the towers."""

import jax.numpy as jnp
import numpy as np
import pytest
from helpers.model_tools import fast_jit, fill, normal

from mmdiffmask import config
from mmdiffmask.grid import PatchGrid
from mmdiffmask.models.reserve import towers

TINY = config.Model(
    hidden=64,
    head_size=32,
    vision_layers=2,
    audio_layers=1,
    span_layers=1,
    joint_layers=1,
    vocabulary=32,
)

GRID = PatchGrid(2, 4)


def test_cells_group_two_by_two():
    patches = jnp.arange(8.0).reshape(1, 8, 1)
    found = towers.cells_of(patches, GRID)[0, :, :, 0]
    assert found.tolist() == [[0, 1, 4, 5], [2, 3, 6, 7]]


@pytest.fixture(scope="module")
def vision():
    tower = towers.VisionTower(TINY)
    patches = normal(2, 3, 8, 12)
    return tower, fill(tower, patches, GRID, spread=0.2), patches


def test_vision_attention_is_the_last_layers(vision):
    tower, params, patches = vision
    attend = fast_jit(lambda p: tower.apply(p, patches, GRID, method="with_attention"))
    same, found = attend(params)
    assert found.shape == (2, 3, 8)
    _, inside = fast_jit(
        lambda p: tower.apply(
            p, patches, GRID, capture_intermediates=True, mutable="intermediates"
        )
    )(params)
    layer = inside["intermediates"]["transformer"]["layer_01"]
    weights = layer["attention_layer"]["__call__"][0][1]
    expected = weights.reshape(2, 3, 2, 9, 9)[..., 0, 1:].mean(2)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    plain = fast_jit(lambda p: tower.apply(p, patches, GRID))(params)
    for one, other in zip(same, plain, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (found.sum(-1) < 1.0).all()
    assert np.std(found) > 1e-3


def test_every_frame_is_encoded_by_itself(vision):
    tower, params, patches = vision
    encode = fast_jit(lambda p: tower.apply(params, p, GRID))
    together, alone = encode(patches), encode(patches[1, 2])
    for many, one in zip(together, alone, strict=True):
        np.testing.assert_allclose(many[1, 2], one, atol=1e-5)


def test_sound_keeps_its_leading_axes():
    tower = towers.AudioTower(TINY)
    sound = normal(2, 3, 60, 65)
    params = fill(tower, sound)
    out = fast_jit(tower.apply)(params, sound)
    assert out.cls.shape == (2, 3, 64)
    assert out.seq.shape == (2, 3, 30, 64)
    assert out.seq_attnpool.shape == (2, 3, 6, 64)
    assert params["params"]["embedding"]["kernel"].shape == (2, 65, 64)


def test_an_odd_grid_is_refused(vision):
    tower, params, patches = vision
    with pytest.raises(ValueError, match="grid of 8x1, whose sides must be even"):
        tower.apply(params, patches, PatchGrid(8, 1, pool=1))
