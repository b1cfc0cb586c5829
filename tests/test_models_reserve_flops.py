"""FLOP of the model's parts against the reference's, and against the compiler."""

import jax
import jax.numpy as jnp
import pytest

from mmdiffmask import config
from mmdiffmask.grid import PatchGrid
from mmdiffmask.models.reserve import flops, towers

# reserve.md section 7: G FLOPs of one frame by model and patches.
FRAME = [("base", 240, 44.07), ("base", 576, 112.7), ("large", 240, 152.9)]


@pytest.mark.parametrize("name, patches, expected", FRAME)
def test_a_frame_costs_what_the_reference_counts(name, patches, expected):
    frame = flops.vision(config.MODELS[name], patches) / 1e9
    assert frame == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("tokens, expected", [(640, 123.8), (676, 131.7)])
def test_a_joint_sequence_costs_what_the_reference_counts(tokens, expected):
    sequence = flops.joint(config.MODELS["base"], tokens) / 1e9
    assert sequence == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("name, sound, text", [("base", 5.39, 0.91)])
def test_sound_and_spans_cost_what_the_reference_counts(name, sound, text):
    size = config.MODELS[name]
    assert flops.audio(size) / 1e9 == pytest.approx(sound, rel=2e-3)
    assert flops.span(size) / 1e9 == pytest.approx(text, rel=5e-3)


def test_large_differs_from_base_where_it_should():
    assert flops.audio(config.MODELS["large"]) / 1e9 == pytest.approx(9.57, rel=2e-3)
    assert flops.span(config.MODELS["large"]) / 1e9 == pytest.approx(1.62, rel=5e-3)
    assert flops.head(config.MODELS["base"], 3) == 3 * 2 * 768 * 768


def test_the_compiler_counts_as_much():
    """It also counts norms, gelu and softmax, which are few beside 128 channels."""
    size, grid = config.MODELS["small"], PatchGrid(4, 6)
    tower = towers.VisionTower(size)
    patches = jax.ShapeDtypeStruct((1, 24, towers.PATCH_VALUES), jnp.float32)
    params = jax.eval_shape(
        lambda key, x: tower.init(key, x, grid), jax.random.key(0), patches
    )
    lowered = jax.jit(lambda p, x: tower.apply(p, x, grid)).lower(params, patches)
    counted = lowered.cost_analysis()["flops"]
    assert flops.vision(size, 24) == pytest.approx(counted, rel=0.06)
    assert flops.vision(size, 24) < counted
