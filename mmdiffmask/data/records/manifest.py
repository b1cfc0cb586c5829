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
LATER = ("index", "fingerprint")  # folders from before lack both
LIMITS = {"segments": (1, 16), "sub_segments": (1, 3)}  # of every record


@dataclasses.dataclass(frozen=True)
class Shard:
    """One ArrayRecord file: its name in the folder, its size, its checksum."""

    file: str
    records: int
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class IndexFile:
    """The index of a split: its name in the folder, its size, its checksum."""

    file: str
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
      counts: records, clips, boxes by kind, skipped, repaired: for people to read.
      index: of each split; none in folders from before there was one.
      fingerprint: what the records are known by (`fingerprint.of`); "" likewise.
    """

    settings: dict[str, Any]
    versions: dict[str, str]
    grid: PatchGrid
    segments: int
    sub_segments: int
    shards: dict[str, tuple[Shard, ...]]
    counts: dict[str, int]
    schema_version: int = SCHEMA_VERSION
    index: dict[str, IndexFile] = dataclasses.field(default_factory=dict)
    fingerprint: str = ""

    def length(self, split: str) -> int:
        """Records in a split."""
        return sum(shard.records for shard in self.shards[split])


def read(records_dir: str | os.PathLike) -> Manifest:
    """The manifest of a folder of records.

    Raises:
      ValueError: if the folder is missing, holds no finished records, records of
        another schema, or a manifest that is not as it was written, whatever it holds;
        says what to do.
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
        fields = _object(_parsed(path), "it", ["schema_version"], is_open=True)
        version = _whole(fields["schema_version"], "schema_version", 1)
        if version == SCHEMA_VERSION:
            return _from_json(fields)
    except ValueError as error:
        reason = " ".join(str(error).split())  # a name may hold anything
        raise ValueError(f"{path}: is damaged ({reason}); {remedy(folder)}") from error
    raise ValueError(
        f"{folder}: records of schema {version}, but this version reads schema"
        f" {SCHEMA_VERSION}: make the records again ({remedy(folder)})"
    )


