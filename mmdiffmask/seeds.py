"""Generators, 32-bit words and folders of seeds up to 2^63 - 1."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np

LARGEST = 2**63 - 1


def check(name: str, seed: int) -> None:
    """Checks that a seed is one of those that can be told apart.

    Raises:
      ValueError: if it is negative or above 2^63 - 1.
    """
    if not 0 <= seed <= LARGEST:
        raise ValueError(f"{name} {seed}: must be from 0 to {LARGEST} (2^63 - 1)")


def words(seed: int) -> tuple[int, int]:
    """The upper and the lower 32 bits."""
    return int(seed) >> 32, int(seed) % 2**32


def generator(
    seed: int, *purpose: int, before: Sequence[int] = ()
) -> np.random.Generator:
    """The numpy generator of a seed and what it is for.

    numpy takes a number from 2^32 on as two words, so (2^32, epoch 0) would be (0,
    epoch 1). Here the upper word stands last, where no purpose does; below 2^32 the
    generator is `default_rng([*before, seed, *purpose])`.

    Args:
      seed: of the run or the data set.
      *purpose: epoch, name and the like, each below 2^32.
      before: what stands before the seed.
    """
    upper, lower = words(seed)
    last = [upper] if upper else []
    return np.random.default_rng([*before, lower, *purpose, *last])


def folder(workdir: str | os.PathLike, seed: int) -> pathlib.Path:
    """Where an experiment keeps the runs of a seed: 0 in its own folder."""
    path = pathlib.Path(workdir)
    return path / f"seed={seed}" if seed else path
