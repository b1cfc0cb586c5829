"""Reserve's 16-bit moments: golden bits, bounds, and one Adam in numpy."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest

from mmdiffmask.training import half_moments

BFLOAT16 = ml_dtypes.bfloat16
SECOND_MOMENTS = st.floats(1e-12, 1e4)


def _bits(x):
    return np.asarray(x).view(np.uint16)


def _golden(shared, name):
    with np.load(shared / "golden" / "reserve" / f"{name}.npz") as file:
        return dict(file)


def _both(function):
    return (function, jax.jit(function))


@pytest.mark.parametrize("jitted", [False, True])
def test_second_moment_has_the_reference_bits(shared, jitted):
    z = _golden(shared, "opt_parts")
    encode = _both(half_moments.encode_second_moment)[jitted]
    decode = _both(half_moments.decode_second_moment)[jitted]
    np.testing.assert_array_equal(_bits(encode(z["nu_in"])), z["nu_bf16_bits"])
    found = decode(z["nu_bf16_bits"].view(BFLOAT16))
    np.testing.assert_array_equal(found, z["nu_decoded"])


@pytest.mark.parametrize("name, dtype", [("bf16", BFLOAT16), ("f16", np.float16)])
def test_casts_have_the_reference_bits(shared, name, dtype):
    z = _golden(shared, "misc")
    half = half_moments.to_half(z["cast_in_f32"], dtype)
    np.testing.assert_array_equal(_bits(half), z[f"cast_{name}_bits"])
    back = np.asarray(half.astype(jnp.float32))
    np.testing.assert_array_equal(back, z[f"cast_{name}_back_f32"])


def test_casts_of_all_kinds_of_numbers_round_to_nearest_even():
    low = [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF]
    bits = (np.arange(0x10000, dtype=np.uint32)[:, None] << 16) + np.uint32(low)
    x = bits.view(np.float32)  # every sign, exponent, mantissa; NaN; infinity
    with np.errstate(invalid="ignore"):
        wanted = x.astype(BFLOAT16)
    for cast in _both(half_moments.to_half):
        found = np.asarray(cast(x))
        is_nan = np.isnan(x)
        np.testing.assert_array_equal(_bits(found)[~is_nan], _bits(wanted)[~is_nan])
        assert np.isnan(found.astype(np.float32)[is_nan]).all()


def test_rounding_survives_compilation():
    """XLA may drop a cast there and back; then nothing would be rounded."""
    x = np.float32([1.00001, -3.3333333, 1e-20])
    wanted = x.astype(BFLOAT16).astype(np.float32)
    np.testing.assert_array_equal(jax.jit(half_moments.rounded)(x), wanted)
    trip = jax.jit(lambda x: half_moments.to_half(x).astype(jnp.float32))
    np.testing.assert_array_equal(trip(x), wanted)


@pytest.mark.parametrize(
    "cube, encoded",
    [
        (1.0, 1.0),
        (1 + 2 / 1024, -1.0),  # as far as the sign bit reaches
        (1 + 3 / 1024, -1.0),
        (1 + 5 / 1024, 1 + 8 / 1024),  # the next bfloat16
        (1 + 8 / 1024, 1 + 8 / 1024),
        (1 + 10 / 1024, -(1 + 8 / 1024)),
    ],
)
def test_second_moment_table(cube, encoded):
    found = half_moments.encode_second_moment(np.float32([np.cbrt(cube)]))
    assert float(found[0]) == encoded


@hypothesis.settings(deadline=None)
@hypothesis.given(SECOND_MOMENTS)
def test_second_moment_comes_back_within_its_bound(nu):
    coded = half_moments.encode_second_moment(np.float32([nu]))
    back = float(half_moments.decode_second_moment(coded)[0])
    assert abs(back / nu - 1) < 0.0014  # (1 + 2^-8)^(1/3) - 1, and float32's own


@hypothesis.settings(deadline=None)
@hypothesis.given(st.lists(SECOND_MOMENTS, min_size=2, max_size=2), st.floats(0, 1e-3))
def test_second_moments_keep_their_order(pair, step):
    nu = np.sort(np.float32([*pair, pair[0] * (1 + step), 0.0]))
    coded = half_moments.encode_second_moment(nu)
    assert np.all(np.diff(half_moments.decode_second_moment(coded)) >= 0)


def test_second_moment_beyond_its_range():
    coded = half_moments.encode_second_moment(np.float32([0, 1e-14, 1e13, np.inf]))
    back = half_moments.decode_second_moment(coded)
    assert back.tolist() == [0, 0, np.inf, np.inf]


def _restated(grads, b1, b2, eps, bias_correction):
    """Directions of Adam with half moments, in numpy's float32."""
    third, shift = np.float32(1 / 3), np.float32(1 + 2.0**-9)
    m, s = np.zeros(grads[0].shape, BFLOAT16), np.zeros(grads[0].shape, BFLOAT16)
    for t, g in enumerate(grads, 1):
        cube = np.abs(s.astype(np.float32))
        v = np.power(np.where(np.signbit(s), cube * shift, cube), third)
        m32 = np.float32(b1) * m.astype(np.float32) + np.float32(1 - b1) * g
        v32 = np.float32(b2) * v + np.float32(1 - b2) * g * g
        by = (1 - b1**t, 1 - b2**t) if bias_correction else (1, 1)
        yield (m32 / by[0]) / (np.sqrt(v32 / by[1]) + eps)
        cube = v32 * v32 * v32
        plain = cube.astype(BFLOAT16)
        wide = plain.astype(np.float32)
        is_plain = np.abs(wide - cube) < np.abs(wide * shift - cube)
        m, s = m32.astype(BFLOAT16), np.where(is_plain, plain, -plain)


