"""What our training step sends between devices, and what that means on a TPU.

`python -m benchmarks.cpt_communication` compiles the step in its default settings for 8
and for 32 simulated devices with one clip each, reads the collectives out of the
program, and puts the time that they take beside the time of computing; `CORE` is the
machine assumed. The model is in float32; a compiler for TPU may merge, split or round
otherwise than that for CPU: in bfloat16 it sums gradients in half as many bytes.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np

from benchmarks import collectives, cpt_programs
from benchmarks.reserve_speed import MIB
from mmdiffmask import config
from mmdiffmask.training import mesh as meshes
from mmdiffmask.training import optim, steps

MODULE = "benchmarks.cpt_communication"
DEVICES = (8, 32)
COUNT_FLAG = "--xla_force_host_platform_device_count"


class Core(NamedTuple):
    """A core of a machine that was not at hand: what is assumed of it.

    Attributes:
      flop_s: its rate in bfloat16.
      share: of that rate that a step is taken to reach.
      link_byte_s: what it sends in a second, in a ring of all cores.
    """

    flop_s: float
    share: float
    link_byte_s: float


# TPU v2: 180 TFLOP/s for 8 cores. A link of a chip carries 496 Gbit/s each way, and
# its two cores share one. Nothing is taken to be sent while something is computed.
CORE = Core(flop_s=22.5e12, share=0.4, link_byte_s=496e9 / 8 / 2)


def print_collectives(model: str, devices: int, is_quick: bool) -> None:
    """In a child process with simulated devices: what our step sends, as JSON."""
    of_name = cpt_programs.settings(model, devices, is_quick)
    experiment = of_name[cpt_programs.DEFAULT]
    mesh = meshes.make(devices, jax.devices()[:devices])
    one = cpt_programs.make_batch(experiment.data, experiment.model.vocabulary, 1)
    masks = cpt_programs.make_masks(experiment, 1)
    batch, masks = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((devices, *x.shape[1:]), x.dtype), (one, masks)
    )
    params = jax.eval_shape(lambda: cpt_programs.make_params(experiment))
    held = cpt_programs.make_held(params, experiment.model.hidden)
    tx = optim.make(experiment.training)
    state = steps.TrainState(
        params,
        jax.eval_shape(tx.init, params),
        jax.ShapeDtypeStruct((), np.int32),
    )
    step = cpt_programs.train_step(experiment, mesh)
    text = step.lower(state, held, batch, masks).compile().as_text()
    seen = [one._asdict() for one in collectives.read(text)]
    each = cpt_programs.work(experiment, batch) / devices
    print(json.dumps({"collectives": seen, "flops": each}))


def compile_for(
    model: str, devices: int, is_quick: bool
) -> tuple[list[collectives.Collective], float]:
    """What our step sends on so many simulated devices, and a device's FLOP."""
    command = [sys.executable, "-m", MODULE, "--model", model]
    command += ["--devices", str(devices), *(["--quick"] if is_quick else [])]
    flags = [
        flag
        for flag in os.environ.get("XLA_FLAGS", "").split()
        if not flag.startswith(COUNT_FLAG)
    ]
    flags.append(f"{COUNT_FLAG}={devices}")
    environment = os.environ | {"XLA_FLAGS": " ".join(flags), "JAX_PLATFORMS": "cpu"}
    ran = subprocess.run(
        command, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    answer = json.loads(ran.stdout)
    seen = [collectives.Collective(**one) for one in answer["collectives"]]
    return seen, answer["flops"]


def communication(
    seen: list[collectives.Collective], flops: float, devices: int
) -> list[str]:
    """Lines: what is sent in a step, and for how long `CORE` would send and compute."""
    parts = [
        f"{size / MIB:.2f} MiB {kind}" for kind, size in collectives.total(seen).items()
    ]
    sent = collectives.sent(seen, devices)
    sending, computing = sent / CORE.link_byte_s, flops / CORE.flop_s / CORE.share
    return [
        f"{devices} cores: {', '.join(parts) or 'nothing'} in"
        f" {sum(one.count for one in seen)} operations; a core sends"
        f" {sent / MIB:.2f} MiB",
        f"  TPU v2 core: {1e3 * sending:.2f} ms to send, {1e3 * computing:.2f} ms to"
        f" compute at {CORE.share:.0%} of its rate: {sending / computing:.0%} more",
    ]


def lines(model: str, is_quick: bool = False) -> Iterator[str]:
    """All lines: for 8 and for 32 devices."""
    yield f"our step in its default, {model}, float32, one clip a core"
    for devices in DEVICES:
        yield from communication(*compile_for(model, devices, is_quick), devices)


def main(arguments: list[str] | None = None) -> int:
    """Prints the lines; the exit status, always 0."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}")
    parser.add_argument("--model", default="small", choices=sorted(config.MODELS))
    parser.add_argument("--quick", action="store_true", help="data of no size")
    parser.add_argument("--devices", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.devices:
        print_collectives(options.model, options.devices, options.quick)
        return 0
    for line in lines(options.model, options.quick):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
