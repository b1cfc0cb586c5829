"""What this machine has for a run, and what it lacks: devices, space, rates."""

import importlib.metadata
import math
import os
import pathlib
import shutil
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp

from mmdiffmask import build, config, devices, examples, versions, weights
from mmdiffmask.data import cache, tokenizers
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.models.reserve import sizes
from mmdiffmask.training import mesh as meshes

GB = 1e9
CLIPS = 8  # of train: those that the rate of the input is measured with
LEAST_S = 1.0  # that a rate is measured over
DRIVERS = ("libtpu", "jax-cuda12-plugin")
CACHES = ("JAX_COMPILATION_CACHE_DIR", cache.VARIABLE)


def look(
    experiment: config.Experiment, workdir: str, data: str | None
) -> Iterator[str]:
    """Lines on the machine, each as soon as it is known; the last one sums up.

    Args:
      experiment: the run that is meant; sizes, start, tokenizer, grid.
      workdir: where the run would lie.
      data: its records; None: nothing is said of them.

    Raises:
      ValueError: if the records cannot be read, or the run is one of texts.
    """
    if isinstance(experiment.data, config.Texts):
        raise ValueError(
            f"config {experiment.name} is of texts, and doctor knows runs of video"
            " alone; mmdiffmask pretrain says what a run of texts lacks"
        )
    lacking: list[str] = []
    needed = "records, --data DIR"
    yield from _versions()
    yield from _devices()
    yield from _paths(experiment, lacking)
    yield from _space(experiment, pathlib.Path(workdir).absolute(), lacking)
    yield _product_rate()
    try:
        experiment = build.find_files(experiment)
    except ValueError:  # said above
        data, needed = None, "a tokenizer"
    if data is None:
        yield f"input: not measured; needs {needed}"
    else:
        yield from _input(experiment, data)
    yield f"lacking: {'; '.join(lacking)}" if lacking else "nothing is lacking"


def _versions() -> Iterator[str]:
    packages = versions.of_packages()
    for name in DRIVERS:
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    yield "versions: " + ", ".join(f"{name} {v}" for name, v in packages.items())


def _devices() -> Iterator[str]:
    all_devices = jax.devices()
    first = all_devices[0]
    yield (
        f"backend: {jax.default_backend()}, {len(all_devices)} x {first.device_kind},"
        f" {jax.process_count()} process, {os.cpu_count()} processors"
    )
    memory = first.memory_stats() or {}  # a CPU tells nothing
    if limit := memory.get("bytes_limit"):
        yield f"memory: {limit / 2**30:.2f} GiB a device"


def _paths(experiment: config.Experiment, lacking: list[str]) -> Iterator[str]:
    """Where the run's start, its tokenizer and what is kept between runs lie."""
    start, tokenizer = experiment.model.checkpoint, experiment.data.tokenizer
    if start is not None:
        is_there = weights.fingerprint_of(start) is not None
        yield f"start: {start}" + ("" if is_there else ", which is not there")
        lacking += [] if is_there else [f"the checkpoint {start}"]
    if tokenizer == "reserve":
        try:
            yield f"tokenizer: {tokenizers.find_reserve(start)}"
        except ValueError as error:
            yield f"tokenizer: {error}"
            lacking.append("MERLOT-Reserve's tokenizer")
    for name in CACHES:
        yield f"{name}: {os.environ.get(name) or 'not set'}"


def run_bytes(model: config.Model) -> int:
    """What the folder of a run takes: its start, and two steps of weights and moments.

    Parameters are saved in float32; features of a probe come on top.
    """
    parameters = sum(math.prod(shape) for shape in sizes.shapes(model).values())
    return 4 * parameters * (1 + 2 * 3)


def _space(
    experiment: config.Experiment, workdir: pathlib.Path, lacking: list[str]
) -> Iterator[str]:
    there = next(path for path in (workdir, *workdir.parents) if path.exists())
    free, needed = shutil.disk_usage(there).free, run_bytes(experiment.model)
    yield f"space: {_size(free)} free in {there}; a run takes {_size(needed)}"
    if free < needed:
        lacking.append(f"{_size(needed - free)} of space in {there}")


def _size(count: int) -> str:
    return f"{count / GB:.1f} GB" if count > GB / 10 else f"{count / 1e6:.1f} MB"


def _seconds(work: Callable[[], object]) -> float:
    """Seconds that it takes, the mean over LEAST_S or more after a first time."""
    work()
    began, count = time.monotonic(), 0
    while time.monotonic() - began < LEAST_S:
        work()
        count += 1
    return (time.monotonic() - began) / count


def _product_rate() -> str:
    """TFLOP/s of matrix products on all devices at once, with the share of the peak."""
    is_cpu = jax.default_backend() == "cpu"
    width, dtype = (512, jnp.float32) if is_cpu else (4096, jnp.bfloat16)
    repeats = 2 if is_cpu else 20
    mesh = meshes.make(jax.device_count())

    def products(x: jax.Array, weight: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, repeats, lambda _, y: y @ weight, x)

    cut, same = meshes.by_example(mesh), meshes.replicated(mesh)
    x = jax.device_put(jnp.zeros((mesh.size, width, width), dtype), cut)
    weight = jax.device_put(jnp.zeros((width, width), dtype), same)
    step = jax.jit(products, in_shardings=(cut, same), out_shardings=cut)
    seconds = _seconds(lambda: jax.block_until_ready(step(x, weight)))
    rate = 2 * width**3 * repeats * mesh.size / seconds
    peak = devices.peak_flop_s(one.device_kind for one in mesh.devices.flat)
    share = f", {rate / peak:.0%} of the peak" if peak else ""
    kind = f"{width} x {width}, {jnp.dtype(dtype).name}"
    return f"matrix products ({kind}): {rate / 1e12:.3g} TFLOP/s{share}"


def _input(experiment: config.Experiment, data: str) -> Iterator[str]:
    """The records, and how many clips a second one thread makes of them."""
    corpus = Corpus.of(data)
    source = corpus.source("train")
    size = sum(
        shard.bytes for shards in corpus.manifest.shards.values() for shard in shards
    )
    yield f"records: {len(source)} of train in {data}, {_size(size)}"
    row = examples.make_row(experiment.data, experiment.masking, source)
    count = min(CLIPS, len(source))
    seconds = _seconds(lambda: [row(i) for i in range(count)])
    yield f"input: {count / seconds:.1f} clips a second of a thread"
