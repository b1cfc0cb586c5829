"""Whether the programs of shipped configs fit a TPU v2 core: compiled without a TPU.

`python -m benchmarks.tpu_check [CONFIG ...] [--set NAME=VALUE] [--out FILE]` in the
environment of requirements/tpu.txt (`make tpu-check`) compiles, on a CPU machine, what
a run of each config compiles on the eight cores of a v2-8: the drawing of masks, the
update, the held-out scores, a start's attention, and what the probe reads out of clips,
of windows and of questions. A line each: the bytes that the program needs on a core
(arguments, outputs that take no argument's place, temporaries), what the run holds
beside it, and their sum against the 7.48 GiB that the compiler grants. Status 1 if a
sum passes that.

The compiler itself refuses only temporaries that pass the limit, so the sum is worked
out here. One program at a time, each in a process of its own, as one process alone may
load libtpu. Lines are kept in FILE under the program's text and the compiler's version:
what is there is not compiled again, nor is one program that several configs share.
"""

import argparse
import dataclasses
import datetime
import functools
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import jax

from benchmarks import tpu_programs
from mmdiffmask import atomic, config, configure
from mmdiffmask.training import mesh as meshes

GIB = 2**30
OUT = "runs/tpu_check.json"
CORES = 8
LIMIT_GIB = 7.48  # of the 8 of a core: what the compiler grants
CONFIGS = ("tpu_configs/tvqa.py", "tpu_configs/tvqa_table4.py")
CONFIGS += ("tpu_configs/social_iq.py", "tpu_configs/reserve_base.py")
# 18x32 is the released checkpoints' larger grid.
GRIDS = {"12x20": ("data.rows=12", "data.cols=20"), "18x32": ("data.rows=18",)}
GRIDS["18x32"] += ("data.cols=32",)
# No program depends on these, so configs that differ in them alone share theirs; nor do
# files that a run reads, which are not here.
ALIKE = ("training.epochs=0", "training.warmup_epochs=0", "training.patience=3")
ALIKE += ("training.eval_every_epochs=0", "training.eval_every=100")
ALIKE += ("training.save_every=100", "training.early_stopping=true")
ALIKE += ("data.tokenizer=toy", "model.checkpoint=none")
# jax asks a machine's metadata server for these, and here there is none.
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v2-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
}
COUNT_FLAG = "--xla_force_host_platform_device_count"


def compiled(experiment: config.Experiment, name: str) -> dict[str, float]:
    """GiB and FLOP on a core of one program of the config, and what compiling took."""
    from jax.experimental import topologies  # asks for libtpu

    board = topologies.get_topology_desc(platform="tpu", topology_name="v2:2x2")
    mesh = meshes.make(experiment.training.batch_size, list(board.devices))
    program = tpu_programs.programs(experiment, mesh)[name]
    lowered = program.step.lower(*program.arguments)
    began, wall = time.process_time(), time.monotonic()
    ready = lowered.compile()
    memory = ready.memory_analysis()
    outputs = memory.output_size_in_bytes - memory.alias_size_in_bytes
    parts = {
        "arguments": memory.argument_size_in_bytes,
        "outputs": outputs,
        "temporaries": memory.temp_size_in_bytes,
        "beside": program.beside,
    }
    sizes = {part: size / GIB for part, size in parts.items()}
    seconds = {"cpu_s": time.process_time() - began, "wall_s": time.monotonic() - wall}
    flops = {"flops": ready.cost_analysis()["flops"]}  # of one core
    return sizes | {"sum": sum(sizes.values())} | flops | seconds


@functools.cache
def programs(experiment: config.Experiment) -> dict[str, tpu_programs.Program]:
    """The programs that a run of the config compiles, for eight simulated devices."""
    mesh = meshes.make(experiment.training.batch_size, jax.devices()[:CORES])
    return tpu_programs.programs(experiment, mesh)


@functools.cache
def key_of(experiment: config.Experiment, name: str) -> str:
    """What a line is kept under: it changes with the program and the compiler."""
    program = programs(experiment)[name]
    return f"{name} {tpu_programs.digest(program)} {compiler()}"


