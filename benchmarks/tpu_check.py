"""Whether the programs of shipped configs fit a TPU v2 core: compiled without a TPU.

`python -m benchmarks.tpu_check [CONFIG ...] [--set NAME=VALUE] [--out FILE]` in the
environment of requirements/tpu.txt (`make tpu-check`) compiles, on a CPU machine, what
a run of each config compiles on the eight cores of a v2-8: the update, the held-out
scores, the drawing of masks, and the encoder of the probe. A line each: the bytes that
the program needs on a core (arguments, outputs that are no argument again,
temporaries), what the run holds beside it, and their sum against the 7.48 GiB that the
compiler grants. Status 1 if a sum passes that.

The compiler itself refuses only temporaries that pass the limit, so the sum is worked
out here. One program at a time, each in a process of its own, as one process alone may
load libtpu; lines are kept in FILE, and what is there already is not compiled again.
"""

import argparse
import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from mmdiffmask import (
    atomic,
    build,
    config,
    configure,
    examples,
    settings_json,
    starts,
    types,
    versions,
)
from mmdiffmask.data.records import schema
from mmdiffmask.masking import sampling
from mmdiffmask.training import mesh as meshes
from mmdiffmask.training import optim, steps
from mmdiffmask.training.family import Held
from mmdiffmask.training.terms import patches

GIB = 2**30
OUT = "runs/tpu_check.json"
LIMIT_GIB = 7.48  # of the 8 of a core: what the compiler grants
CONFIGS = ("tpu_configs/tvqa.py", "tpu_configs/tvqa_table4.py")
CONFIGS += ("tpu_configs/social_iq.py", "tpu_configs/reserve_base.py")
# 18x32 is the released checkpoints' larger grid.
GRIDS = {"12x20": ("data.rows=12", "data.cols=20"), "18x32": ("data.rows=18",)}
GRIDS["18x32"] += ("data.cols=32",)
# jax asks a machine's metadata server for these, and here there is none.
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v2-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
}


@dataclasses.dataclass(frozen=True)
class Program:
    """A function with the shapes it is called with.

    Attributes:
      lower: () -> the lowered program.
      beside: bytes on a core that a run holds meanwhile and that are no argument.
    """

    lower: Callable[[], Any]
    beside: int


def made_up_record(data: config.Data) -> schema.Record:
    """A record without frames, sound or boxes: rows have the shapes of any other."""
    t, n_patches = data.segments, data.rows * data.cols
    none = np.zeros(0, np.float32)
    return schema.Record(
        example_id="example",
        clip="clip",
        group="clip",
        question="",
        answers=(),
        answer_index=-1,
        span_percent=(0, 100),
        subtitles=("",) * t,
        line_text=(),
        line_start_s=none,
        line_end_s=none,
        frames=(b"",) * t,
        frame_time_s=np.zeros(t, np.float32),
        source_size_px=np.zeros((t, 2), np.int32),
        is_frame_valid=np.zeros(t, bool),
        is_audio_valid=np.zeros(t, bool),
        spectrogram=np.zeros((t, data.sub_segments, 60, 65), np.float16),
        is_boxed=True,
        boxes=types.Boxes(
            frame=np.zeros(0, np.int32),
            xyxy_px=np.zeros((0, 4), np.float32),
            kind=(),
            label=(),
            score=none,
            track=np.zeros(0, np.int32),
            source=(),
        ),
        covered_share=np.zeros((0, n_patches), np.float16),
        labels={},
    )


def batch_shapes(experiment: config.Experiment) -> types.VideoBatch:
    """Shapes of an update's batch, from a row that the loader's own code makes."""
    row = examples.make_row(
        experiment.data,
        experiment.masking,
        [made_up_record(experiment.data)],
        examples.language(experiment, 0),
    )(0)
    size = experiment.training.batch_size
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((size, *np.shape(x)), np.asarray(x).dtype), row
    )


def programs(experiment: config.Experiment, mesh: Mesh) -> Iterator[tuple[str, Any]]:
    """Name -> what a run of the config compiles, with what lies beside it."""
    family, settings = build.family(experiment), experiment.training
    params, batch = starts.shapes(experiment), batch_shapes(experiment)
    key = jax.eval_shape(lambda: sampling.seed_key(0))
    tx = optim.make(settings)
    state = jax.eval_shape(
        lambda p: steps.TrainState(p, tx.init(p), np.int32(0)), params
    )
    held = Held(params, _held_values(experiment.model.hidden), key)
    is_masked = None
    if family.masked:
        is_masked = jax.ShapeDtypeStruct(batch.is_patch_valid.shape, bool)
        draw = steps.make_draw(build.draw_patches(experiment), mesh)
        epoch = jax.ShapeDtypeStruct((), np.int32)
        yield (
            "draw",
            Program(
                lambda: draw.lower(key, batch, epoch), size_of(state) + size_of(params)
            ),
        )
    train = steps.make_train_step(family, settings, mesh)
    yield "train", Program(lambda: train.lower(state, held, batch, is_masked), 0)
    moments = size_of(state) - size_of(params)
    if family.masked:
        score = steps.make_score_step(family, mesh)
        yield (
            "score",
            Program(lambda: score.lower(params, held, batch, is_masked), moments),
        )
    if family.others is not None:
        others = steps.make_others_step(family, mesh)
        yield "others", Program(lambda: others.lower(params, held, batch), moments)


