"""What is noted of the weights at a step: held-out scores, and the probe's read-out."""

import functools
import threading
from typing import Any

from mmdiffmask import config
from mmdiffmask.training import evaluate, journal, steps, stopping
from mmdiffmask.training.family import Held, Params
from mmdiffmask.training.job import Job


def is_evaluation_due(settings: config.Training, step: int) -> bool:
    """At the start, after every `eval_every` updates, and at the end."""
    return step % settings.eval_every == 0 or step == settings.steps


def is_probe_due(job: Job, step: int, is_finished: bool) -> bool:
    """At the start, after every `probe_every` updates, and where a run ends."""
    every = job.settings.probe_every
    return bool(job.probe and every) and (step % every == 0 or is_finished)


def held_out(
    job: Job, held: Held, params: Params, step: int, stop: threading.Event
) -> list[evaluate.Row]:
    """Held-out scores under masks of every kind, and those that need no masks.

    Args:
      job: the run.
      held: what it holds fixed.
      params: its weights now.
      step: updates done.
      stop: ends the work once it is set.

    Raises:
      ValueError: for a score that is not finite.
      stopping.Stopped: after a signal.
    """
    rows = _masked(job, held, params, step, stop)
    rows += _unmasked(job, held, params, step, stop)
    for row in rows:
        if row.value is not None:
            stopping.check_finite(f"{row.metric} of {row.masks}", row.value, step)
    return rows


def judged(job: Job, rows: list[evaluate.Row]) -> float:
    """The number that stops the run: `Job.stop_on`, or its own dev loss.

    That is the sum of its terms, by their weights.

    Raises:
      ValueError: if it is not there.
    """
    if job.stop_on is not None:
        return evaluate.value_of(rows, job.stop_on.masks, job.stop_on.metric)
    total, family = 0.0, job.family
    for name, weight in family.weights.items():
        if name == family.masked:
            value = evaluate.value_of(rows, job.own_masks, "loss")
        else:
            value = evaluate.value_of(rows, evaluate.OTHERS, f"loss_{name}")
        total += weight * value
    return total


def read_out(
    job: Job, params: Params, step: int, stop: threading.Event
) -> list[dict[str, Any]]:
    """Lines of the probe's read-out; arguments and Stopped as of `held_out`."""
    head = {"kind": journal.PROBE, "step": step}
    watched = functools.partial(stopping.until_signal, stop=stop)
    return [head | dict(line) for line in job.probe(params, watched)]


def _masked(
    job: Job, held: Held, params: Params, step: int, stop: threading.Event
) -> list[evaluate.Row]:
    with job.dev_batches() as batches:
        return evaluate.masked(
            steps.make_score_step(job.family, job.mesh),
            job.eval_masks,
            params=params,
            held=held,
            batches=stopping.until_signal(batches, stop),
            step=step,
            seed=job.seed,
        )


def _unmasked(
    job: Job, held: Held, params: Params, step: int, stop: threading.Event
) -> list[evaluate.Row]:
    if job.family.others is None:
        return []
    with job.dev_batches() as batches:
        return evaluate.unmasked(
            steps.make_others_step(job.family, job.mesh),
            params=params,
            held=held,
            batches=stopping.until_signal(batches, stop),
            step=step,
            seed=job.seed,
        )
