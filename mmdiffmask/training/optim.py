"""AdamW as Reserve fine-tunes: warm-up, linear decay, weights pulled to their start."""

import jax
import jax.numpy as jnp
import optax

from mmdiffmask import config


def check(settings: config.Training) -> None:
    """Checks what single ranges can not.

    Raises:
      ValueError: if the warm-up would not end before training does.
    """
    if 0 < settings.steps <= settings.warmup_steps:
        raise ValueError(
            f"training.warmup_steps={settings.warmup_steps} must be below"
            f" training.steps={settings.steps}"
        )


def schedule(settings: config.Training) -> optax.Schedule:
    """Learning rate of each update, counted from 0.

    lr * step / warmup_steps, so the first update moves nothing (RESERVE.md sections
    3.3 and 8), then down in a line that would reach 0 at update `steps`.
    """
    warmup, steps = settings.warmup_steps, max(settings.steps, 1)

    def rate(step):
        step = jnp.asarray(step, jnp.float32)
        down = jnp.clip(1.0 - (step - warmup) / max(steps - warmup, 1), 0.0, 1.0)
        up = step / max(warmup, 1)
        return settings.lr * jnp.where(step < warmup, up, down)

    return rate


def decay_towards(strength: float, to: str) -> optax.GradientTransformationExtraArgs:
    """Adds strength * (weights - start), on arrays with more than one axis.

    Stands before the scaling by the learning rate, as AdamW's decay does. The start
    is an argument of `update`, not state: it is held and saved once. RESERVE.md 3.3.

    Args:
      strength: of the pull.
      to: "initial": towards `start`; "zero": towards 0; "none": no pull.
    """

    def update(updates, state, params=None, *, start=None, **_):
        if to == "none":
            return updates, state
        goal = start if to == "initial" else jax.tree.map(jnp.zeros_like, params)
        pulled = jax.tree.map(
            lambda u, w, g: u + strength * (w - g) if w.ndim > 1 else u,
            updates,
            params,
            goal,
        )
        return pulled, state

    return optax.GradientTransformationExtraArgs(lambda _: optax.EmptyState(), update)


def make(settings: config.Training) -> optax.GradientTransformationExtraArgs:
    """The optimiser; `update` takes `start=`, the weights that training began with.

    Adam with b1 0.9 and bias correction, decay, schedule; no clipping.
    """
    return optax.chain(
        optax.scale_by_adam(b1=0.9, b2=settings.b2, eps=settings.eps),
        decay_towards(settings.weight_decay, settings.decay_to),
        optax.scale_by_learning_rate(schedule(settings)),
    )
