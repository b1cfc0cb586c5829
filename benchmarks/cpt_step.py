"""Times a step of continued pretraining beside the released one, restated.

`python -m benchmarks.cpt_step` compiles and runs three training steps in one process:
ours in its default, ours with a row of tpu_configs/reference.py, and
`benchmarks.released_step`, one scatter a hidden patch behind the vision tower. They
have the same model (`small`), grid (12x24), batch, number format and optimiser, are
jitted alike and donate their state alike. A plain matrix product runs before each call,
so that all see the same load; processor seconds (user and system, all threads) are the
steady figure where a machine is shared.

The gate: the preset's step takes less time, less memory and less compiling than the
restated one. The exit status is 1 where it is not met.

`benchmarks.cpt_communication` follows: what our step sends on 8 and on 32 cores.
"""

import argparse
import os
import re
import sys
from typing import NamedTuple

import jax

from benchmarks import commands, cpt_communication, cpt_programs
from benchmarks.reserve_speed import MIB, PRODUCT, Cost, compare, median, timed
from mmdiffmask import config

PROG = "python -m benchmarks.cpt_step"
INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?[\w.-]+ = ", re.MULTILINE)


class Measured(NamedTuple):
    """What a program costs; memory in bytes of the compiled program's buffers.

    `tracing` is Python's part of compiling, `compiling` XLA's.
    """

    name: str
    flops: int
    tracing: Cost
    compiling: Cost
    running: Cost
    temporaries: int
    arguments: int
    memory: int
    instructions: int

    @property
    def to_compile(self) -> Cost:
        """From functions to a program."""
        pairs = zip(self.tracing, self.compiling, strict=True)
        return Cost(*(sum(pair) for pair in pairs))


class Built(NamedTuple):
    """A compiled step and what it cost to get it."""

    compiled: jax.stages.Compiled
    tracing: Cost
    compiling: Cost


def build(program: cpt_programs.Program) -> Built:
    """Traces and compiles from nothing: what JAX has kept of others is forgotten."""
    state = jax.eval_shape(program.first_state)
    jax.clear_caches()
    lowered, compiled = [], []
    tracing = timed(lambda: lowered.append(program.step.lower(state, *program.others)))
    compiling = timed(lambda: compiled.append(lowered[0].compile()))
    return Built(compiled[0], tracing, compiling)


class Run:
    """A step that goes on from the state before, which it takes the place of."""

    def __init__(self, program: cpt_programs.Program, built: Built):
        self.compiled = built.compiled
        self.state, self.others = program.first_state(), program.others

    def __call__(self) -> tuple:
        """One update."""
        self.state, metrics = self.compiled(self.state, *self.others)
        return self.state, metrics


def measure(
    programs: list[cpt_programs.Program], repeat: int, compiles: int
) -> tuple[Cost, list[Measured]]:
    """The plain product's seconds, and each program's costs; medians, interleaved.

    Args:
      programs: what to measure.
      repeat: calls of each.
      compiles: times that each is compiled.
    """
    turns = [[build(program) for program in programs] for _ in range(compiles)]
    built = list(zip(*turns, strict=True))
    runs = [Run(p, b[0]) for p, b in zip(programs, built, strict=True)]
    plain, running = compare(runs, repeat)
    measured = [
        _measured(program, versions, cost)
        for program, versions, cost in zip(programs, built, running, strict=True)
    ]
    return plain, measured


def _measured(
    program: cpt_programs.Program, versions: tuple[Built, ...], running: Cost
) -> Measured:
    compiled = versions[0].compiled
    sizes = compiled.memory_analysis()
    taken, temporary = sizes.argument_size_in_bytes, sizes.temp_size_in_bytes
    fresh = sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    return Measured(
        program.name,
        program.flops,
        tracing=median([version.tracing for version in versions]),
        compiling=median([version.compiling for version in versions]),
        running=running,
        temporaries=temporary,
        arguments=taken,
        memory=taken + temporary + fresh,
        instructions=len(INSTRUCTION.findall(compiled.as_text())),
    )


