"""The devices as one `data` axis: the same program on 1 CPU, 1 GPU or 8 TPU cores."""

import functools
import math
from collections.abc import Callable, Hashable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mmdiffmask import devices as machine

SMALL = 2**16  # elements: gathering an array takes longer than keeping so few


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


def spread(tree: Any, mesh: Mesh) -> Any:
    """A sharding for each array: large ones are cut, one part a device.

    For arrays that no device needs whole for long. An array is cut along the first axis
    that the devices share equally; one without such an axis, and a small one, lies on
    every device, and so do all where there is one device.

    Args:
      tree: of arrays or their shapes.
      mesh: `make`.
    """

    def of_array(x: Any) -> NamedSharding:
        axes = [i for i, size in enumerate(x.shape) if size % mesh.size == 0]
        if mesh.size == 1 or not axes or math.prod(x.shape) < SMALL:
            return replicated(mesh)
        return NamedSharding(mesh, PartitionSpec(*[None] * axes[0], "data"))

    return jax.tree.map(of_array, tree)


class Placed:
    """A jitted function whose shardings follow from the shapes of its arguments."""

    def __init__(
        self,
        function: Callable[..., Any],
        shardings: Callable[..., tuple[Any, Any]],
        donate: tuple[int, ...] = (),
    ):
        """Compiles nothing yet.

        Args:
          function: what is compiled.
          shardings: its arguments -> shardings of its arguments, of its results.
          donate: positions of arguments whose memory the results take.
        """
        self._function, self._shardings, self._donate = function, shardings, donate
        self._jitted: dict[Hashable, jax.stages.Wrapped] = {}

    def _of(self, arguments: tuple) -> jax.stages.Wrapped:
        structure = jax.tree.structure(arguments)
        if structure not in self._jitted:
            takes, gives = self._shardings(*arguments)
            self._jitted[structure] = jax.jit(
                self._function,
                in_shardings=takes,
                out_shardings=gives,
                donate_argnums=self._donate,
            )
        return self._jitted[structure]

    def __call__(self, *arguments: Any) -> Any:
        """The function's results."""
        return self._of(arguments)(*arguments)

    def lower(self, *arguments: Any) -> jax.stages.Lowered:
        """The program for arguments or their shapes."""
        return self._of(arguments).lower(*arguments)

    def trace(self, *arguments: Any) -> jax.stages.Traced:
        """The program before it is lowered for a platform."""
        return self._of(arguments).trace(*arguments)


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