@pytest.mark.parametrize("bias_correction", [False, True])
def test_directions_equal_the_formula(bias_correction):
    rng, numbers = np.random.default_rng(0), (0.9, 0.98, 1e-6, bias_correction)
    scale = 10.0 ** rng.integers(-4, 2, (5, 1, 1))
    grads = (scale * rng.normal(size=(5, 4, 3))).astype(np.float32)
    tx = half_moments.scale_by_reserve_adam(half_moments.Adam(*numbers))
    state, update = tx.init({"w": grads[0]}), jax.jit(tx.update)
    for grad, wanted in zip(grads, _restated(grads, *numbers), strict=True):
        updates, state = update({"w": grad}, state)
        np.testing.assert_allclose(updates["w"], wanted, rtol=5e-3)
    assert state.mu["w"].dtype == state.nu["w"].dtype == jnp.bfloat16
    assert state.count == 5


@pytest.mark.parametrize("half", [False, True])
def test_full_moments_are_those_of_optax(half):
    """With bias correction and float32 it is Adam; in 16 bits it is near it."""
    rng = np.random.default_rng(1)
    grads = [{"w": rng.normal(size=64).astype(np.float32)} for _ in range(20)]
    ours = half_moments.scale_by_reserve_adam(
        half_moments.Adam(0.9, 0.98, 1e-6, True, half)
    )
    theirs = optax.scale_by_adam(0.9, 0.98, 1e-6)
    state, other = ours.init(grads[0]), theirs.init(grads[0])
    update, other_update = jax.jit(ours.update), jax.jit(theirs.update)
    for grad in grads:
        found, state = update(grad, state)
        wanted, other = other_update(grad, other)
    atol = 0.02 if half else 1e-6
    np.testing.assert_allclose(found["w"], wanted["w"], atol=atol)


def test_bfloat16_gradients_are_cast_before_anything_else():
    grad = np.random.default_rng(2).normal(size=50).astype(BFLOAT16)
    tx = half_moments.scale_by_reserve_adam(half_moments.Adam(0.9, 0.98, 1e-6))
    update, state = jax.jit(tx.update), tx.init(grad)
    half, full = update(grad, state), update(grad.astype(np.float32), state)
    for a, b in zip(*map(jax.tree.leaves, (half, full)), strict=True):
        np.testing.assert_array_equal(a, b)
