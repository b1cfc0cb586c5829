"""Times what masks by attention cost an update, as ratios within one process.

`python -m benchmarks.attention_cost` compiles `small` (7 frames of 6x10 patches, a
batch of 16) and lets these take turns, with a plain matrix product before each, so that
all see the same load:

- start: masks drawn from scores that the rows hold (masking.attention=start);
- live: masks drawn in the update, from the attention of its clean pass;
- apart: as live, but with a clean pass of its own before the update;
- attention: that pass alone, which is what a clip costs once with `start`.
"""

import argparse
import functools
import sys
from collections.abc import Callable

import jax
import numpy as np

from benchmarks import commands, cpt_programs
from benchmarks.reserve_speed import Cost, compare
from mmdiffmask import config, masks
from mmdiffmask.masking import strategies
from mmdiffmask.training import mesh as meshes
from mmdiffmask.training import objective, optim, steps

PROG = "python -m benchmarks.attention_cost"
DATA = config.Data(rows=6, cols=10, sub_segments=1, min_overlap=0.25, text_length=64)
EPOCH = np.int32(0)


def settings(model: str, clips: int, data: config.Data = DATA) -> config.Experiment:
    """Updates of the masked patches alone, with masks by the attention of each."""
    rows = strategies.REGISTRY.values()
    strategy = next(row.name for row in rows if row.is_by_attention)
    return config.Experiment(
        name="attention cost",
        data=data,
        model=config.MODELS[model],
        masking=config.Masking(strategy=strategy, attention="live"),
        training=config.Training(batch_size=clips),
    )


def ways(experiment: config.Experiment) -> dict[str, Callable]:
    """Name -> one update (or pass) of that way, which goes on from its last state."""
    training = experiment.training
    mesh = meshes.make(training.batch_size, jax.devices()[:1])
    loss = cpt_programs.make_objective(experiment)
    params = cpt_programs.make_params(experiment)
    held = cpt_programs.make_held(params, experiment.model.hidden)
    held = jax.device_put(held, meshes.replicated(mesh))
    batch = cpt_programs.make_batch(
        experiment.data, experiment.model.vocabulary, training.batch_size
    )
    batch = jax.device_put(batch, meshes.by_example(mesh))
    family, tx = objective.family(loss), optim.make(training)
    draw = masks.patch_drawer(experiment.data, experiment.masking)
    drawn = jax.jit(draw)
    attend = jax.jit(lambda params, x: loss.vision_with_attention(params, x)[1])
    plain = steps.make_train_step(family, training, mesh)
    live = steps.make_train_step(family, training, mesh, draw)

    def of_row(params: dict) -> jax.Array:
        return drawn(held.key, batch, EPOCH)

    def apart(params: dict) -> jax.Array:
        return drawn(held.key, batch, EPOCH, attend(params, batch.patches))

    def update(step: Callable, hide: Callable) -> Callable:
        states = [steps.first_state(tx, params, mesh)]

        def call() -> tuple:
            hidden = hide(states[0].params)
            states[0], metrics = step(states[0], held, batch, hidden)
            return states[0], metrics

        return call

    return {
        "start": update(plain, of_row),
        "live": update(live, lambda params: EPOCH),
        "apart": update(plain, apart),
        "attention": functools.partial(attend, params, batch.patches),
    }


def table(costs: dict[str, Cost], clips: int) -> list[str]:
    """A line a way: seconds, and as a part of what the first takes."""
    first = next(iter(costs.values()))
    lines = [f"{'':12}{'wall s':>10}{'cpu s':>10}{'wall':>8}{'cpu':>8}"]
    for name, cost in costs.items():
        wall, cpu = (a / b for a, b in zip(cost, first, strict=True))
        lines.append(f"{name:12}{cost[0]:10.3f}{cost[1]:10.3f}{wall:8.3f}{cpu:8.3f}")
    per_clip = 1000 * costs["attention"][1] / clips
    return [*lines, f"attention of a clip: {per_clip:.1f} ms of processors"]


def main(arguments: list[str] | None = None) -> int:
    """Prints the table; the exit status."""
    parser = argparse.ArgumentParser(prog=PROG, description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="small", choices=sorted(config.MODELS))
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--repeat", type=int, default=10)
    options = parser.parse_args(arguments)
    if min(options.clips - 1, options.repeat) < 1:
        parser.error("--clips must be at least 2, --repeat at least 1")

    def work() -> int:
        experiment = settings(options.model, options.clips)
        calls = ways(experiment)
        _, costs = compare(list(calls.values()), options.repeat)
        for line in table(dict(zip(calls, costs, strict=True)), options.clips):
            print(line)
        return 0

    return commands.status(PROG, work)


if __name__ == "__main__":
    sys.exit(main())
