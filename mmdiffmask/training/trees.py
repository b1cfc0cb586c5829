"""Trees of arrays and of their shapes: what was saved against what is wanted."""

from collections.abc import Collection
from typing import Any

import jax
import numpy as np


def check_same(
    stored: Any, wanted: Any, where: Any, may_lack: Collection[str] = ()
) -> None:
    """Compares names, shapes and types of two trees of arrays.

    Orbax casts types silently and explains shapes at length.

    Args:
      stored: what a folder holds: arrays, or their shapes and types.
      wanted: what the model has.
      where: the folder, for the message.
      may_lack: top names that what is stored need not have.

    Raises:
      ValueError: naming the first array that differs.
    """
    absent = [name for name in may_lack if name not in stored]
    wanted = {k: v for k, v in wanted.items() if k not in absent} if absent else wanted
    there, here = _shapes(stored), _shapes(wanted)
    for name in sorted(there | here):
        if there.get(name) != here.get(name):
            raise ValueError(
                f"{where}: the checkpoint's {name} is {there.get(name, 'absent')}, the"
                f" model's {here.get(name, 'absent')}; use its own settings"
            )


def _shapes(tree: Any) -> dict[str, str]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): (
            f"{np.dtype(leaf.dtype).name}{list(leaf.shape)}"
        )
        for path, leaf in leaves
    }


def of_metadata(metadata: Any) -> Any:
    """Shapes and types of saved arrays, from what Orbax says of a folder."""
    tree = getattr(metadata, "tree", metadata)
    tree = getattr(tree, "item_metadata", tree)
    return getattr(tree, "tree", tree)


def abstract(tree: Any, sharding: jax.sharding.Sharding) -> Any:
    """The tree's shapes and types, to be filled on these devices."""
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree
    )


def to_host(tree: Any) -> Any:
    """The arrays in numpy, in memory of their own: devices may reuse theirs."""
    for leaf in jax.tree.leaves(tree):
        leaf.copy_to_host_async()
    return jax.tree.map(_copied, tree)


def _copied(leaf: jax.Array) -> np.ndarray:
    # numpy sees a processor's arrays where they lie; those of others it copies.
    is_shared = any(device.platform == "cpu" for device in leaf.devices())
    return np.array(leaf) if is_shared else np.asarray(leaf)
