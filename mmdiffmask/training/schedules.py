"""How many updates a run has, and learning rates over them.

Updates are counted from 0 and the warm-up is step / warm-up, so the first update of a
run with warm-up moves nothing (reserve.md sections 3.3, 4.2 and 8).
"""

import dataclasses
import logging
import math
from collections.abc import Callable

import jax.numpy as jnp
import optax
from jaxtyping import Float, Int

from mmdiffmask import config
from mmdiffmask.types import Array


def in_steps(
    training: config.Training, n_examples: int, batch_size: int
) -> config.Training:
    """The settings with lengths in updates alone; the only place that counts epochs.

    With 110 examples in batches of 20, 2 epochs are 11 updates and half an epoch is 3
    (rounded up). Settings without epochs come back as they are.

    Args:
      training: the settings as the user wrote them.
      n_examples: records that are trained on: an epoch.
      batch_size: of an update.
    """

    def updates(epochs: float, otherwise: int) -> int:
        # Rounded first: 0.1 * 30 / 3 is a little more than 1.
        exact = round(epochs * n_examples / batch_size, 6)
        return math.ceil(exact) if epochs else otherwise

    epochs = training.epochs if training.steps else 0.0
    resolved = dataclasses.replace(
        training,
        steps=updates(epochs, training.steps),
        warmup_steps=updates(training.warmup_epochs, training.warmup_steps),
        eval_every=updates(training.eval_every_epochs, training.eval_every),
        epochs=0.0,
        warmup_epochs=0.0,
        eval_every_epochs=0.0,
    )
    if resolved != training:
        logging.info(
            "an epoch is %d records in batches of %d: training.steps=%d,"
            " training.warmup_steps=%d, training.eval_every=%d",
            n_examples,
            batch_size,
            resolved.steps,
            resolved.warmup_steps,
            resolved.eval_every,
        )
    return resolved


def line(peak: float, warmup: int, end: int) -> optax.Schedule:
    """Up to `peak` at update `warmup`, then down in a line to 0 at update `end`.

    `line(1.0, 4, 11)` gives 0, 1/4, 2/4, 3/4, 1, 6/7, 5/7, .. 1/7, 0, 0, .. for the
    updates 0, 1, .. Reserve's finetuning: end = steps + 1. reserve.md section 3.3.
    """
    return _after_warmup(peak, warmup, end, lambda t: 1.0 - t)


def cosine(peak: float, warmup: int, end: int, floor: float) -> optax.Schedule:
    """Up to `peak` at update `warmup`, then half a cosine to floor * peak at `end`.

    Reserve's pretraining: end = steps + 1, floor = 0.02. reserve.md section 4.2.
    """

    def down(t: Float[Array, "..."]) -> Float[Array, "..."]:
        return floor + (1.0 - floor) * (1.0 + jnp.cos(jnp.pi * t)) / 2.0

    return _after_warmup(peak, warmup, end, down)


def _after_warmup(
    peak: float, warmup: int, end: int, down: Callable[[Array], Array]
) -> optax.Schedule:
    """`down` takes the part of the way from `warmup` to `end`, in [0, 1]."""

    def rate(step: Int[Array, "..."] | int) -> Float[Array, "..."]:
        step = jnp.asarray(step, jnp.float32)
        t = jnp.clip((step - warmup) / max(end - warmup, 1), 0.0, 1.0)
        return peak * jnp.where(step < warmup, step / max(warmup, 1), down(t))

    return rate
