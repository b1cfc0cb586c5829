"""The one on-disk schema of video: ArrayRecord shards that are also a TFDS data set.

A folder holds `records-SPLIT.array_record-I-of-N`, TFDS's `features.json` and
`dataset_info.json`, `skipped.jsonl`, and, written last, `manifest.json`. The same
records give the same bytes. Importing TensorFlow is never needed.
"""

import contextlib
import itertools
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

from mmdiffmask.data.records import manifest as manifest_lib
from mmdiffmask.data.records import schema, verified
from mmdiffmask.data.records.manifest import Manifest, Shard
from mmdiffmask.data.records.schema import Record, features

__all__ = [
    "Record",
    "Manifest",
    "Shard",
    "Source",
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

    Raises:
      ValueError: if the disk is full, or the file cannot be written otherwise.
    """
    from array_record.python import array_record_module
    from tensorflow_datasets.core import example_serializer

    info = record_features.get_serialized_info()
    serializer = example_serializer.ExampleSerializer(info)
    path, count = pathlib.Path(path), 0
    with _told(path):
        writer = array_record_module.ArrayRecordWriter(os.fspath(path), WRITER_OPTIONS)
    for record in records:
        example = record_features.encode_example(schema.to_example(record))
        message = serializer.get_tf_example(example)
        with _told(path):
            writer.write(message.SerializeToString(deterministic=True))
        count += 1
    with _told(path):
        writer.close()
    digest = manifest_lib.sha256(path)
    return Shard(path.name, count, path.stat().st_size, digest)


@contextlib.contextmanager
def _told(path: pathlib.Path) -> Iterator[None]:
    """Says in a sentence what array_record could not do with its file."""
    try:
        yield
    except (RuntimeError, OSError) as error:
        reason = str(error).split(";")[0].removeprefix("write() failed: ")
        raise ValueError(
            f"{path}: cannot be written ({reason}); mend that, and the same command"
            " goes on"
        ) from error


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
        self._open(records_dir, manifest.shards[split], manifest)
        self.split = split

    @classmethod
    def of_shards(
        cls,
        records_dir: str | os.PathLike,
        shards: tuple[Shard, ...],
        manifest: Manifest,
    ) -> "Source":
        """The records of some shards."""
        source = cls.__new__(cls)
        source._open(records_dir, shards, manifest)
        return source

    def _open(
        self,
        records_dir: str | os.PathLike,
        shards: tuple[Shard, ...],
        manifest: Manifest,
    ) -> None:
        from array_record.python import array_record_data_source

        folder = pathlib.Path(records_dir)
        paths = [os.fspath(folder / shard.file) for shard in shards]
        self.folder, self.split = folder, ""  # "": of some shards
        self._shards = shards
        self.manifest = manifest
        self._length = sum(shard.records for shard in shards)
        self._raw = array_record_data_source.ArrayRecordDataSource(paths)
        self._features = features(
            manifest.segments, manifest.sub_segments, manifest.grid.n_patches
        )

    def __len__(self) -> int:
        return self._length

    @property
    def stored(self) -> int:
        """How many records the files hold, whatever the manifest says."""
        return len(self._raw)

    def __getitem__(self, index: int) -> Record:
        """The record at a position, 0 <= index < len.

        Raises:
          IndexError: past the end.
          ValueError: if its bytes are not those that were written.
        """
        if not 0 <= index < self._length:
            raise IndexError(f"record {index} of {self._length}")
        try:
            return schema.from_example(self.example(index))
        # Each chunk has a hash of its own; whatever passes it is for protobuf, numpy.
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else repr(error)
            raise ValueError(
                f"{self.folder}: shard {self._file_of(index)}: record {index} of its"
                f" split cannot be read ({reason}); {manifest_lib.remedy(self.folder)}"
            ) from error

    def _file_of(self, index: int) -> str:
        ends = itertools.accumulate(shard.records for shard in self._shards)
        pairs = zip(ends, self._shards, strict=True)
        return next(shard.file for end, shard in pairs if index < end)

    def example(self, index: int) -> dict[str, Any]:
        """The record at a position as TFDS reads it, unchecked."""
        return self._features.deserialize_example_np(self._raw[index])


def read_manifest(records_dir: str | os.PathLike) -> Manifest:
    """See `manifest.read`."""
    return manifest_lib.read(records_dir)


def splits(records_dir: str | os.PathLike) -> tuple[str, ...]:
    """Names of the splits, sorted.

    Raises:
      ValueError: as `manifest.read`.
    """
    return tuple(sorted(read_manifest(records_dir).shards))


def require_split(
    records_dir: str | os.PathLike, split: str, manifest: Manifest
) -> None:
    """Raises ValueError, with the splits that there are, if a folder lacks one."""
    if split not in manifest.shards:
        names = ", ".join(sorted(manifest.shards))
        raise ValueError(f"{records_dir}: no split {split}; it has {names}")


def open_split(records_dir: str | os.PathLike, split: str) -> Source:
    """Opens a split after checking its shards' sizes and sha256.

    Sizes are looked at every time; the sha256 once for each file on each machine, as
    `verified` remembers. What changes later is told when it is read (`Source`).

    Raises:
      ValueError: if there is no such split, or a shard is missing, cut short,
        corrupt or of another length than the manifest says; names it and the way out.
    """
    manifest = read_manifest(records_dir)
    require_split(records_dir, split, manifest)
    verified.verify(records_dir, manifest.shards[split])
    source = Source(records_dir, split, manifest)
    if source.stored != len(source):
        raise ValueError(
            f"{records_dir}: split {split} holds {source.stored} records, but its"
            f" manifest counts {len(source)}; make the records again"
        )
    return source