def compiler() -> str:
    """The versions that a line holds for."""
    packages = ("jax", "libtpu")
    return " ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)


def line(title: str, result: dict[str, Any]) -> str:
    """A program's line to read."""
    if "error" in result:
        return f"{title:32} does not compile: {result['error']}"
    fits = "fits" if result["sum"] <= LIMIT_GIB else "DOES NOT FIT"
    return (
        f"{title:32} {result['arguments']:6.3f} + {result['outputs']:.3f}"
        f" + {result['temporaries']:.3f} + {result['beside']:.3f} ="
        f" {result['sum']:6.3f} GiB, {fits}; {result['cpu_s']:.0f} processor s"
    )


def compile_apart(arguments: list[str]) -> dict[str, Any]:
    """`compiled` in a process of its own: libtpu is loaded by one at a time."""
    command = [sys.executable, "-m", "benchmarks.tpu_check", *arguments]
    ran = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | ENVIRONMENT
    )
    if ran.returncode == 0:
        return json.loads(ran.stdout.splitlines()[-1])
    if ran.returncode < 0:  # it takes up to 18 GB; the system ends what takes too much
        reason = f"ended by signal {-ran.returncode}; is there memory enough?"
        return {"error": reason}
    lines = [x for x in ran.stderr.splitlines() if x.strip()] or ["no message"]
    return {"error": lines[-1][:300]}


def main(arguments: list[str] | None = None) -> int:
    """A line a program; 1 if one does not fit or does not compile."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tpu_check")
    parser.add_argument("configs", nargs="*", default=CONFIGS, metavar="CONFIG")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--grid", choices=GRIDS, action="append")
    parser.add_argument("--program", action="append", metavar="NAME")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(OUT))
    parser.add_argument("--only", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.only:
        experiment = load(options.configs[0], options.grid[0], options.set)
        print(json.dumps(compiled(experiment, options.program[0])))
        return 0
    if importlib.util.find_spec("libtpu") is None:
        parser.error("libtpu is not installed: make tpu-check makes an environment")
    _simulate_devices()
    print("GiB a core: arguments + outputs + temporaries + held beside = sum")
    sums = []
    for title, result in results(options):
        print(line(title, result), flush=True)
        sums.append(result.get("sum", LIMIT_GIB + 1))
    return 0 if all(size <= LIMIT_GIB for size in sums) else 1


def results(options: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """Config, grid and name of each program, with its line as it is kept."""
    known = _read(options.out)
    for path in options.configs:
        for grid in options.grid or GRIDS:
            experiment = load(path, grid, options.set)
            for name in programs(experiment):
                if options.program and name not in options.program:
                    continue
                title = f"{pathlib.Path(path).stem} {grid} {name}"
                key = key_of(experiment, name)
                if "sum" not in known.get(key, {}):  # what failed is tried again
                    sets = [x for item in options.set for x in ("--set", item)]
                    words = [path, "--grid", grid, "--program", name, "--only", *sets]
                    today = datetime.datetime.now(datetime.UTC).date().isoformat()
                    noted = {"title": " ".join([title, *options.set]), "day": today}
                    known[key] = noted | compile_apart(words)
                    atomic.write(options.out, json.dumps(known, indent=1))
                yield title, known[key]


def load(path: str, grid: str, overrides: list[str]) -> config.Experiment:
    """The config on a grid, without what changes no program."""
    sets = [*GRIDS[grid], *ALIKE, *overrides]
    experiment = configure.override(configure.load(path), sets)
    probe = config.Probe(read_outs=tuple(sorted(experiment.probe.read_outs)))
    return dataclasses.replace(
        experiment, name="any", rows=(), probe=probe, report_clips=1
    )


def _simulate_devices() -> None:
    """Eight devices for this process, which loads no libtpu; before jax looks."""
    jax.config.update("jax_platforms", "cpu")
    flags = os.environ.get("XLA_FLAGS", "")
    if COUNT_FLAG not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {COUNT_FLAG}={CORES}".strip()


def _read(path: pathlib.Path) -> dict[str, dict[str, Any]]:
    return json.loads(path.read_text()) if path.is_file() else {}


if __name__ == "__main__":
    sys.exit(main())
