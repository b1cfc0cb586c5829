"""Remembers which shards this machine has found whole, so that none is hashed twice."""

import hashlib
import json
import os
import pathlib
import platform

from mmdiffmask.data import cache
from mmdiffmask.data.records import manifest as manifest_lib
from mmdiffmask.data.records.manifest import Shard


def verify(records_dir: str | os.PathLike, shards: tuple[Shard, ...]) -> None:
    """Checks shards against the manifest: sizes always, each checksum once.

    A checksum is taken again when the file has another place or time of change, the
    manifest another checksum, or the cache lost its note.

    Raises:
      ValueError: naming the first shard that is missing, cut short or changed.
    """
    manifest_lib.verify_sizes(records_dir, shards)
    note = cache.folder() / "verified" / _name(pathlib.Path(records_dir), shards)
    if note.is_file():
        return
    manifest_lib.verify(records_dir, shards)
    cache.keep(note, b"", "every command takes the shards' checksums again")


def _name(folder: pathlib.Path, shards: tuple[Shard, ...]) -> str:
    """The same as long as the files are: whatever may change is in it."""
    rows = [
        [
            shard.file,
            shard.bytes,
            shard.sha256,
            (folder / shard.file).stat().st_mtime_ns,
        ]
        for shard in shards
    ]
    key = [platform.node(), str(folder.resolve()), rows]
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()
