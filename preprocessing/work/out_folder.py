"""Finds out what OUT holds: finished records, an unfinished run, or something else."""

import contextlib
import dataclasses
import importlib.metadata
import json
import pathlib
import shutil
from collections.abc import Iterable, Iterator
from typing import Any

from mmdiffmask import atomic
from mmdiffmask.data.records import manifest as manifest_lib
from mmdiffmask.data.records.manifest import Manifest
from preprocessing.items import Search, Settings, Skip

WORK, STATE, LOCK = ".work", "run.json", "lock"
SKIPPED, REPAIRED = "skipped.jsonl", "repaired.jsonl"
LIBRARIES = (
    "mmdiffmask array_record av ftfy numpy opencv-python pysubs2 tensorflow-datasets"
)


# A setting that came later; left out if nobody sets it, so that folders from before are
# known as finished.
LATER = "sound_track"


def describe(
    source: str,
    fingerprint: str,
    settings: Settings,
    finder: Search | None,
    clips_per_shard: int,
    **more: Any,
) -> dict[str, Any]:
    """Everything the records depend on, as JSON holds it."""
    described = {
        "source": source,
        "raw_sha256": fingerprint,
        "schema_version": manifest_lib.SCHEMA_VERSION,
        "boxes": finder.settings() if finder else None,
        "clips_per_shard": clips_per_shard,
        **dataclasses.asdict(settings),
        **more,
    }
    described = json.loads(json.dumps(described))
    return {k: v for k, v in described.items() if k != LATER or v is not None}


def finished(out: pathlib.Path, described: dict[str, Any]) -> Manifest | None:
    """The manifest if OUT holds these records already; None if they are to be made.

    Raises:
      ValueError: if OUT holds anything else: records of other settings, an unfinished
        run of others, damaged records, or files that are none of ours.
    """
    require_place(out)
    if not out.exists():
        return None
    if (out / manifest_lib.NAME).is_file():
        manifest = manifest_lib.read(out)
        require_same(out, "records", held=manifest.settings, wanted=described)
        for shards in manifest.shards.values():
            manifest_lib.verify_sizes(out, shards)
        manifest_lib.verify_sizes(out, tuple(manifest.index.values()))
        if (out / WORK).is_dir():  # killed between its last two steps
            shutil.rmtree(out / WORK)
        return manifest
    state = out / WORK / STATE
    if state.is_file():
        before = read_object(state)
        if before is None:
            raise ValueError(f"{state}: is damaged; delete {out} and run again")
        described = described | {"versions": versions()}
        require_same(out, "an unfinished run", held=before, wanted=described)
    return None


def require_place(out: pathlib.Path) -> None:
    """Raises ValueError unless `out` is new, empty or a folder of records."""
    if not out.exists():
        return
    if not out.is_dir():
        raise ValueError(f"{out}: is a file; --out takes a folder")
    if (out / manifest_lib.NAME).is_file() or (out / WORK / STATE).is_file():
        return
    if any(path.name != WORK for path in out.iterdir()):
        raise ValueError(
            f"{out}: holds other files; name a new or empty folder as --out"
        )


@contextlib.contextmanager
def lock(out: pathlib.Path) -> Iterator[None]:
    """Keeps other runs out of OUT while it lasts, or until this process dies.

    Raises:
      ValueError: if another run is at work there, or was a moment ago.
    """
    busy = f"{out}: another run is at work in it; wait for it, or name another --out"
    path = out / WORK / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic.lock(path, busy):
        if (out / manifest_lib.NAME).exists():
            raise ValueError(busy)
        yield


def require_same(
    out: pathlib.Path, product: str, held: dict[str, Any], wanted: dict[str, Any]
) -> None:
    """Raises ValueError with the first setting that differs, if one does."""
    differs = _difference(held, wanted)
    if differs is not None:
        raise ValueError(
            f"{out}: holds {product} made with {differs};"
            " name another --out or delete it"
        )


def _difference(held: dict[str, Any], wanted: dict[str, Any]) -> str | None:
    for name in sorted(wanted.keys() | held.keys()):
        one, two = held.get(name), wanted.get(name)
        if one == two:
            continue
        if name == "raw_sha256":
            return "other raw data"
        is_nested = isinstance(one, dict) and isinstance(two, dict)
        if is_nested and "rows" not in one:
            return f"{name}: {_difference(one, two)}"
        return f"{name} {_short(one)}, not {_short(two)}"
    return None


def _short(value: Any) -> str:
    if isinstance(value, dict) and "rows" in value:
        return f"{value['rows']}x{value['cols']}"
    return json.dumps(value)


def versions() -> dict[str, str]:
    """Of this project and the libraries that the records' bytes depend on."""
    return {name: _version(name) for name in LIBRARIES.split()}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed as a package"  # run from its source tree


def put_rows(out: pathlib.Path, name: str, rows: Iterable[Skip]) -> None:
    """Writes a file of OUT with one row a line, sorted."""
    rows = sorted(rows, key=dataclasses.astuple)
    lines = [json.dumps(dataclasses.asdict(row), sort_keys=True) for row in rows]
    atomic.write(out / name, "".join(line + "\n" for line in lines), out / WORK)


def read_object(path: pathlib.Path) -> dict[str, Any] | None:
    """The JSON object that was written; None where it is damaged now."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
