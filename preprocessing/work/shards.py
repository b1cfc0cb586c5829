"""One shard: the unit of work that runs in worker processes, here or on Beam's.

A shard is a fixed group of clips by sorted name, so its bytes depend on the raw data
and the settings alone.
"""

import collections
import dataclasses
import json
import pathlib
from collections.abc import Iterator
from typing import Any

from mmdiffmask import atomic
from mmdiffmask.data.records import index
from mmdiffmask.data.records import manifest as manifest_lib
from mmdiffmask.data.records import shards as records_lib
from mmdiffmask.data.records.manifest import Manifest
from mmdiffmask.data.records.shards import Record
from preprocessing.boxes import people
from preprocessing.items import Clip, Finder, Losses, Search, Settings
from preprocessing.work import clips, out_folder, sources, workers
from preprocessing.work.execution import Note


@dataclasses.dataclass(frozen=True)
class Task:
    """One shard to write."""

    out: str
    split: str
    index: int
    count: int
    clips: tuple[Clip, ...]
    boxed: int  # detectors run in so many of its first clips
    settings: Settings
    finder: Search | None
    deadline_s: float = workers.DEADLINE_S  # of each clip, beside its share
    is_rendered: bool = False  # as in `sources.digest`

    @property
    def file(self) -> str:
        """The shard's name in OUT."""
        return records_lib.shard_name(self.split, self.index, self.count)

    @property
    def note(self) -> pathlib.Path:
        """Where its note lies: written when the shard is in its place."""
        return pathlib.Path(
            self.out, out_folder.WORK, f"{self.split}-{self.index:05d}.json"
        )

    @property
    def entries(self) -> pathlib.Path:
        """Where the entries of its records lie, written before the note."""
        return self.note.with_suffix(".index")

    @property
    def given_up(self) -> pathlib.Path:
        """Where it is written which of its clips are left out, and why."""
        return self.note.with_suffix(".given_up")


def write_shard(task: Task) -> Note:
    """Writes one shard and its note; the note's name and content. Runs in a worker."""
    path = pathlib.Path(task.out, task.file)
    losses = Losses()
    counts: collections.Counter = collections.Counter()
    entries: list[index.Entry] = []
    settings = task.settings
    schema = records_lib.features(
        settings.segments, settings.sub_segments, settings.grid.n_patches
    )
    # A search that a worker cannot begin is no clip's fault.
    finder = people.finder_of(task.finder) if task.boxed else None
    records = _records(task, finder, losses, counts, entries)
    with atomic.place(path, path.parent / out_folder.WORK) as partial:
        shard = records_lib.write_shard(partial, records, schema)
    shard = dataclasses.replace(shard, file=task.file)
    atomic.write(task.entries, index.to_bytes(entries))
    note = {
        "shard": dataclasses.asdict(shard),
        **dataclasses.asdict(losses),
        "counts": dict(counts),
        "seconds": dict(getattr(finder, "seconds", {})),  # a user's own notes none
    }
    atomic.write(task.note, json.dumps(note, sort_keys=True))
    return task.note.name, note


def read_entries(task: Task, manifest: Manifest) -> tuple[index.Entry, ...]:
    """The entries of a finished shard's records.

    They are made of the shard where their file is damaged, or was not written by the
    version that made the shard.

    Args:
      task: that is done.
      manifest: with the geometry of the records, and this shard.
    """
    (shard,) = (s for s in manifest.shards[task.split] if s.file == task.file)
    try:
        entries = index.from_bytes(task.entries.read_bytes())
        if len(entries) == shard.records:
            return entries
    except (OSError, ValueError):
        pass
    source = records_lib.Source.of_shards(task.out, (shard,), manifest)
    clip_of = {clip.name: clip for clip in task.clips}
    records = (source[i] for i in range(len(source)))
    return tuple(
        index.of_record(record, sources.digest(clip_of[record.clip], task.is_rendered))
        for record in records
    )


def _records(
    task: Task,
    finder: Finder | None,
    losses: Losses,
    counts: collections.Counter,
    entries: list[index.Entry],
) -> Iterator[Record]:
    """The records; what is lost, counted and known of them grows meanwhile."""
    given_up = _read_given_up(task)
    for i, clip in enumerate(task.clips):
        if clip.name in given_up:
            losses.skip(clip, given_up[clip.name]["reason"])
            workers.tick(1)
            continue
        workers.begin(clip.name, task.deadline_s)
        looks = finder if i < task.boxed else None
        count, source = 0, sources.digest(clip, task.is_rendered)
        for record in clips.records(clip, task.settings, looks, losses):
            count += 1
            entries.append(index.of_record(record, source))
            counts["records"] += 1
            counts["frames"] += int(record.is_frame_valid.sum())
            for kind in record.boxes.kind:
                counts[f"{kind} boxes"] += 1
            yield record
        counts["clips"] += count > 0
        counts["boxed clips"] += count > 0 and looks is not None
        workers.tick(1)


def read_note(task: Task, strict: bool) -> dict[str, Any] | None:
    """A finished shard's note; None if it is to be written (again)."""
    shard_path = pathlib.Path(task.out, task.file)
    if not task.note.is_file() or not shard_path.is_file():
        return None
    note = out_folder.read_object(task.note)
    if note is None:
        return None
    is_whole = manifest_lib.sha256(shard_path) == note["shard"]["sha256"]
    is_mended_perhaps = strict and note["skipped"]
    is_tried_again = _still_given_up(task, strict) != _read_given_up(task)
    return note if is_whole and not is_mended_perhaps and not is_tried_again else None


def give_up(task: Task, clip: str, reason: str) -> None:
    """Notes that a clip hung or killed its worker: this run does not try it again."""
    deadline_s = None if reason == workers.KILLED else task.deadline_s
    row = {"reason": reason, "deadline_s": deadline_s}
    _put_given_up(task, _read_given_up(task) | {clip: row})


def try_again(task: Task, strict: bool) -> None:
    """Forgets the clips given up for a shorter deadline; all of them if `strict`."""
    still = _still_given_up(task, strict)
    if still != _read_given_up(task):
        task.note.unlink(missing_ok=True)  # it says that they are left out
        _put_given_up(task, still)


GivenUp = dict[str, dict[str, Any]]  # clip -> reason, and the deadline if it was that


def _still_given_up(task: Task, strict: bool) -> GivenUp:
    return {
        clip: row
        for clip, row in _read_given_up(task).items()
        if not strict
        and (row["deadline_s"] is None or row["deadline_s"] >= task.deadline_s)
    }


def _read_given_up(task: Task) -> GivenUp:
    if not task.given_up.is_file():
        return {}
    return out_folder.read_object(task.given_up) or {}


def _put_given_up(task: Task, rows: GivenUp) -> None:
    atomic.write(task.given_up, json.dumps(rows, sort_keys=True))
