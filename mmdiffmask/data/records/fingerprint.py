"""What records are known by: that which libraries and processors do not change."""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence

from mmdiffmask.data.records import index
from mmdiffmask.data.records import manifest as manifest_lib
from mmdiffmask.data.records.index import Entry
from mmdiffmask.data.records.manifest import Manifest

RULES = "records"  # the version that a manifest notes of the code that made them
SETTINGS = ("settings", "grid", "segments", "sub_segments", "schema_version")
LEFT_OUT = "window"  # a digest of pictures and sound


def of(manifest: Manifest, entries: Mapping[str, Sequence[Entry]]) -> str:
    """The sha256 of what records are made of, and by which rules.

    Settings and geometry, the number of the code that makes records, and for each
    record its texts, labels and its clip's raw files. Not what libraries and
    processors make of these: pictures, sound and boxes.

    Args:
      manifest: its shards, versions of libraries and counts do not matter.
      entries: of each split.
    """
    content = json.loads(manifest_lib.to_json(manifest))
    rules = {name: content[name] for name in SETTINGS}
    rules[RULES] = manifest.versions.get(RULES)
    digest = hashlib.sha256(json.dumps(rules, sort_keys=True).encode())
    for split in sorted(entries):
        for row in sorted(_identity(split, entry) for entry in entries[split]):
            digest.update(row + b"\n")
    return digest.hexdigest()


def _identity(split: str, entry: Entry) -> bytes:
    kept = [name for name in index.HEAD if name != LEFT_OUT]
    question, answers, _ = json.loads(entry.detail)
    return index.to_json(
        [split, *(getattr(entry, name) for name in kept), question, answers]
    )


def faults(
    folder: pathlib.Path, manifest: Manifest, counted: Mapping[str, Sequence[Entry]]
) -> Iterator[str]:
    """A sentence for whatever the index says that the records do not.

    Args:
      folder: of the records.
      manifest: of the folder.
      counted: the entries of all its records, without their sources.
    """
    if not manifest.index:
        return
    every: dict[str, Sequence[Entry]] = {}
    for split in sorted(manifest.shards):
        try:
            every[split] = index.load(folder, manifest, split)
        except ValueError as error:
            yield str(error)
            return
        pairs = zip(every[split], counted.get(split, ()), strict=False)
        for entry, record in pairs:
            if dataclasses.replace(entry, source="") != record:
                yield (
                    f"{folder}: index {index.file_name(split)}: says something else of"
                    f" {record.example_id} than its record;"
                    f" {manifest_lib.remedy(folder)}"
                )
                return
    if of(manifest, every) != manifest.fingerprint:
        yield (
            f"{folder / manifest_lib.NAME}: its fingerprint is not that of its records;"
            f" {manifest_lib.remedy(folder)}"
        )
