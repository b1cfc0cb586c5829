"""The devices as one `data` axis: the same program on 1 CPU, 1 GPU or 8 TPU cores."""

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
