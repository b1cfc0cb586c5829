"""AdamW, and the two optimisers of MERLOT-Reserve, as optax transforms.

Which one (`training.optimiser`):

- `adamw`: continued pretraining, and the default. Adam with bias correction and
  float32 moments, warm-up, a line down to 0. As Table 4 of the paper has it.
- `reserve`: training from nothing with Reserve's own objective, as it was trained
  itself: moments in 16 bits, no bias correction, a cosine down to 2 % of the peak.
  Reserve pulls weights towards zero: set `training.decay_to=zero`.
- `reserve_finetune`: what the released weights were finetuned with, and the released
  code of the paper with them: moments in 16 bits, bias correction, a line down to 0,
  and a pull to the start, in 16 bits too, on large arrays only. For comparison with
  that code, and where memory is short: moments take 4 bytes a weight, not 8.

On a processor the 16-bit moments cost time rather than save it (each update takes a
cube root per weight); on accelerators memory decides. Gradients are cut to a norm only
where `training.clip_norm` is above 0.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from mmdiffmask import config
from mmdiffmask.training import half_moments as halves
from mmdiffmask.training import schedules

FLOOR = 0.02  # of the peak rate, after Reserve's cosine; reserve.md section 4.2
PRETRAINING = halves.Adam()
FINETUNING = halves.Adam(bias_correction=True)
LARGE = 4096  # elements; smaller arrays are not pulled; reserve.md section 3.3


def check(settings: config.Training) -> None:
    """Checks what single ranges cannot.

    Raises:
      ValueError: if the warm-up would not end before training does.
    """
    if settings.steps and settings.epochs:
        if settings.warmup_epochs >= settings.epochs:
            raise ValueError(
                f"training.warmup_epochs={settings.warmup_epochs} must be below"
                f" training.epochs={settings.epochs}"
            )
        return  # how many updates an epoch has is not known yet
    if 0 < settings.steps <= settings.warmup_steps:
        raise ValueError(
            f"training.warmup_steps={settings.warmup_steps} must be below"
            f" training.steps={settings.steps}"
        )


def decay_towards(
    strength: float, to: str, larger_than: int = 0, half_start: bool = False
) -> optax.GradientTransformationExtraArgs:
    """Adds strength * (weights - start), on arrays with more than one axis.

    Stands before the scaling by the learning rate, as AdamW's decay does. The start
    is an argument of `update`, not state: it is held and saved once. reserve.md 3.3.

    Args:
      strength: of the pull.
      to: "initial": towards `start`; "zero": towards 0; "none": no pull.
      larger_than: arrays with at most so many elements are not pulled.
      half_start: round the start to bfloat16 first.
    """

    def update(
        updates: optax.Updates,
        state: optax.EmptyState,
        params: optax.Params | None = None,
        *,
        start: optax.Params | None = None,
        **_: Any,
    ) -> tuple[optax.Updates, optax.EmptyState]:
        if to == "none":
            return updates, state
        goal = start if to == "initial" else jax.tree.map(jnp.zeros_like, params)
        if half_start:
            goal = jax.tree.map(halves.rounded, goal)
        pulled = jax.tree.map(
            lambda u, w, g: (
                u + strength * (w - g) if w.ndim > 1 and w.size > larger_than else u
            ),
            updates,
            params,
            goal,
        )
        return pulled, state

    return optax.GradientTransformationExtraArgs(lambda _: optax.EmptyState(), update)


def reserve_pretraining(
    lr: float,
    steps: int,
    warmup: int,
    *,
    weight_decay: float = 0.1,
    decay_to: str = "zero",
    adam: halves.Adam = PRETRAINING,
    floor: float = FLOOR,
) -> optax.GradientTransformationExtraArgs:
    """What Reserve was pretrained with. reserve.md section 4.2.

    Args:
      lr: the peak rate.
      steps: of the run.
      warmup: updates until the peak.
      weight_decay: strength of the pull, on arrays with more than one axis.
      decay_to: as in `decay_towards`; "initial" asks for `start=` in `update`.
      adam: how updates are formed.
      floor: part of the peak rate that remains at the end.
    """
    rate = schedules.cosine(lr, warmup, steps + 1, floor)
    return optax.chain(
        halves.scale_by_reserve_adam(adam),
        decay_towards(weight_decay, decay_to),
        optax.scale_by_learning_rate(rate),
    )


def reserve_finetuning(
    lr: float,
    steps: int,
    warmup: int,
    *,
    weight_decay: float = 0.1,
    decay_to: str = "initial",
    adam: halves.Adam = FINETUNING,
) -> optax.GradientTransformationExtraArgs:
    """What Reserve was finetuned with. reserve.md section 3.3.

    Args:
      lr: the peak rate.
      steps: of the run.
      warmup: updates until the peak.
      weight_decay: strength of the pull, on arrays with more than one axis and more
        than 4096 elements, to the start as bfloat16 has it.
      decay_to: as in `decay_towards`; "initial" asks for `start=` in `update`.
      adam: how updates are formed.
    """
    rate = schedules.line(lr, warmup, steps + 1)
    return optax.chain(
        halves.scale_by_reserve_adam(adam),
        decay_towards(weight_decay, decay_to, larger_than=LARGE, half_start=True),
        optax.scale_by_learning_rate(rate),
    )


def make(settings: config.Training) -> optax.GradientTransformationExtraArgs:
    """The optimiser; `update` takes `start=`, the weights that training began with."""
    optimiser = _of_settings(settings)
    if not settings.clip_norm:
        return optimiser
    return optax.chain(optax.clip_by_global_norm(settings.clip_norm), optimiser)


def _of_settings(
    settings: config.Training,
) -> optax.GradientTransformationExtraArgs:
    """The optimiser as it takes gradients of any size."""
    if settings.optimiser == "adamw":
        rate = schedules.line(settings.lr, settings.warmup_steps, settings.steps)
        return optax.chain(
            optax.scale_by_adam(b1=0.9, b2=settings.b2, eps=settings.eps),
            decay_towards(settings.weight_decay, settings.decay_to),
            optax.scale_by_learning_rate(rate),
        )
    kinds = {
        "reserve": (reserve_pretraining, PRETRAINING),
        "reserve_finetune": (reserve_finetuning, FINETUNING),
    }
    optimiser, adam = kinds[settings.optimiser]
    return optimiser(
        settings.lr,
        settings.steps,
        settings.warmup_steps,
        weight_decay=settings.weight_decay,
        decay_to=settings.decay_to,
        adam=adam._replace(b2=settings.b2, eps=settings.eps),
    )