def _parsed(path: pathlib.Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is no JSON: {error}") from None


def _from_json(fields: dict[str, Any]) -> Manifest:
    """Raises ValueError that says which value is not as `to_json` wrote it."""
    has_index = any(name in fields for name in LATER)
    names = [n for n in _names(Manifest) if has_index or n not in LATER]
    fields = dict(_object(fields, "it", names))
    for name in ("settings", "versions", "counts"):
        if not _object(fields[name], name, [], is_open=True):
            raise ValueError(f"{name} is empty")
    for name, version in fields["versions"].items():
        _text(version, f"versions.{name}")
    for name, count in fields["counts"].items():
        _whole(count, f"counts.{name}", 0)
    for name, limits in LIMITS.items():
        _whole(fields[name], name, *limits)
    grid = _object(fields["grid"], "grid", _names(PatchGrid))
    for name, side in grid.items():
        _whole(side, f"grid.{name}", 1)
    for name in (*LIMITS, "grid", "schema_version"):
        values = fields[name], fields["settings"].get(name)
        stored, setting = (json.dumps(value, sort_keys=True) for value in values)
        if stored != setting:
            raise ValueError(f"{name} is {stored}, but its settings say {setting[:80]}")
    shards = _object(fields["shards"], "shards", [], is_open=True)
    read = {split: _shards(split, rows) for split, rows in shards.items()}
    objects = {"grid": PatchGrid(**grid), "shards": read}
    if has_index:
        objects["index"] = _index(fields["index"], shards)
        _text(fields["fingerprint"], "fingerprint")
    return Manifest(**fields | objects)


def _index(files: Any, shards: dict) -> dict[str, IndexFile]:
    """The index of each split, if every split that has shards has one."""
    if not _object(files, "index", list(shards)):
        raise ValueError("index is empty")
    return {
        split: IndexFile(**_file(row, f"index.{split}", IndexFile))
        for split, row in files.items()
    }


def _shards(split: str, rows: Any) -> tuple[Shard, ...]:
    if not isinstance(rows, list):
        raise ValueError(f"shards.{split} is no list")
    for i, row in enumerate(rows):
        where = f"shards.{split}[{i}]"
        _file(row, where, Shard)
        _whole(row["records"], f"{where}.records", 0)  # all of its clips are lost
    return tuple(Shard(**row) for row in rows)


def _file(row: Any, where: str, kind: type) -> dict:
    """The row if it names a file of the folder, its size and its checksum."""
    _object(row, where, _names(kind))
    file = _text(row["file"], f"{where}.file")
    if pathlib.PurePath(file).name != file:
        raise ValueError(f"{where}.file is {file!r}: no file of this folder")
    _text(row["sha256"], f"{where}.sha256")
    _whole(row["bytes"], f"{where}.bytes", 1)
    return row


def _names(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def _object(value: Any, name: str, fields: list[str], is_open: bool = False) -> dict:
    """The value if it is an object with these fields; `is_open` = it may have more."""
    if not isinstance(value, dict):
        raise ValueError(f"{name} is no object")
    for field in fields:
        if field not in value:
            raise ValueError(f"{name} lacks {field!r}")
    unknown = [] if is_open else sorted(value.keys() - set(fields))
    if unknown:
        raise ValueError(f"{name} has {unknown[0]!r}, which is no field of it")
    return value


def _whole(value: Any, name: str, least: int, most: int = 2**63) -> int:
    if type(value) is not int or not least <= value <= most:  # True is an int too
        raise ValueError(f"{name} is {_short(value)}, which it cannot be")
    return value


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} is {_short(value)}, but must be a text")
    return value


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def to_json(manifest: Manifest) -> str:
    """The file's text: sorted keys, the same bytes for the same content."""
    content = dataclasses.asdict(manifest)
    content = {k: v for k, v in content.items() if k not in LATER or v}
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def identity(records_dir: str | os.PathLike) -> str:
    """What makes records these records and no others: `identity_of` their manifest.

    Raises:
      ValueError: as `read`.
    """
    return identity_of(read(records_dir))


def identity_of(manifest: Manifest) -> str:
    """The records' fingerprint; of a folder from before, a checksum of its content.

    The latter is the sha256 of settings, geometry and every shard's checksum.
    """
    if manifest.fingerprint:
        return manifest.fingerprint
    fields = json.loads(to_json(manifest))
    kept = {k: v for k, v in fields.items() if k not in ("versions", "counts")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def verify(records_dir: str | os.PathLike, shards: tuple[Shard, ...]) -> None:
    """Checks shards against the manifest: there, of their size, of their checksum.

    Raises:
      ValueError: naming the first shard that is missing, cut short or changed.
    """
    folder = pathlib.Path(records_dir)
    for shard in shards:
        verify_sizes(folder, (shard,))
        if sha256(folder / shard.file) != shard.sha256:
            raise _corrupt(folder, f"shard {shard.file}")


def verify_sizes(
    records_dir: str | os.PathLike, files: tuple[Shard | IndexFile, ...]
) -> None:
    """Checks that files are there and of the size that the manifest says.

    Raises:
      ValueError: naming the first that is not.
    """
    folder = pathlib.Path(records_dir)
    for file in files:
        path, name = folder / file.file, _called(file)
        if not path.is_file():
            raise ValueError(f"{folder}: {name} is missing; {remedy(folder)}")
        size = path.stat().st_size
        if size != file.bytes:
            raise ValueError(
                f"{folder}: {name} has {size} bytes, the manifest says"
                f" {file.bytes}; {remedy(folder)}"
            )


def read_whole(records_dir: str | os.PathLike, file: IndexFile) -> bytes:
    """The content of a file of the folder, checked.

    Raises:
      ValueError: if it is missing, cut short or changed.
    """
    folder = pathlib.Path(records_dir)
    verify_sizes(folder, (file,))
    content = (folder / file.file).read_bytes()
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise _corrupt(folder, _called(file))
    return content


def _called(file: Shard | IndexFile) -> str:
    return f"{'shard' if isinstance(file, Shard) else 'index'} {file.file}"


def _corrupt(folder: pathlib.Path, name: str) -> ValueError:
    return ValueError(
        f"{folder}: {name} is corrupt (its sha256 is not the manifest's);"
        f" {remedy(folder)}"
    )


def sha256(path: str | os.PathLike) -> str:
    """Hex digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remedy(folder: pathlib.Path) -> str:
    """What to do with a folder of records that is damaged."""
    return f"delete {folder} and make it again with python -m preprocessing"
