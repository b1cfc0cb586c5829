"""What a cached result depends on besides its settings: code and package versions."""

import contextlib
import functools
import importlib.metadata
import os
import pathlib
import platform
import subprocess
from collections.abc import Mapping

CODE = "mmdiffmask"
OF_STAGES = "numbers"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy")

# Raise the number of a stage by hand when the same settings and the same input give
# other results: what was kept of it is then made anew. A docstring, a moved file or a
# faster way to the same numbers raises nothing. tests/test_versions.py repeats a pinned
# micro-run and says when one is due.
NUMBERS = {
    "records": 1,  # preprocessing, the toy set, patch maps
    "training": 1,  # rows, masks, model, terms, optimisers
    "features": 1,  # the frozen read-outs
    "heads": 2,  # linear heads and their scores; 2: with log-probabilities
}


def number(*stages: str) -> str:
    """The numbers of some stages, as part of the key of their cached results."""
    return ", ".join(f"{stage} {NUMBERS[stage]}" for stage in stages)


def of_packages() -> dict[str, str]:
    """Name -> version of Python and of the packages that results depend on."""
    packages = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **packages}


@functools.cache
def of_code() -> str:
    """The code's revision as git describes its checkout, else its package's version."""
    root = pathlib.Path(__file__).resolve().parents[1]
    if (root / ".git").exists():
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        # Other programs may be at work in the checkout: nothing is written there.
        environment["GIT_OPTIONAL_LOCKS"] = "0"
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            described = subprocess.run(
                ["git", "describe", "--always", "--tags", "--dirty", "--abbrev=12"],
                cwd=root,
                env=environment,
                capture_output=True,
                text=True,
                check=True,
                timeout=10,
            )
            return described.stdout.strip()
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(CODE)
    return "unknown"


def of_now() -> dict[str, str]:
    """Name -> version of the code, its numbers, and all that `of_packages` has."""
    return {CODE: of_code(), OF_STAGES: number(*NUMBERS)} | of_packages()


def of_runs(noted: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Name -> version of the packages that runs were begun with, as they noted them.

    Where runs differ, each version with the rows that had it.

    Args:
      noted: row -> what its run noted; empty where it did not.
    """
    version_of_name: dict[str, str] = {}
    for name in dict.fromkeys(name for row in noted.values() for name in row):
        rows_of_version: dict[str, list[str]] = {}
        for row, packages in noted.items():
            version = packages.get(name, "not noted")
            rows_of_version.setdefault(version, []).append(row)
        if len(rows_of_version) == 1:
            version_of_name[name] = next(iter(rows_of_version))
            continue
        version_of_name[name] = "; ".join(
            f"{version} ({', '.join(rows)})"
            for version, rows in rows_of_version.items()
        )
    return version_of_name
