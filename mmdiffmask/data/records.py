"""The one on-disk schema of video: ArrayRecord shards that are also a TFDS data set.

A folder holds `records-SPLIT.array_record-I-of-N`, TFDS's `features.json` and
`dataset_info.json`, `skipped.jsonl`, and, written last, `manifest.json`. The same
records give the same bytes. Importing TensorFlow is never needed.
"""

import dataclasses
import os
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from mmdiffmask.data import frames as frames_lib
from mmdiffmask.data import manifest as manifest_lib
from mmdiffmask.data import schema
from mmdiffmask.data.manifest import Manifest, Shard
from mmdiffmask.data.schema import Record, features

__all__ = [
    "Record",
    "Manifest",
    "Shard",
    "Source",
    "Summary",
    "check",
    "features",
    "open_split",
    "read_manifest",
    "shard_name",
    "splits",
    "write_shard",
    "write_tfds_metadata",
]

NAME = "records"
WRITER_OPTIONS = "group_size:1"  # one record a chunk: cheap random access


def write_shard(
    path: str | os.PathLike, records: Iterable[Record], record_features: Any
) -> Shard:
    """Writes records into one ArrayRecord file, the same bytes every time.

    Serialising is asked to be deterministic: protobuf maps come in another order in
    every process otherwise.

    Returns:
      the file's name, length, size and checksum.
    """
    from array_record.python import array_record_module
    from tensorflow_datasets.core import example_serializer

    info = record_features.get_serialized_info()
    serializer = example_serializer.ExampleSerializer(info)
    writer = array_record_module.ArrayRecordWriter(os.fspath(path), WRITER_OPTIONS)
    count = 0
    for record in records:
        example = record_features.encode_example(schema.to_example(record))
        message = serializer.get_tf_example(example)
        writer.write(message.SerializeToString(deterministic=True))
        count += 1
    writer.close()
    path = pathlib.Path(path)
    digest = manifest_lib.sha256(path)
    return Shard(path.name, count, path.stat().st_size, digest)


def shard_name(split: str, index: int, count: int) -> str:
    """TFDS's name of a shard file."""
    return f"{NAME}-{split}.array_record-{index:05d}-of-{count:05d}"


def write_tfds_metadata(records_dir: str | os.PathLike, manifest: Manifest) -> None:
    """Makes the folder a TFDS data set: `tfds.builder_from_directory` opens it.

    Args:
      records_dir: holds the shards.
      manifest: of the shards.
    """
    import tensorflow_datasets as tfds

    folder = pathlib.Path(records_dir)
    template = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    infos = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=[shard.records for shard in shards],
            num_bytes=sum(shard.bytes for shard in shards),
            filename_template=tfds.core.ShardedFileTemplate(
                dataset_name=NAME,
                data_dir=folder,
                split=split,
                filetype_suffix="array_record",
                template=template,
            ),
        )
        for split, shards in sorted(manifest.shards.items())
    ]
    shape = manifest.segments, manifest.sub_segments, manifest.grid.n_patches
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=features(*shape),
        filename_template=template,
        check_data=False,
        split_infos=infos,
    )


class Source:
    """The records of one split, by position: `len(source)`, `source[i]`."""

    def __init__(self, records_dir: str | os.PathLike, split: str, manifest: Manifest):
        from array_record.python import array_record_data_source

        folder = pathlib.Path(records_dir)
        paths = [os.fspath(folder / shard.file) for shard in manifest.shards[split]]
        self.manifest = manifest
        self._length = manifest.length(split)
        self._raw = array_record_data_source.ArrayRecordDataSource(paths)
        self._features = features(
            manifest.segments, manifest.sub_segments, manifest.grid.n_patches
        )

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Record:
        """The record at a position, 0 <= index < len; IndexError past the end."""
        if not 0 <= index < self._length:
            raise IndexError(f"record {index} of {self._length}")
        example = self._features.deserialize_example_np(self._raw[index])
        return schema.from_example(example)


def read_manifest(records_dir: str | os.PathLike) -> Manifest:
    """See `manifest.read`."""
    return manifest_lib.read(records_dir)


def splits(records_dir: str | os.PathLike) -> tuple[str, ...]:
    """Names of the splits, sorted.

    Raises:
      ValueError: as `manifest.read`.
    """
    return tuple(sorted(read_manifest(records_dir).shards))


def open_split(records_dir: str | os.PathLike, split: str) -> Source:
    """Opens a split after checking its shards' sizes and sha256.

    Raises:
      ValueError: if there is no such split, or a shard is missing, cut short or
        corrupt; names it and the way out.
    """
    manifest = read_manifest(records_dir)
    if split not in manifest.shards:
        raise ValueError(
            f"{records_dir}: no split {split}; it has {', '.join(splits(records_dir))}"
        )
    manifest_lib.verify(records_dir, manifest.shards[split])
    return Source(records_dir, split, manifest)


@dataclasses.dataclass(frozen=True)
class Summary:
    """What `check` saw."""

    records: dict[str, int]
    shards: int
    frames: int
    boxed_records: int
    boxes: dict[str, int]


def check(records_dir: str | os.PathLike) -> Summary:
    """Reads everything: checksums, counts, frames, and the patch maps made again.

    Raises:
      ValueError: at the first thing that is not as the manifest or `grid.py` says.
    """
    manifest = read_manifest(records_dir)
    n_frames, n_boxed, kinds = 0, 0, {}
    for split in splits(records_dir):
        source = open_split(records_dir, split)
        if len(source._raw) != len(source):
            raise ValueError(
                f"{records_dir}: split {split} holds {len(source._raw)} records, the"
                f" manifest says {len(source)}; delete the folder and make it again"
            )
        for index in range(len(source)):
            record = source[index]
            _check_record(manifest, record)
            n_frames += int(record.is_frame_valid.sum())
            n_boxed += record.is_boxed
            for kind in record.boxes.kind:
                kinds[kind] = kinds.get(kind, 0) + 1
    return Summary(
        records={split: manifest.length(split) for split in splits(records_dir)},
        shards=sum(len(shards) for shards in manifest.shards.values()),
        frames=n_frames,
        boxed_records=n_boxed,
        boxes=dict(sorted(kinds.items())),
    )


def _check_record(manifest: Manifest, record: Record) -> None:
    is_there = np.array([bool(data) for data in record.frames])
    if not np.array_equal(is_there, record.is_frame_valid):
        raise ValueError(f"record {record.example_id}: valid frames without pictures")
    _check_lines(manifest, record)
    stored = frames_lib.sizes(record.frames)
    share = frames_lib.covered_share(
        manifest.grid, record.boxes, record.source_size_px, stored
    )
    if not np.allclose(share, record.covered_share, atol=1e-3):
        raise ValueError(
            f"record {record.example_id}: its patch map is not what grid"
            f" {manifest.grid} gives; make the records again"
        )


def _check_lines(manifest: Manifest, record: Record) -> None:
    """Subtitle lines: as many times as texts, ordered, within the record's time."""
    start, end = record.line_start_s, record.line_end_s
    last = manifest.segments * manifest.sub_segments * schema.SUB_SEGMENT_S
    is_right = (
        len(record.line_text) == len(start) == len(end)
        and bool(np.isfinite(start).all() and np.isfinite(end).all())
        and bool((np.diff(start) >= 0).all() and (start <= end).all())
        and bool((start <= last).all() and (end >= 0).all())
    )
    if not is_right:
        raise ValueError(
            f"record {record.example_id}: the times of its subtitle lines are out of"
            " order or outside its window; make the records again"
        )
