"""Reads a whole folder of records and says what is wrong with it.

Nothing is taken from the manifest that the shards can say themselves: a manifest that
was edited by hand, or belongs to other shards, is found too.
"""

import collections
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from mmdiffmask.data.records import fields, fingerprint, index, schema
from mmdiffmask.data.records import manifest as manifest_lib
from mmdiffmask.data.records import shards as records
from mmdiffmask.data.records import summary as record_summary
from mmdiffmask.data.records.manifest import Manifest, Shard
from mmdiffmask.data.records.summary import Summary

TOLD = 20  # so many faults are told
SKIPPED, REPAIRED = "skipped", "repaired"
ROW = ("file", "question", "reason", "video")  # of skipped.jsonl
AGAIN = "make the records again"
Entries = dict[str, list[index.Entry]]  # of each split


def check(records_dir: str | os.PathLike) -> Summary:
    """Checks everything: files, checksums, counts, every field of every record.

    Raises:
      ValueError: one sentence for each fault, a line each; of many the first.
    """
    summary, faults = examine(records_dir)
    if faults:
        more = len(faults) - TOLD
        lines = faults[:TOLD] + ([f"and {more} faults more"] if more > 0 else [])
        raise ValueError("\n".join(lines))
    return summary


def examine(records_dir: str | os.PathLike) -> tuple[Summary, list[str]]:
    """What the folder holds, and one sentence for each fault.

    Raises:
      ValueError: if there is no manifest, or it cannot be read.
    """
    folder = pathlib.Path(records_dir)
    manifest = manifest_lib.read(folder)
    faults = list(_manifest(folder, manifest))
    if faults:  # its numbers are needed to read anything
        return record_summary.Counter(manifest.grid).summary(0, {}, {}), faults
    faults += _metadata(folder, manifest)
    reasons = {}
    for kind in (SKIPPED, REPAIRED):
        path = folder / f"{kind}.jsonl"
        rows = []
        if kind == SKIPPED or kind in manifest.counts or path.is_file():
            rows, problems = _rows(path, manifest.counts.get(kind))
            faults += problems
        reasons[kind] = collections.Counter(row["reason"] for row in rows)
    counter = record_summary.Counter(manifest.grid)
    entries: Entries = {split: [] for split in manifest.shards}
    in_shards = list(_shards(folder, manifest, counter, entries))
    faults += in_shards
    n_shards = sum(len(shards) for shards in manifest.shards.values())
    summary = counter.summary(n_shards, **reasons)
    if not in_shards:  # else records that could not be read are missing
        faults += _counts(folder, manifest, counter.as_manifest())
        faults += fingerprint.faults(folder, manifest, entries)
    return summary, faults


def _manifest(folder: pathlib.Path, manifest: Manifest) -> Iterator[str]:
    """The manifest's shards against the names of the files."""
    where = folder / manifest_lib.NAME
    named = set()
    for split, shards in manifest.shards.items():
        for i, shard in enumerate(shards):
            wanted = records.shard_name(split, i, len(shards))
            named.add(wanted)
            if shard.file != wanted:
                yield f"{where}: names shard {shard.file} in place of {wanted}; {AGAIN}"
    present = {path.name for path in folder.glob(f"{records.NAME}-*")}
    for name in sorted(present - named):
        yield f"{where}: does not name {name}, which lies beside it; {AGAIN}"


def _metadata(folder: pathlib.Path, manifest: Manifest) -> Iterator[str]:
    """What tensorflow-datasets reads: the features and the splits."""
    from google.protobuf import json_format  # as tensorflow-datasets writes the file

    shape = manifest.segments, manifest.sub_segments, manifest.grid.n_patches
    wanted = json_format.MessageToDict(schema.features(*shape).to_proto())
    content, problem = _json(folder / "features.json")
    if problem or content != wanted:
        problem = problem or f"is not the schema of version {manifest.schema_version}"
        yield f"{folder / 'features.json'}: {problem}; {AGAIN}"
    content, problem = _json(folder / "dataset_info.json")
    if not problem:
        splits = content.get("splits") if isinstance(content, dict) else None
        problem = _splits_problem(splits, manifest)
    if problem:
        yield f"{folder / 'dataset_info.json'}: {problem}; {AGAIN}"


