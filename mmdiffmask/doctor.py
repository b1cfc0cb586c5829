"""What this machine has for a run, and what it lacks: devices, space, rates."""

import importlib.metadata
import math
import os
import pathlib
import shutil
import time
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mmdiffmask import config, examples, starts, versions
from mmdiffmask.data import tokenizers
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.models.reserve import checkpoints
from mmdiffmask.training import mesh as meshes
from mmdiffmask.weights import Place

GB = 1e9
CLIPS = 8  # of train, for the rate of the input
SECONDS = 1.0  # that a rate is measured over, at least
# TFLOP/s of a device in bfloat16, as Google's pages on each have them; a v2 or v3 chip
# is two devices.
PEAKS = {"TPU v2": 23, "TPU v3": 61.5, "TPU v5 lite": 197, "TPU v6 lite": 918}
EXTRAS = ("libtpu", "jax-cuda12-plugin")


def look(
    experiment: config.Experiment, workdir: str | None, data: str | None
) -> Iterator[str]:
    """Lines on the machine, each as soon as it is known; the last one sums up.

    Args:
      experiment: the run that is meant: its model, checkpoint and tokenizer.
      workdir: where the run would lie; None: here.
      data: its records; None: no rate of the input.
    """
    lacking: list[str] = []
    yield from _versions()
    yield from _devices()
    yield from _paths(experiment, data, lacking)
    yield from _space(experiment, pathlib.Path(workdir or "."), lacking)
    yield f"matrix products: {_product_rate()}"
    if data is None:
        yield "input: not measured; name records with --data"
    else:
        yield f"input: {_input_rate(experiment, data):.1f} clips a second from a thread"
    yield f"lacking: {'; '.join(lacking)}" if lacking else "nothing is lacking"
