"""The devices as one `data` axis: the same program on 1 CPU, 1 GPU or 8 TPU cores."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mmdiffmask import devices as machine


def make(batch_size: int, devices: list | None = None) -> Mesh:
    """One `data` axis over all devices; the compiler places what is not on it.

    Raises:
      ValueError: if the devices cannot share a batch equally, or belong to several
        processes.
    """
    machine.check_processes()
    devices = jax.devices() if devices is None else devices
    if batch_size % len(devices):
        raise ValueError(
            f"training.batch_size={batch_size} cannot be shared by {len(devices)}"
            " devices; choose a multiple"
        )
    return Mesh(np.array(devices), ("data",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same on every device."""
    return NamedSharding(mesh, PartitionSpec())


def by_example(mesh: Mesh) -> NamedSharding:
    """Cut over devices along the first axis."""
    return NamedSharding(mesh, PartitionSpec("data"))


def within(mesh: Mesh, function: Callable) -> Callable:
    """The function, which knows the mesh while it is traced: see `everywhere`."""

    @functools.wraps(function)
    def run(*arguments: Any) -> Any:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return function(*arguments)

    return run


def everywhere(tree: Any) -> Any:
    """Arrays sent to every device here, once: for what a loop reads again and again.

    The compiler, which else chooses where, sends them in each turn of the loop. Outside
    of `within`, and on one device, they are left as they are.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return tree
    return jax.lax.with_sharding_constraint(tree, PartitionSpec())
