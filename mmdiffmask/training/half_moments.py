"""Adam's two moments in 16 bits each, as MERLOT-Reserve keeps and saves them.

bfloat16 has 8 bits of precision, too few for the second moment: with b2 = 0.98 an
update lowers it by at most 2 %, and changes below 1 in 256 would round away. So its
cube is stored, which triples relative changes, and the sign bit, idle in a number that
is never negative, holds one bit more. reserve.md section 4.2.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import BFloat16, Float, Float32

from mmdiffmask.types import Array

# The step that the sign bit stands for: a quarter of bfloat16's spacing above 1.
SIGN = 1.0 + 2.0**-9


def to_half(
    x: Float32[Array, "..."], dtype: jax.typing.DTypeLike = jnp.bfloat16
) -> Float[Array, "..."]:
    """The nearest 16-bit numbers, ties to even; too large ones become infinite.

    Moments are bfloat16, the leaves of official checkpoints float16.
    """
    if dtype == jnp.bfloat16:
        x = rounded(x)
    return jnp.asarray(x).astype(dtype)


def rounded(x: Float32[Array, "..."]) -> Float32[Array, "..."]:
    """float32 numbers with the precision of bfloat16.

    A cast there and back would do the same, but compilers may leave such a pair out
    ("excess precision"); this operation they must keep.
    """
    return jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7)


def encode_second_moment(nu: Float32[Array, "..."]) -> BFloat16[Array, "..."]:
    """bfloat16(nu^3), negative where nu^3 is nearer to that value times 1 + 2^-9.

    Comes back within 0.14 % between 1e-12 and 7e12. Below some 1e-13 it comes back as
    0, which Adam does not notice beside its eps of 1e-6; above 7e12 (gradients of some
    1e7) as infinity, and the weight would stand still. reserve.md section 4.2.

    Args:
      nu: not negative.
    """
    nu = jnp.asarray(nu)
    cube = nu * nu * nu
    plain = rounded(cube)
    is_plain = jnp.abs(plain - cube) < jnp.abs(plain * SIGN - cube)
    return to_half(jnp.where(is_plain, plain, -plain))


def decode_second_moment(encoded: BFloat16[Array, "..."]) -> Float32[Array, "..."]:
    """The second moment that `encode_second_moment` was given, nearly."""
    signed = jnp.asarray(encoded).astype(jnp.float32)
    cube = jnp.abs(signed)
    cube = jnp.where(jnp.signbit(signed), cube * SIGN, cube)
    return jnp.power(cube, np.float32(1 / 3))


class Adam(NamedTuple):
    """How Adam forms its updates.

    Attributes:
      b1: decay of the mean of gradients.
      b2: decay of the mean of squared gradients.
      eps: added to the root.
      bias_correction: divide the moments by 1 - b^t.
      half_moments: keep them in bfloat16 (`encode_second_moment`); else float32.
    """

    b1: float = 0.9
    b2: float = 0.98
    eps: float = 1e-6
    bias_correction: bool = False
    half_moments: bool = True


def scale_by_reserve_adam(adam: Adam) -> optax.GradientTransformation:
    """m / (sqrt(v) + eps), with or without bias correction and 16-bit moments.

    Gradients of less precision are cast first. The update is made from the float32
    moments; the next one starts from their rounded form. The state is optax's (count,
    mu, nu), so flax writes it as the {count, mu, nu} of official checkpoints. Without
    bias correction updates 3 to 100 are longer, by up to 1.55 times (b1 0.9, b2 0.98),
    which the warm-up hides. reserve.md sections 3.3 (correction) and 4.2 (none).
    """
    b1, b2, eps, bias_correction, half_moments = adam
    dtype = jnp.bfloat16 if half_moments else jnp.float32

    def init(params: optax.Params) -> optax.ScaleByAdamState:
        mu, nu = (
            jax.tree.map(lambda w: jnp.zeros(w.shape, dtype), params) for _ in range(2)
        )
        return optax.ScaleByAdamState(jnp.zeros((), jnp.int32), mu, nu)

    def update(
        updates: optax.Updates,
        state: optax.ScaleByAdamState,
        params: optax.Params | None = None,
    ) -> tuple[optax.Updates, optax.ScaleByAdamState]:
        del params
        updates = jax.tree.map(lambda g: jnp.asarray(g).astype(jnp.float32), updates)
        mu, nu, count = state.mu, state.nu, state.count + 1
        if half_moments:
            mu = jax.tree.map(lambda m: m.astype(jnp.float32), mu)
            nu = jax.tree.map(decode_second_moment, nu)
        mu = jax.tree.map(lambda m, g: b1 * m + (1.0 - b1) * g, mu, updates)
        nu = jax.tree.map(lambda v, g: b2 * v + (1.0 - b2) * (g * g), nu, updates)
        by_mu, by_nu = (1.0 - b**count if bias_correction else 1.0 for b in (b1, b2))
        updates = jax.tree.map(
            lambda m, v: (m / by_mu) / (jnp.sqrt(v / by_nu) + eps), mu, nu
        )
        if half_moments:
            mu = jax.tree.map(to_half, mu)
            nu = jax.tree.map(encode_second_moment, nu)
        return updates, optax.ScaleByAdamState(count, mu, nu)

    return optax.GradientTransformation(init, update)
