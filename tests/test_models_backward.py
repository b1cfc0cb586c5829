"""Hand-written backward passes against automatic differentiation of the formula."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.model_tools import fast_jit, normal

from mmdiffmask.models import activations, backward

LAST = (((2,), (0,)), ((), ()))


def norm_formula(x, scale, bias, epsilon=1e-5):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    unit = (x - mean) / jnp.sqrt(variance + epsilon)
    return unit * scale[None, None] + bias[None, None]


def attend_formula(query, key, value, bias):
    logits = jnp.einsum("bqhs,bkhs->bhqk", query, key)
    weights = jax.nn.softmax(logits if bias is None else logits + bias)
    return jnp.einsum("bhqk,bkhs->bqhs", weights, value), weights


def dropping_formula(query, key, value, bias):
    _, weights = attend_formula(query, key, value, bias)
    used = jnp.where(IS_KEPT, weights / 0.75, 0.0)
    return jnp.einsum("bhqk,bkhs->bqhs", used, value), weights


def attend_inputs(is_masked):
    bias = None
    if is_masked:
        bias = jnp.where(normal(1, 1, 5, 5, seed=4) > 1, -1e10, 0.0)
    return *(normal(2, 5, 3, 4, seed=seed) for seed in range(3)), bias


IS_KEPT = normal(2, 3, 5, 5, seed=5) > -0.7
FORMULAS = {
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_new": lambda x: jax.nn.gelu(x, approximate=True),
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
    "quick_gelu": lambda x: x / (1 + jnp.exp(-1.702 * x)),
}
HEADS = (((2, 3), (0, 1)), ((), ()))
CASES = {
    "norm": (
        backward.layer_norm,
        norm_formula,
        (normal(2, 3, 8), normal(8, seed=1), normal(8, seed=2)),
    ),
    "norm, another epsilon": (
        lambda *args: backward.layer_norm(*args, 0.5),
        lambda *args: norm_formula(*args, epsilon=0.5),
        (normal(2, 3, 8), normal(8, seed=1), normal(8, seed=2)),
    ),
    "attend": (backward.attend, attend_formula, attend_inputs(False)),
    "attend some": (backward.attend, attend_formula, attend_inputs(True)),
    "attend some, drop others": (
        lambda *args: backward.attend(*args, IS_KEPT, 0.25),
        dropping_formula,
        attend_inputs(True),
    ),
    "mixed alone": (  # the usual call: the weights take no gradient
        lambda *args: backward.attend(*args)[0],
        lambda *args: attend_formula(*args)[0],
        attend_inputs(True),
    ),
    "narrower": (
        functools.partial(backward.product, dimension_numbers=LAST),
        lambda x, kernel: jnp.einsum("bnd,de->bne", x, kernel),
        (normal(2, 3, 8), normal(8, 6, seed=1)),
    ),
    "wider": (
        functools.partial(backward.product, dimension_numbers=LAST),
        lambda x, kernel: jnp.einsum("bnd,de->bne", x, kernel),
        (normal(2, 3, 4), normal(4, 20, seed=1)),
    ),
    "to heads": (
        functools.partial(backward.product, dimension_numbers=LAST),
        lambda x, kernel: jnp.einsum("bnd,dhs->bnhs", x, kernel),
        (normal(2, 3, 4), normal(4, 5, 6, seed=1)),
    ),
    "from heads": (
        functools.partial(backward.product, dimension_numbers=HEADS),
        lambda x, kernel: jnp.einsum("bnhs,hsd->bnd", x, kernel),
        (normal(2, 3, 5, 4), normal(5, 4, 6, seed=1)),
    ),
}
for name, formula in FORMULAS.items():
    CASES[name] = (
        functools.partial(
            backward.activated_product, dimension_numbers=LAST, activation=name
        ),
        lambda x, kernel, formula=formula: formula(x) @ kernel,
        (normal(2, 3, 8, spread=3.0), normal(8, 4, seed=1)),
    )


@pytest.mark.parametrize("name", CASES)
def test_equals_automatic_differentiation(name):
    function, formula, args = CASES[name]

    def both(run, *args):
        out, pull = jax.vjp(run, *args)
        flat, tree = jax.tree.flatten(out)
        toward = [normal(*x.shape, seed=9 + i) for i, x in enumerate(flat)]
        return out, pull(jax.tree.unflatten(tree, toward))

    found = fast_jit(functools.partial(both, function))(*args)
    expected = fast_jit(functools.partial(both, formula))(*args)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    for one, other in pairs:
        if one.shape != (1, 1, 5, 5):  # a mask takes none
            np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-5)


def test_reserve_s_activation_is_the_default_and_others_are_named():
    x, kernel = normal(2, 3, 8, spread=3.0), normal(8, 4, seed=1)
    default = backward.activated_product(x, kernel, LAST)
    np.testing.assert_allclose(default, FORMULAS["quick_gelu"](x) @ kernel, atol=1e-5)
    with pytest.raises(ValueError, match="'gleu' is not known; known: gelu, gelu_new"):
        activations.by_name("gleu")


def test_bfloat16_stays_bfloat16_and_statistics_are_float32():
    x = normal(2, 3, 64).astype(jnp.bfloat16)
    scale, bias = normal(64, seed=1), normal(64, seed=2)
    found = fast_jit(backward.layer_norm)(x, scale, bias)
    assert found.dtype == jnp.bfloat16
    expected = norm_formula(x.astype(jnp.float32), scale, bias)
    np.testing.assert_allclose(found, expected, rtol=2**-8, atol=2**-8)
    grads = fast_jit(jax.grad(lambda *a: backward.layer_norm(*a).sum(), (0, 1, 2)))(
        x, scale, bias
    )
    assert [g.dtype.name for g in grads] == ["bfloat16", "float32", "float32"]


def test_a_gradient_that_is_no_number_stays_visible():
    x, kernel = normal(2, 3, 8), normal(8, 4, seed=1)

    def loss(kernel):
        return jnp.nan * backward.activated_product(x, kernel, LAST).sum()

    assert np.isnan(fast_jit(jax.grad(loss))(kernel)).all()


def test_a_layer_keeps_one_wide_array_for_its_backward_pass():
    x, kernels = normal(1024, 64), (normal(64, 256, seed=1), normal(256, 64, seed=2))
    numbers = (((1,), (0,)), ((), ()))

    def loss(kernels, x, layers):
        for _ in range(layers):
            wide = backward.product(x, kernels[0], numbers)
            x = x + backward.activated_product(wide, kernels[1], numbers)
        return jnp.square(x).sum()

    def temporary(layers):
        run = jax.jit(jax.grad(loss), static_argnums=2).lower(kernels, x, layers)
        return run.compile().memory_analysis().temp_size_in_bytes

    wide, narrow = 4 * 1024 * 256, 4 * 1024 * 64
    both_kernels = 2 * 4 * 64 * 256
    assert temporary(8) - temporary(4) < 4 * (wide + 2 * narrow + both_kernels)
