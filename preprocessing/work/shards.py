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
from mmdiffmask.data.records import manifest as manifest_lib
from mmdiffmask.data.records import shards as records_lib
from mmdiffmask.data.records.shards import Record
from preprocessing.items import Clip, Losses, Search, Settings
from preprocessing.work import clips, out_folder, workers
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
    def given_up(self) -> pathlib.Path:
        """Where it is written which of its clips are left out, and why."""
        return self.note.with_suffix(".given_up")


def write_shard(task: Task) -> Note:
    """Writes one shard and its note; the note's name and content. Runs in a worker."""
    path = pathlib.Path(task.out, task.file)
    losses = Losses()
    counts: collections.Counter = collections.Counter()
    settings = task.settings
    schema = records_lib.features(
        settings.segments, settings.sub_segments, settings.grid.n_patches
    )
    with atomic.place(path, path.parent / out_folder.WORK) as temporary:
        shard = records_lib.write_shard(
            temporary, _records(task, losses, counts), schema
        )
    shard = dataclasses.replace(shard, file=task.file)
    note = {
        "shard": dataclasses.asdict(shard),
        **dataclasses.asdict(losses),
        "counts": dict(counts),
    }
    atomic.write(task.note, json.dumps(note, sort_keys=True))
    return task.note.name, note


def _records(
    task: Task, losses: Losses, counts: collections.Counter
) -> Iterator[Record]:
    given_up = _read_given_up(task)
    for i, clip in enumerate(task.clips):
        if clip.name in given_up:
            losses.skip(clip, given_up[clip.name]["reason"])
            workers.tick(1)
            continue
        workers.begin(clip.name, task.deadline_s)
        finder = task.finder if i < task.boxed else None
        count = 0
        for record in clips.records(clip, task.settings, finder, losses):
            count += 1
            counts["records"] += 1
            counts["frames"] += int(record.is_frame_valid.sum())
            for kind in record.boxes.kind:
                counts[f"{kind} boxes"] += 1
            yield record
        counts["clips"] += count > 0
        counts["boxed clips"] += count > 0 and finder is not None
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
