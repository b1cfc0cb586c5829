"""What a cached result depends on besides its settings: code and package versions."""

import hashlib
import importlib.metadata
import json
import pathlib
import platform
from collections.abc import Mapping

NOTED = "versions.json"  # in a run's folder: what it was begun with
ROOT = pathlib.Path(__file__).resolve().parent

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy")

# What each stage's result is made by, relative to the folder of the packages.
STAGES = {
    "records": (
        *("preprocessing", "mmdiffmask/grid.py", "mmdiffmask/data/frames.py"),
        *("mmdiffmask/data/records.py", "mmdiffmask/data/schema.py"),
        *("mmdiffmask/data/manifest.py", "mmdiffmask/types.py", "mmdiffmask/seeds.py"),
    ),
    "run": (
        *("mmdiffmask/build.py", "mmdiffmask/examples.py", "mmdiffmask/grid.py"),
        *("mmdiffmask/data", "mmdiffmask/models", "mmdiffmask/masking"),
        *("mmdiffmask/training", "mmdiffmask/probe/metrics.py", "mmdiffmask/types.py"),
        *("mmdiffmask/weights.py", "mmdiffmask/models/small/small"),
        *("mmdiffmask/data/toy_tokenizer.json", "mmdiffmask/data/toy_words.json"),
        "mmdiffmask/seeds.py",
    ),
    "probe": (
        *("mmdiffmask/probe", "mmdiffmask/probing.py"),
        "mmdiffmask/question_probe.py",
    ),
    "question features": (
        *("mmdiffmask/probe/question_features.py", "mmdiffmask/probe/ties.py"),
    ),
}


def of_packages() -> dict[str, str]:
    """Name -> version of Python and of the packages that results depend on."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **found}


def of_runs(folders: Mapping[str, pathlib.Path]) -> dict[str, str]:
    """Name -> version of the packages that runs were begun with, as they noted them.

    Where runs differ, each version with the rows that had it.

    Args:
      folders: row -> folder of its run.
    """
    noted = {}
    for row, folder in folders.items():
        path = folder / NOTED
        noted[row] = json.loads(path.read_text()) if path.is_file() else {}
    found: dict[str, str] = {}
    for name in dict.fromkeys(name for row in noted.values() for name in row):
        rows: dict[str, list[str]] = {}
        for row, packages in noted.items():
            rows.setdefault(packages.get(name, "not noted"), []).append(row)
        told = [f"{version} ({', '.join(of)})" for version, of in rows.items()]
        found[name] = "; ".join(told) if len(rows) > 1 else next(iter(rows))
    return found


def of_code(stage: str) -> str:
    """12 hex digits that change with any source file behind a stage of `STAGES`."""
    digest = hashlib.sha256()
    for name in STAGES[stage]:
        path = ROOT.parent / name
        files = [path] if path.is_file() else sorted(path.rglob("*.py"))
        for file in files:
            digest.update(str(file.relative_to(ROOT.parent)).encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
