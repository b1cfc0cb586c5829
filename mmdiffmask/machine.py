"""A machine: versions, devices, space, what is kept on it, rates."""

import importlib.metadata
import os
import pathlib
import shutil
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp

from mmdiffmask import devices, versions
from mmdiffmask.data import cache
from mmdiffmask.training import mesh as meshes

GB = 1e9
LEAST_S = 1.0  # that a rate is measured over
DRIVERS = ("libtpu", "jax-cuda12-plugin")
CACHES = ("JAX_COMPILATION_CACHE_DIR", cache.VARIABLE)


def versions_of_packages() -> str:
    """The packages that a run depends on, and the drivers that are installed."""
    packages = versions.of_packages()
    for name in DRIVERS:
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "versions: " + ", ".join(f"{name} {v}" for name, v in packages.items())


def backend() -> Iterator[str]:
    """What jax computes on, and the memory of it."""
    all_devices = jax.devices()
    first = all_devices[0]
    yield (
        f"backend: {jax.default_backend()}, {len(all_devices)} x {first.device_kind},"
        f" {jax.process_count()} process, {os.cpu_count()} processors"
    )
    memory = first.memory_stats() or {}  # a CPU tells nothing
    if limit := memory.get("bytes_limit"):
        yield f"memory: {limit / 2**30:.2f} GiB a device"


def caches() -> Iterator[str]:
    """Where what is kept between runs lies."""
    for name in CACHES:
        yield f"{name}: {os.environ.get(name) or 'not set'}"


def space(needed: int, workdir: pathlib.Path, lacking: list[str]) -> str:
    """The room for a run.

    Args:
      needed: bytes that its folder takes.
      workdir: where it would lie; need not exist.
      lacking: what is not there; the room that lacks is added.
    """
    there = next(path for path in (workdir, *workdir.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        lacking.append(f"{size(needed - free)} of space in {there}")
    return f"space: {size(free)} free in {there}; a run takes {size(needed)}"


def saved_bytes(parameters: int) -> int:
    """What the folder of a run takes: its start, and two steps of weights and moments.

    Parameters are saved in float32; features of a probe come on top.
    """
    return 4 * parameters * (1 + 2 * 3)


def size(count: int) -> str:
    """Bytes as messages write them."""
    if count > GB / 10:
        return f"{count / GB:.1f} GB"
    return f"{count / 1e6:.1f} MB" if count > 1e5 else f"{count / 1e3:.1f} kB"


def seconds(work: Callable[[], object]) -> float:
    """Seconds that it takes, the mean over LEAST_S or more after a first time."""
    work()
    began, count = time.monotonic(), 0
    while time.monotonic() - began < LEAST_S:
        work()
        count += 1
    return (time.monotonic() - began) / count


def product_rate() -> str:
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
    taken_s = seconds(lambda: jax.block_until_ready(step(x, weight)))
    rate = 2 * width**3 * repeats * mesh.size / taken_s
    peak = devices.peak_flop_s(one.device_kind for one in mesh.devices.flat)
    share = f", {rate / peak:.0%} of the peak" if peak else ""
    kind = f"{width} x {width}, {jnp.dtype(dtype).name}"
    return f"matrix products ({kind}): {rate / 1e12:.3g} TFLOP/s{share}"