def _splits_problem(splits: Any, manifest: Manifest) -> str | None:
    if not isinstance(splits, list):
        return "holds no splits"
    try:
        stored = {
            split["name"]: (
                [int(length) for length in split["shardLengths"]],
                int(split["numBytes"]),
            )
            for split in splits
        }
    except (KeyError, TypeError, ValueError):
        return "holds a split without shardLengths and numBytes"
    wanted = {
        split: ([s.records for s in shards], sum(s.bytes for s in shards))
        for split, shards in manifest.shards.items()
    }
    return None if stored == wanted else "has other splits than the manifest"


def _json(path: pathlib.Path) -> tuple[Any, str | None]:
    """The content, or what is wrong."""
    try:
        return json.loads(path.read_text(encoding="utf-8")), None
    except FileNotFoundError:
        return None, "is missing"
    except ValueError as error:
        return None, f"is no JSON ({error})"


def _rows(path: pathlib.Path, count: Any) -> tuple[list[dict], list[str]]:
    """Rows of skipped.jsonl, and faults: each a JSON object, as many as counted."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return [], [f"{path}: is missing; {AGAIN}"]
    except UnicodeDecodeError as error:
        return [], [f"{path}: is not UTF-8 ({error.reason}); {AGAIN}"]
    rows, faults = [], []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        is_row = isinstance(row, dict) and sorted(row) == list(ROW)
        if is_row and all(isinstance(value, str) for value in row.values()):
            rows.append(row)
        else:
            faults.append(f"{path}: line {number} is no {', '.join(ROW)}; {AGAIN}")
    if type(count) is not int or count != len(lines):
        faults.append(
            f"{path}: has {len(lines)} lines, but the manifest counts {count}; {AGAIN}"
        )
    return rows, faults


def _shards(
    folder: pathlib.Path,
    manifest: Manifest,
    counter: record_summary.Counter,
    entries: Entries,
) -> Iterator[str]:
    """Files and records; sound records are counted and get entries."""
    shape = fields.Shape(manifest.grid, manifest.segments, manifest.sub_segments)
    seen: set[str] = set()
    for split, shards in sorted(manifest.shards.items()):
        for shard in shards:
            try:
                manifest_lib.verify(folder, (shard,))
            except ValueError as error:
                yield str(error)
                continue
            for place, result in _read(folder, manifest, shard):
                if isinstance(result, str):
                    yield result
                    continue
                faults = list(_record(result, shape, seen))
                for field, problem in faults:
                    name = f"record {_name(result)} ({place})"
                    yield f"{folder}: {name}: {field} {problem}; {AGAIN}"
                if not faults:
                    record = schema.from_example(result)
                    counter.add(split, record)
                    entries[split].append(index.of_record(record))


def _read(
    folder: pathlib.Path, manifest: Manifest, shard: Shard
) -> Iterator[tuple[str, Any]]:
    """(where, example or a sentence) for each record of a shard."""
    source = records.Source.of_shards(folder, (shard,), manifest)
    where = f"{folder}: shard {shard.file}"
    if source.stored != shard.records:
        yield (
            shard.file,
            f"{where} holds {source.stored} records, the manifest says"
            f" {shard.records}; {AGAIN}",
        )
    for i in range(source.stored):
        try:
            yield f"{shard.file}, position {i}", source.example(i)
        # Bytes that are no such record fail in protobuf, numpy or the decoders.
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else repr(error)
            yield shard.file, f"{where}: record {i} cannot be read ({reason}); {AGAIN}"


def _record(
    example: dict[str, Any], shape: fields.Shape, seen: set[str]
) -> Iterator[fields.Fault]:
    lengths = list(fields.of_lengths(example, shape))
    if lengths:
        yield from lengths
        return
    try:
        record = schema.from_example(example)
    except UnicodeDecodeError as error:
        yield fields.Fault("text", f"is not UTF-8 ({error.reason})")
        return
    if record.example_id in seen:
        yield fields.Fault("example_id", "was there before")
    seen.add(record.example_id)
    yield from fields.of_record(record, shape)


def _name(example: dict[str, Any]) -> str:
    return example["example_id"].decode(errors="replace")


def _counts(
    folder: pathlib.Path, manifest: Manifest, counted: dict[str, int]
) -> Iterator[str]:
    """The counts for people to read against the records."""
    others = {SKIPPED, REPAIRED}
    for name in sorted((manifest.counts.keys() | counted.keys()) - others):
        count = manifest.counts.get(name, 0)
        if type(count) is not int or count != counted.get(name, 0):
            yield (
                f"{folder / manifest_lib.NAME}: counts say {count} {name}, but the"
                f" records hold {counted.get(name, 0)}; {AGAIN}"
            )
