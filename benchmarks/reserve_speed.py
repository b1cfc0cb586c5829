"""Times the transformer against a plain matrix product, and shows its memory.

`python -m benchmarks.reserve_speed` runs forward and forward + backward of `base`'s
vision tower (4 frames of 12x20 patches, float32) and, for who trains on a laptop, of
`small` at the size of a training step. A product [964, 768] x [768, 3072] runs before
every timed call, so both see the same load. Processor seconds (user and system, all
threads) are the steady figure where a machine is shared: compare those.

Rates are medians of analytic FLOPs (reserve.md section 7; a backward pass costs twice
a forward one) by the second; `x` is that rate in units of the product's. Peak memory
is that of a process of its own that holds the parameters and runs the call twice.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mmdiffmask import config
from mmdiffmask.grid import PatchGrid
from mmdiffmask.models.reserve import flops, towers

MIB = 2**20
Compiled = jax.stages.Compiled
OfTokens = Float[Array, "b n _"]  # so many values of each token
PRODUCT = (964, 768, 3072)  # rows of 4 frames with CLS; the widest layer of `base`
PASSES = {"forward": 1, "forward+backward": 3}  # and their cost in forward passes


class Case(NamedTuple):
    """A function of (params, inputs) to outputs, their shapes, and its FLOPs."""

    name: str
    forward: Callable
    params: object
    inputs: tuple
    flops: int


class Cost(NamedTuple):
    """Seconds of a call, by the clock and summed over the processors."""

    wall_s: float
    cpu_s: float


def vision_case(name: str, frames: int, rows: int, cols: int) -> Case:
    """The vision tower of a model of `config.MODELS`, all three outputs."""
    size = config.MODELS[name]
    tower, grid = towers.VisionTower(size), PatchGrid(rows, cols)

    def forward(params: dict, patches: Float[Array, "b n p"]):
        return tower.apply(params, patches, grid)

    patches = jax.ShapeDtypeStruct((frames, rows * cols, towers.PATCH_VALUES), "f4")
    params = _shapes(lambda key, x: tower.init(key, x, grid), patches)
    total = frames * flops.vision(size, rows * cols)
    label = f"{name} vision tower, {frames} frames of {rows}x{cols} patches"
    return Case(label, forward, params, (patches,), total)


def joint_case(name: str, sequences: int, tokens: int) -> Case:
    """The joint transformer of a model, with a mask."""
    size = config.MODELS[name]
    stack = towers.encoder(size, size.joint_layers, has_cls=False)

    def forward(params: dict, x: OfTokens, coordinates: OfTokens, attend: OfTokens):
        return stack.apply(params, x, coordinates, attend=attend > 0)

    inputs = tuple(
        jax.ShapeDtypeStruct((sequences, tokens, last), "f4")
        for last in (size.hidden, 4, tokens)
    )
    params = _shapes(
        lambda key, x, *others: stack.init(key, x, others[0], attend=others[1] > 0),
        *inputs,
    )
    total = sequences * flops.joint(size, tokens)
    label = f"{name} joint transformer, {sequences} sequences of {tokens}"
    return Case(label, forward, params, inputs, total)


def cases(is_quick: bool) -> list[Case]:
    """What is timed; quick: one small tower, for tests of this program."""
    if is_quick:
        return [vision_case("tiny", frames=1, rows=4, cols=6)]
    return [
        vision_case("base", frames=4, rows=12, cols=20),
        vision_case("small", frames=16 * 7, rows=6, cols=10),
        joint_case("small", 32, 169),
    ]


def _shapes(init: Callable, *inputs):
    return jax.eval_shape(init, jax.random.key(0), *inputs)


def loss_of(case: Case) -> Callable:
    """The mean squares of what later parts read: cells and CLS, or the sequence."""

    def loss(params: dict, *inputs):
        out = case.forward(params, *inputs)
        read = (out.seq_attnpool, out.cls) if hasattr(out, "seq_attnpool") else out[:1]
        return sum(jnp.mean(jnp.square(x)) for x in read)

    return loss


def fill(shapes: tuple[dict, tuple]):
    """Numbers of the size that a trained model has; inputs in [0, 1]."""
    rng = np.random.default_rng(0)
    params, inputs = shapes
    params = jax.tree.map(
        lambda s: jnp.asarray(0.02 * rng.standard_normal(s.shape, np.float32)), params
    )
    return params, *(jnp.asarray(rng.random(s.shape, np.float32)) for s in inputs)


def compile_pass(case: Case, name: str):
    """One of `PASSES`, compiled, and what compiling cost."""
    is_forward = name == "forward"
    run = case.forward if is_forward else jax.value_and_grad(loss_of(case))
    compiled = []
    cost = timed(lambda: compiled.append(_compile(run, case)))
    return compiled[0], cost


def _compile(run: Callable, case: Case):
    return jax.jit(run).lower(case.params, *case.inputs).compile()


def timed(call: Callable, times: int = 1) -> Cost:
    """Cost of one of `times` calls, each waiting for its result."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(times):
        jax.block_until_ready(call())
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Cost(wall / times, cpu / times)


