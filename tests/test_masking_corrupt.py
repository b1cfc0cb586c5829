"""Noise in place of hidden patches."""

import jax
import jax.numpy as jnp
import numpy as np

from mmdiffmask.masking import corrupt


def test_moments_of_parts_are_those_of_the_whole():
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(6, 50, 3)) * [1, 10, 0.1] + [0, 500, -3]).astype("f4")
    valid = rng.random((6, 50)) < 0.6
    valid[2] = False
    moments = corrupt.no_moments(3)
    assert moments.sd.tolist() == [0, 0, 0]
    for part, is_valid in zip(values, valid, strict=True):
        moments = corrupt.add_moments(moments, part, is_valid)
    np.testing.assert_allclose(moments.mean, values[valid].mean(0), 1e-5, 1e-6)
    np.testing.assert_allclose(moments.sd, values[valid].std(0), 1e-4)
    assert moments.count == valid.sum()


def test_noise_has_the_moments_and_depends_on_seed_and_example():
    mean, sd = jnp.array([0.0, 5.0]), jnp.array([1.0, 0.1])
    key = corrupt.noise_key(jax.random.key(0), jnp.uint32(9))
    drawn = np.asarray(corrupt.noise(key, mean, sd, 4000))
    np.testing.assert_allclose(drawn.mean(0), mean, atol=0.06)
    np.testing.assert_allclose(drawn.std(0), sd, rtol=0.05)
    np.testing.assert_array_equal(drawn, corrupt.noise(key, mean, sd, 4000))
    for other in (corrupt.noise_key(jax.random.key(1), jnp.uint32(9)),
                  corrupt.noise_key(jax.random.key(0), jnp.uint32(8))):  # fmt: skip
        assert (np.asarray(corrupt.noise(other, mean, sd, 4000)) != drawn).all()
