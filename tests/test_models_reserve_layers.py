"""Positions, attention and pooling against formulas restated in numpy."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.model_tools import fast_jit, fill, normal

from mmdiffmask.models import backward
from mmdiffmask.models.reserve import layers, positions


@pytest.fixture(scope="module")
def attention():
    module = layers.SelfAttention(hidden=64, head_size=32, dtype=jnp.dtype("float32"))
    x, scale = normal(2, 5, 64), normal(1, 5, 32, seed=1)
    attend = (normal(2, 5, 5, seed=2) > -0.3).at[1, 3].set(False)
    bias = jnp.where(attend, 0.0, backward.NOT_ALLOWED)[:, None]
    params = fill(module, x, scale, bias)["params"]
    output = fast_jit(module.apply)({"params": params}, x, scale, bias)
    return params, (x, scale, attend), output


def test_centred_has_no_zero():
    assert positions.centred(4).tolist() == [-2, -1, 1, 2]
    assert positions.centred(5).tolist() == [-2, -1, 1, 2, 3]


def test_grid_coordinates_of_a_small_grid():
    found = positions.grid_coordinates(2, 3) * 4  # one scale: the longest side + 1
    expected = [[-1, -1], [-1, 1], [-1, 2], [1, -1], [1, 1], [1, 2]]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_position_scale_at_zero_flips_even_dimensions():
    found = positions.position_scale(jnp.zeros((1, 4)), 64)
    np.testing.assert_array_equal(found[0], [-1, 1] * 16 + [1] * 32)


@pytest.mark.parametrize("axes", [1, 2, 4])
def test_position_scale_is_the_formula(axes):
    coordinates = np.random.default_rng(axes).normal(size=(3, axes))
    count = 16 // axes
    frequency = 5.0 ** (np.arange(count) / (count - 1))
    angle = (np.pi * coordinates[..., None] * frequency).reshape(3, 16)
    expected = np.ones((3, 48))
    expected[:, 0:32:2] = np.sin(angle) - np.cos(angle)
    expected[:, 1:32:2] = np.sin(angle) + np.cos(angle)
    found = positions.position_scale(jnp.asarray(coordinates, jnp.float32), 48)
    np.testing.assert_allclose(found, expected, atol=3e-5)


def test_attention_is_the_formula(attention):
    params, (x, scale, attend), (found, weights) = attention
    qkv = np.einsum("bnd,dhs->bnhs", x, params["qkv"]["kernel"])
    qkv = qkv + np.asarray(params["qkv"]["bias"])
    query, key, value = np.split(qkv, 3, axis=2)
    query, key = query * scale[:, :, None], key * scale[:, :, None]
    logits = np.einsum("bqhs,bkhs->bhqk", query, key) / np.sqrt(32)
    logits = np.where(np.asarray(attend)[:, None], logits, -1e9)
    expected = np.exp(logits - logits.max(-1, keepdims=True))
    expected = expected / expected.sum(-1, keepdims=True)
    np.testing.assert_allclose(weights, expected, atol=1e-5)
    mixed = np.einsum("bhqk,bkhs->bqhs", expected, value)
    mixed = np.einsum("bqhs,hsd->bqd", mixed, params["attn_proj"]["kernel"])
    np.testing.assert_allclose(found, mixed, atol=1e-5)


def test_attention_equals_the_library(attention):
    params, (x, scale, attend), (found, _) = attention
    qkv = jnp.einsum("bnd,dhs->bnhs", x, params["qkv"]["kernel"])
    query, key, value = jnp.split(qkv + params["qkv"]["bias"][None, None], 3, axis=2)
    library = jax.nn.dot_product_attention(
        query * scale[:, :, None],
        key * scale[:, :, None],
        value,
        jnp.where(attend, 0.0, backward.NOT_ALLOWED)[:, None],
    )
    library = jnp.einsum("bqhs,hsd->bqd", library, params["attn_proj"]["kernel"])
    np.testing.assert_allclose(found, library, atol=1e-5)


def test_a_row_that_sees_nothing_is_uniform(attention):
    *_, (_, weights) = attention
    np.testing.assert_array_equal(weights[1, :, 3], np.full((2, 5), np.float32(0.2)))


def test_padding_changes_nothing_that_is_read():
    module = layers.Encoder(64, 32, 1, jnp.dtype("float32"))
    x = normal(2, 6, 64)
    coordinates = jnp.linspace(0.0, 1.0, 6)[None, :, None]
    is_valid = jnp.arange(6)[None] < jnp.array([[4], [0]])
    params = fill(module, x, coordinates, is_valid)
    encode = fast_jit(module.apply)
    found = encode(params, x, coordinates, is_valid)
    changed = encode(params, x + ~is_valid[..., None], coordinates, is_valid)
    np.testing.assert_array_equal(found.cls, changed.cls)
    np.testing.assert_array_equal(found.seq[0, :4], changed.seq[0, :4])
    short = encode(params, x[:1, :4], coordinates[:, :4], is_valid[:1, :4])
    np.testing.assert_allclose(found.cls[:1], short.cls, atol=1e-6)
    assert found.weights.shape == (2, 2, 7, 7)
    np.testing.assert_array_equal(found.weights[1, :, 0, 0], 1.0)  # CLS sees itself


def test_remat_changes_memory_and_nothing_else():
    x = normal(2, 4, 64)
    coordinates = jnp.linspace(0.0, 1.0, 4)[None, :, None]
    plain = layers.Encoder(64, 32, 1, jnp.dtype("float32"))
    remat = plain.clone(remat=True)
    params = fill(plain, x, coordinates)

    def loss(params, module):
        return jnp.mean(module.apply(params, x, coordinates).cls ** 2)

    gradients = [
        jax.tree.leaves_with_path(fast_jit(jax.grad(loss), static_argnums=1)(params, m))
        for m in (plain, remat)
    ]
    for (path, one), (other, two) in zip(*gradients, strict=True):
        assert path == other
        np.testing.assert_allclose(one, two, atol=1e-6)


def test_attention_pool_is_the_formula():
    module = layers.AttentionPool(hidden=64, head_size=32, dtype=jnp.dtype("float32"))
    x = normal(1, 2, 4, 64)
    params = fill(module, x)["params"]
    found = fast_jit(module.apply)({"params": params}, x)

    def split(name, x):
        kernel, bias = (np.asarray(params[name][k]) for k in ("kernel", "bias"))
        return np.einsum("...d,dhs->...hs", x, kernel) + bias

    query = split("query", np.asarray(x).mean(2))
    key, value = split("key", x), split("value", x)
    logits = np.einsum("bnhs,bnghs->bnhg", query, key) / np.sqrt(32)
    weights = np.asarray(nn.softmax(jnp.asarray(logits)))
    pooled = np.einsum("bnhg,bnghs->bnhs", weights, value)
    expected = np.einsum("bnhs,hsd->bnd", pooled, params["out"]["kernel"])
    expected = expected + np.asarray(params["out"]["bias"])
    np.testing.assert_allclose(found, expected, atol=1e-5)
