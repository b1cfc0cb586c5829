"""The index beside the shards: all that choosing among records needs of each.

`index-SPLIT.jsonl.gz` has one line a record, in the order of the shards: two JSON
lists with a tab between them. The first holds the fields of `Entry` but the last, the
second question, answers and boxes, which are read when they are asked for. The same
entries give the same bytes.
"""

import dataclasses
import gzip
import hashlib
import io
import json
import logging
import pathlib
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from mmdiffmask.data import cache
from mmdiffmask.data.records import manifest as manifest_lib
from mmdiffmask.data.records import shards
from mmdiffmask.data.records.manifest import IndexFile, Manifest
from mmdiffmask.data.records.schema import Record
from mmdiffmask.types import Boxes

FORMAT = b"mmdiffmask index 1\n"  # the first line; another number for other lines
DIGEST = 16  # hex digits: 64 bits tell the windows of a data set apart


class BoxKinds(NamedTuple):
    """A record's boxes by kind and label, in the order in which these first come.

    Attributes:
      kind: of the boxes.
      label: likewise.
      count: how many there are.
      most_covered: the largest share of a patch that one of them covers.
    """

    kind: tuple[str, ...]
    label: tuple[str, ...]
    count: tuple[int, ...]
    most_covered: tuple[float, ...]

    def take(self, places: Sequence[int]) -> "BoxKinds":
        """Some of them, in that order."""
        return BoxKinds(*(tuple(column[i] for i in places) for column in self))


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """What choosing among records needs of one.

    Attributes:
      example_id: its id.
      clip: the clip that it is about.
      group: what the split goes by: its clip, or the episode that it is from.
      is_boxed: whether detectors have looked at it.
      labels: name -> value, of its clip.
      answer_index: the right one; -1 where that is not known.
      span_percent: the part of the clip that the question is about.
      window: the same for two records if frames and sound are.
      source: digest of its clip's raw files as far as preprocessing knew them; "" in
        an index that was made from the records.
      detail: question, answers and boxes, as the file holds them.
    """

    example_id: str
    clip: str
    group: str
    is_boxed: bool
    labels: dict[str, str]
    answer_index: int
    span_percent: tuple[int, int]
    window: str
    source: str
    detail: bytes

    @property
    def question(self) -> str:
        """ "" where it has none."""
        return json.loads(self.detail)[0]

    @property
    def answers(self) -> tuple[str, ...]:
        """The candidates."""
        return tuple(json.loads(self.detail)[1])

    @property
    def boxes(self) -> BoxKinds:
        """Its boxes by kind and label."""
        kind, label, count, most = map(tuple, json.loads(self.detail)[2])
        return BoxKinds(kind, label, count, tuple(map(_as_stored, most)))


def of_record(record: Record, source: str = "") -> Entry:
    """The entry of a record; `source` as preprocessing knows it."""
    kind, label, count, most = box_kinds(record.boxes, record.covered_share)
    # The shortest digits that `_as_stored` makes the same number of.
    boxes = [kind, label, count, [float(str(np.float16(share))) for share in most]]
    return Entry(
        example_id=record.example_id,
        clip=record.clip,
        group=record.group,
        is_boxed=record.is_boxed,
        labels=record.labels,
        answer_index=record.answer_index,
        span_percent=tuple(record.span_percent),
        window=window_key(record),
        source=source,
        detail=to_json([record.question, record.answers, boxes]),
    )


def _as_stored(share: float) -> float:
    """A covered share in the precision of records."""
    return float(np.float16(share))


def box_kinds(boxes: Boxes, covered_share: Float[np.ndarray, "m n"]) -> BoxKinds:
    """The boxes by kind and label."""
    rows: dict[tuple[str, str], list[int]] = {}
    for i, name in enumerate(zip(boxes.kind, boxes.label, strict=True)):
        rows.setdefault(name, []).append(i)
    most = covered_share.max(1, initial=0) if len(boxes) else np.zeros(0)
    covered = tuple(float(most[some].max()) for some in rows.values())
    kinds, labels = (tuple(name[i] for name in rows) for i in (0, 1))
    return BoxKinds(kinds, labels, tuple(map(len, rows.values())), covered)


