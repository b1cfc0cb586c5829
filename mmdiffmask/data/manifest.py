"""manifest.json: what a folder of records holds, how it was made, and its checksums."""

import dataclasses
import hashlib
import json
import os
import pathlib
from typing import Any

from mmdiffmask.grid import PatchGrid

SCHEMA_VERSION = 2  # one more whenever a record gains, loses or changes a field
NAME = "manifest.json"


@dataclasses.dataclass(frozen=True)
class Shard:
    """One ArrayRecord file: its name in the folder, its size, its checksum."""

    file: str
    records: int
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    """Everything about a folder of records but the records.

    Attributes:
      settings: what the records depend on; a folder is never continued with others.
      versions: of the code and libraries that wrote it.
      grid: of the records' patch maps.
      segments: t of every record.
      sub_segments: s of every record.
      shards: of each split, in order.
      counts: records, clips, boxes by kind, skipped: for people to read.
    """

    settings: dict[str, Any]
    versions: dict[str, str]
    grid: PatchGrid
    segments: int
    sub_segments: int
    shards: dict[str, tuple[Shard, ...]]
    counts: dict[str, Any]
    schema_version: int = SCHEMA_VERSION

    def length(self, split: str) -> int:
        """Records in a split."""
        return sum(shard.records for shard in self.shards[split])


def read(records_dir: str | os.PathLike) -> Manifest:
    """The manifest of a folder of records.

    Raises:
      ValueError: if the folder is missing, holds no finished records, or holds records
        of another schema; says what to do.
    """
    folder = pathlib.Path(records_dir)
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder of records")
    path = folder / NAME
    if not path.is_file():
        raise ValueError(
            f"{folder}: no {NAME}, so no finished records; make them with"
            " python -m preprocessing (an interrupted run goes on where it was)"
        )
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        version = found["schema_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: is damaged ({error}); {_rebuild(folder)}") from error
    if version != SCHEMA_VERSION:
        raise ValueError(
            f"{folder}: records of schema {version}, but this version reads schema"
            f" {SCHEMA_VERSION}: make the records again ({_rebuild(folder)})"
        )
    try:
        found["grid"] = PatchGrid(**found["grid"])
        found["shards"] = {
            split: tuple(Shard(**shard) for shard in shards)
            for split, shards in found["shards"].items()
        }
        return Manifest(**found)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: is damaged ({error}); {_rebuild(folder)}") from error


def to_json(manifest: Manifest) -> str:
    """The file's text: sorted keys, the same bytes for the same content."""
    content = dataclasses.asdict(manifest)
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def verify(
    records_dir: str | os.PathLike, shards: tuple[Shard, ...], sizes_only: bool = False
) -> None:
    """Checks files against the manifest: there, of their size, of their checksum.

    Raises:
      ValueError: naming the first shard that is missing, cut short or changed.
    """
    folder = pathlib.Path(records_dir)
    for shard in shards:
        path = folder / shard.file
        if not path.is_file():
            raise ValueError(
                f"{folder}: shard {shard.file} is missing; {_rebuild(folder)}"
            )
        size = path.stat().st_size
        if size != shard.bytes:
            raise ValueError(
                f"{folder}: shard {shard.file} has {size} bytes, the manifest says"
                f" {shard.bytes}; {_rebuild(folder)}"
            )
        if not sizes_only and sha256(path) != shard.sha256:
            raise ValueError(
                f"{folder}: shard {shard.file} is corrupt (its sha256 is not the"
                f" manifest's); {_rebuild(folder)}"
            )


def sha256(path: str | os.PathLike) -> str:
    """Hex digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _rebuild(folder: pathlib.Path) -> str:
    return f"delete {folder} and make it again with python -m preprocessing"
