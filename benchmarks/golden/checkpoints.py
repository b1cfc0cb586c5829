"""A checkpoint file with its optimiser's state to the arrays that loading it gives."""

import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from benchmarks.golden import folder
from mmdiffmask.models.reserve import checkpoints

CHECKPOINT = "toy_with_optimizer"


def toy_with_optimizer(golden: folder.Golden) -> dict:
    """Step and counts, parameters as float32, moments as bit patterns."""
    stored = checkpoints.read(golden.folder / CHECKPOINT)
    state = stored.opt_state
    arrays = {
        "step": np.asarray(stored.step),
        "count": state["0"]["count"],
        "schedule_count": state["2"]["count"],
    }
    for path, x in traverse_util.flatten_dict(stored.params).items():
        arrays["/".join(("params_loaded", *path))] = x.astype(np.float32)
    for kind in ("mu", "nu"):
        for path, x in traverse_util.flatten_dict(state["0"][kind]).items():
            bits = np.asarray(x, jnp.bfloat16).view(np.uint16)
            arrays["/".join((f"{kind}_bits", *path))] = bits
    return arrays