def table(plain: Cost, measured: list[Measured]) -> list[str]:
    """A line a figure, a column a program."""
    rows, inside, cols = PRODUCT
    rate = Cost(*(2 * rows * inside * cols / seconds for seconds in plain))

    def line(label: str, values: list[float], digits: int) -> str:
        return f"{label:34}" + "".join(f"{value:12,.{digits}f}" for value in values)

    def share(one: Measured, index: int) -> float:
        return one.flops / one.running[index] / rate[index]

    return [
        f"{'':34}" + "".join(f"{one.name:>12}" for one in measured),
        line("GFLOP that the loss asks for", [m.flops / 1e9 for m in measured], 1),
        line("a step, processor s", [m.running.cpu_s for m in measured], 3),
        line("a step, wall s", [m.running.wall_s for m in measured], 3),
        line("x of the product, by processor s", [share(m, 1) for m in measured], 2),
        line("x of the product, by wall", [share(m, 0) for m in measured], 2),
        line("tracing, processor s", [m.tracing.cpu_s for m in measured], 1),
        line("compiling, processor s", [m.compiling.cpu_s for m in measured], 1),
        line("both, processor s", [m.to_compile.cpu_s for m in measured], 1),
        line("both, wall s", [m.to_compile.wall_s for m in measured], 1),
        line("temporaries, MiB", [m.temporaries / MIB for m in measured], 1),
        line("arguments, MiB", [m.arguments / MIB for m in measured], 1),
        line("memory in all, MiB", [m.memory / MIB for m in measured], 1),
        line("instructions", [m.instructions for m in measured], 0),
    ]


def gate(preset: Measured, released: Measured) -> dict[str, float]:
    """Figure -> how many times the released step's is the preset's; 1 is equal."""
    return {
        "time": released.running.cpu_s / preset.running.cpu_s,
        "memory": released.memory / preset.memory,
        "compiling": released.to_compile.cpu_s / preset.to_compile.cpu_s,
    }


def _report(options: argparse.Namespace) -> int:
    """Measures, prints and judges; the exit status."""
    if jax.config.jax_compilation_cache_dir and not options.quick:
        raise ValueError(
            "JAX_COMPILATION_CACHE_DIR is set: compiling would be read from there;"
            " unset it"
        )
    of_name = cpt_programs.settings(options.model, options.clips, options.quick)
    preset = of_name[cpt_programs.PRESET]
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"jax {jax.__version__}, {os.cpu_count()} processors, {sys.platform}{load}")
    print(
        f"{options.model}, {preset.data.rows}x{preset.data.cols} patches, batch of"
        f" {options.clips}, {preset.model.dtype}, {preset.training.optimiser}"
    )
    programs = cpt_programs.programs(of_name)
    plain, measured = measure(programs, options.repeat, options.compiles)
    rows, inside, cols = PRODUCT
    rate = [2e-9 * rows * inside * cols / seconds for seconds in plain]
    print(
        f"plain [{rows},{inside}]x[{inside},{cols}]: {rate[0]:.1f} GFLOP/s by wall,"
        f" {rate[1]:.1f} by processor seconds\n"
    )
    print("\n".join(table(plain, measured)), end="\n\n")
    of_program = {one.name: one for one in measured}
    times = gate(of_program[cpt_programs.PRESET], of_program[cpt_programs.RELEASED])
    is_met = min(times.values()) > 1
    words = ", ".join(f"{name} {factor:.2f}" for name, factor in times.items())
    print(f"gate {'met' if is_met else 'NOT met'}: released by preset: {words}")
    return 0 if is_met else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROG)
    parser.add_argument("--model", default="small", choices=sorted(config.MODELS))
    parser.add_argument("--clips", type=int, default=8, metavar="N", help="a batch (8)")
    parser.add_argument("--repeat", type=int, default=7, metavar="N", help="calls (7)")
    parser.add_argument("--compiles", type=int, default=1, metavar="N", help="each (1)")
    parser.add_argument(
        "--only", choices=("steps", "communication"), help="one of both parts"
    )
    parser.add_argument("--quick", action="store_true", help="data of no size")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Runs everything; the exit status: 1 if the gate is not met, 2 for a mistake."""
    options = _parser().parse_args(arguments)
    status = 0
    if options.only != "communication":
        status = commands.status(PROG, lambda: _report(options))
    if options.only == "steps" or status == 2:
        return status
    print()
    print("\n".join(cpt_communication.lines(options.model, options.quick)))
    return status


if __name__ == "__main__":
    sys.exit(main())