def median(costs: list[Cost]) -> Cost:
    """Of each column by itself."""
    return Cost(*(statistics.median(column) for column in zip(*costs, strict=True)))


def plain_product() -> Callable:
    """The product that everything is compared with."""
    rows, inside, cols = PRODUCT
    rng = np.random.default_rng(0)
    left = jnp.asarray(rng.standard_normal((rows, inside), np.float32))
    right = jnp.asarray(rng.standard_normal((inside, cols), np.float32))
    compiled = jax.jit(jnp.matmul).lower(left, right).compile()
    return lambda: compiled(left, right)


def compare(calls: list[Callable], repeat: int) -> tuple[Cost, list[Cost]]:
    """Medians of the plain product and of each call, interleaved."""
    product = plain_product()
    of_product, of_call = [], [[] for _ in calls]
    for turn in range(repeat + 1):
        for call, costs in zip(calls, of_call, strict=True):
            before, cost = timed(product, times=10), timed(call)
            if turn > 0:  # the first turn warms up
                of_product.append(before)
                costs.append(cost)
    return median(of_product), [median(costs) for costs in of_call]


def peak_mib(case: int, name: str, is_quick: bool) -> dict[str, float]:
    """MiB resident in a process of its own: before the call, and at its peak."""
    command = [sys.executable, "-m", "benchmarks.reserve_speed"]
    command += ["--memory-of", str(case), name, *(["--quick"] if is_quick else [])]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(ran.stdout)


def print_peak(case: Case, name: str) -> None:
    """In a child process: runs a pass twice and prints its memory as JSON."""
    arguments = fill((case.params, case.inputs))
    before = _resident_mib()
    compiled, _ = compile_pass(case, name)
    for _ in range(2):
        jax.block_until_ready(compiled(*arguments))
    print(json.dumps({"before": before, "peak": _resident_mib()}))


def _resident_mib() -> float:
    """The most so far; Linux counts in KiB, macOS in bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (MIB if sys.platform == "darwin" else 1024)


def report(
    case: Case, name: str, compiled: Compiled, compiling: Cost, cost: Cost, plain: Cost
):
    """Lines about one pass."""
    total = case.flops * PASSES[name]
    rows, inside, cols = PRODUCT
    product, pairs = 2 * rows * inside * cols, zip(cost, plain, strict=True)
    ratio = Cost(*((total / spent) / (product / other) for spent, other in pairs))
    memory = compiled.memory_analysis()
    taken, out = memory.argument_size_in_bytes, memory.output_size_in_bytes
    temporary = memory.temp_size_in_bytes
    print(f"{name}: {total / 1e9:.1f} GFLOP")
    for unit, spent, share in zip(("wall", "processor"), cost, ratio, strict=True):
        print(
            f"  {unit:9} {spent:8.3f} s {total / spent / 1e9:7.1f} GFLOP/s"
            f" {share:6.2f} x"
        )
    print(
        f"  compiling {compiling.wall_s:.1f} s wall, {compiling.cpu_s:.1f} s processor"
    )
    print(
        f"  buffers   {taken / MIB:.0f} MiB in, {temporary / MIB:.0f} temporary,"
        f" {out / MIB:.0f} out"
    )


def main(arguments: list[str] | None = None) -> int:
    """Runs everything; the exit status, always 0: numbers are no failure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reserve_speed")
    parser.add_argument("--repeat", type=int, default=5, metavar="N")
    parser.add_argument("--quick", action="store_true", help="a tiny model alone")
    parser.add_argument("--memory-of", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    chosen = cases(options.quick)
    if options.memory_of:
        index, name = options.memory_of
        print_peak(chosen[int(index)], name)
        return 0
    print(f"jax {jax.__version__}, {os.cpu_count()} processors, {sys.platform}")
    # First: a process starts with the peak of the one that started it.
    memory = [
        {name: peak_mib(index, name, options.quick) for name in PASSES}
        for index in range(len(chosen))
    ]
    for case, resident in zip(chosen, memory, strict=True):
        run_case(case, options.repeat, resident)
    return 0


def run_case(case: Case, repeat: int, memory: dict[str, dict[str, float]]) -> None:
    """Times both passes of one case and prints them with their `peak_mib`."""
    arguments = fill((case.params, case.inputs))
    built = {name: compile_pass(case, name) for name in PASSES}
    calls = [lambda run=run: run(*arguments) for run, _ in built.values()]
    plain, costs = compare(calls, max(1, repeat))
    rows, inside, cols = PRODUCT
    rate = [2e-9 * rows * inside * cols / seconds for seconds in plain]
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"\n{case.name}{load}")
    print(
        f"plain [{rows},{inside}]x[{inside},{cols}]: {rate[0]:.1f} GFLOP/s by wall,"
        f" {rate[1]:.1f} by processor seconds"
    )
    for (name, (compiled, compiling)), cost in zip(built.items(), costs, strict=True):
        report(case, name, compiled, compiling, cost, plain)
        print(
            "  resident  {peak:.0f} MiB at the peak, {before:.0f} before".format(
                **memory[name]
            )
        )


if __name__ == "__main__":
    sys.exit(main())