def window_key(record: Any) -> str:
    """The same for two records if frames and sound are: towers see them once."""
    digest = hashlib.sha256(np.packbits(record.is_frame_valid).tobytes())
    for frame in record.frames:
        digest.update(len(frame).to_bytes(8, "big") + frame)
    digest.update(np.asarray(record.spectrogram).tobytes())
    return digest.hexdigest()[:DIGEST]


def to_json(value: Any) -> bytes:
    """A value as the file holds it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def file_name(split: str) -> str:
    """Of a split's index, beside the shards."""
    return f"index-{split}.jsonl.gz"


def to_bytes(entries: Iterable[Entry]) -> bytes:
    """The file's content."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=6, mtime=0) as file:
        file.write(FORMAT)
        for entry in entries:
            head = [getattr(entry, name) for name in HEAD]
            file.write(to_json(head) + b"\t" + entry.detail + b"\n")
    return buffer.getvalue()


# What a line's first list holds.
HEAD = tuple(field.name for field in dataclasses.fields(Entry))[:-1]


def from_bytes(content: bytes) -> tuple[Entry, ...]:
    """The entries of a file's content.

    Raises:
      ValueError: saying what is wrong with it.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            if file.readline() != FORMAT:
                raise ValueError(f"does not begin with {FORMAT.decode().strip()!r}")
            return tuple(_entries(file))
    except (EOFError, OSError, TypeError, zlib.error) as error:
        raise ValueError(str(error)) from error


def _entries(lines: Iterable[bytes]) -> Iterator[Entry]:
    """Values that records share are held once: there may be 100,000."""
    shared: dict[Any, Any] = {}
    labels: dict[str, str] = {}
    for line in lines:
        head, _, detail = line.rstrip(b"\n").partition(b"\t")
        fields = json.loads(head)
        if not isinstance(fields, list):
            raise ValueError("a line begins with no list")
        values = dict(zip(HEAD, fields, strict=True))
        if values["labels"] != labels:
            labels = values["labels"]
        values["labels"] = labels
        values["span_percent"] = tuple(values["span_percent"])
        for name in ("clip", "group", "span_percent", "source"):
            values[name] = shared.setdefault(values[name], values[name])
        yield Entry(**values, detail=detail)


def load(folder: pathlib.Path, manifest: Manifest, split: str) -> tuple[Entry, ...]:
    """The entries of a split, from beside its shards.

    A folder from before there was an index has one made of its records, once: it is
    kept in the cache.

    Raises:
      ValueError: if the index is missing, corrupt or of other records; or as
        `shards.open_split`.
    """
    if not manifest.index:
        return _cached(folder, manifest, split)
    file, count = manifest.index[split], manifest.length(split)
    content = manifest_lib.read_whole(folder, file)
    try:
        entries = from_bytes(content)
        if len(entries) != count:
            raise ValueError(f"has {len(entries)} entries for {count} records")
    except ValueError as error:
        raise ValueError(
            f"{folder}: index {file.file} cannot be used ({error});"
            f" {manifest_lib.remedy(folder)}"
        ) from error
    return entries


def _cached(folder: pathlib.Path, manifest: Manifest, split: str) -> tuple[Entry, ...]:
    name = manifest_lib.identity_of(manifest)
    path = cache.folder() / "index" / name / file_name(split)
    try:
        entries = from_bytes(path.read_bytes())
        if len(entries) == manifest.length(split):
            return entries
    except (OSError, ValueError):
        pass  # it is not there, or was damaged: it is made (again)
    source = shards.open_split(folder, split)
    logging.info(
        "%s has no index: reading the %d records of %s once",
        folder,
        len(source),
        split,
    )
    entries = tuple(of_record(source[i]) for i in range(len(source)))
    cache.keep(path, to_bytes(entries), "every command reads all records again")
    return entries


def described(split: str, content: bytes) -> IndexFile:
    """What the manifest says of a split's index."""
    digest = hashlib.sha256(content).hexdigest()
    return IndexFile(file_name(split), len(content), digest)