def size_of(tree: Any) -> int:
    """Bytes of a tree of shapes."""
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def _held_values(hidden: int) -> dict[str, jax.ShapeDtypeStruct]:
    channel = jax.ShapeDtypeStruct((hidden,), np.float32)
    return {patches.NOISE_MEAN: channel, patches.NOISE_SD: channel}


def compiled(experiment: config.Experiment, name: str) -> dict[str, float]:
    """GiB on a core of one program of the config, and what compiling took."""
    from jax.experimental import topologies  # asks for libtpu

    board = topologies.get_topology_desc(platform="tpu", topology_name="v2:2x2")
    mesh = meshes.make(experiment.training.batch_size, list(board.devices))
    program = dict(programs(experiment, mesh))[name]
    lowered, began, wall = program.lower(), time.process_time(), time.monotonic()
    memory = lowered.compile().memory_analysis()
    outputs = memory.output_size_in_bytes - memory.alias_size_in_bytes
    parts = {
        "arguments": memory.argument_size_in_bytes,
        "outputs": outputs,
        "temporaries": memory.temp_size_in_bytes,
        "beside": program.beside,
    }
    sizes = {part: size / GIB for part, size in parts.items()}
    seconds = {"cpu_s": time.process_time() - began, "wall_s": time.monotonic() - wall}
    return sizes | {"sum": sum(sizes.values())} | seconds


def names_of(experiment: config.Experiment) -> list[str]:
    """The programs that a run of the config compiles."""
    return list(dict(programs(experiment, meshes.make(experiment.training.batch_size))))


def key_of(experiment: config.Experiment, name: str) -> str:
    """What a line is kept under: it changes with settings, code and compiler."""
    compiler = [importlib.metadata.version(x) for x in ("jax", "libtpu")]
    numbers = versions.number("training")
    return settings_json.fingerprint(experiment, name, numbers, *compiler)


def line(title: str, result: dict[str, Any]) -> str:
    """A program's line to read."""
    if "error" in result:
        return f"{title:44} does not compile: {result['error']}"
    fits = "fits" if result["sum"] <= LIMIT_GIB else "DOES NOT FIT"
    return (
        f"{title:44} {result['arguments']:6.3f} + {result['outputs']:.3f}"
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
    jax.config.update("jax_platforms", "cpu")  # else this process would load libtpu
    if options.only:
        chosen = load(options.configs[0], options.grid[0], options.set)
        print(json.dumps(compiled(chosen, options.program[0])))
        return 0
    if importlib.util.find_spec("libtpu") is None:
        parser.error("libtpu is not installed: make tpu-check makes an environment")
    known = _read(options.out)
    is_good = True
    print("GiB a core: arguments + outputs + temporaries + held beside = sum")
    for path in options.configs:
        for grid in options.grid or GRIDS:
            experiment = load(path, grid, options.set)
            for name in names_of(experiment):
                if options.program and name not in options.program:
                    continue
                key = key_of(experiment, name)
                if key not in known:
                    sets = [x for item in options.set for x in ("--set", item)]
                    words = [path, "--grid", grid, "--program", name, "--only", *sets]
                    known[key] = compile_apart(words)
                    atomic.write(options.out, json.dumps(known, indent=1))
                title = f"{pathlib.Path(path).stem} {grid} {name}"
                print(line(title, known[key]), flush=True)
                is_good &= known[key].get("sum", LIMIT_GIB + 1) <= LIMIT_GIB
    return 0 if is_good else 1


def load(path: str, grid: str, overrides: list[str]) -> config.Experiment:
    """The config on a grid, without the files that its run would read."""
    sets = [*GRIDS[grid], "data.tokenizer=toy", "model.checkpoint=none", *overrides]
    return configure.override(configure.load(path), sets)


def _read(path: pathlib.Path) -> dict[str, dict[str, Any]]:
    return json.loads(path.read_text()) if path.is_file() else {}


if __name__ == "__main__":
    sys.exit(main())
