"""Cheap compiling and cheap parameters for tests of small modules."""

import jax
import jax.numpy as jnp
import numpy as np


def fast_jit(function, **kwargs):
    """`jax.jit` that compiles in half the time: these programs run once or twice."""
    options = {"xla_backend_optimization_level": 0}
    return jax.jit(function, compiler_options=options, **kwargs)


def normal(*shape, seed=0, spread=1.0):
    """Float32 inputs; `jax.random` takes seconds to compile for some shapes."""
    noise = np.random.default_rng(seed).normal(size=shape)
    return jnp.asarray(spread * noise, jnp.float32)


def fill(module, *args, spread=0.1):
    """Variables of a module, every leaf normal: biases count, nothing compiles."""
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *args))
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda s: (spread * rng.normal(size=s.shape)).astype(np.float32), shapes
    )
