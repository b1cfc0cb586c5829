"""Work items to a folder of records: shards, resume, manifest.

A shard is a fixed group of clips by sorted name, so its bytes depend on the raw data
and the settings alone. While a run is under way `OUT/.work` holds its settings, a
note on each finished shard, and whatever is being written; a file gets its place in
OUT by one rename. `manifest.json` is written last, then `.work` goes.
"""

import collections
import contextlib
import contextvars
import dataclasses
import json
import os
import pathlib
import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tqdm

from mmdiffmask.data import manifest as manifest_lib
from mmdiffmask.data import records as records_lib
from mmdiffmask.data.manifest import Manifest, Shard
from preprocessing import clips, outputs, workers
from preprocessing.items import Clip, Finder, Settings, Skip
from preprocessing.plans import Plan


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
    finder: Finder | None

    @property
    def file(self) -> str:
        """The shard's name in OUT."""
        return records_lib.shard_name(self.split, self.index, self.count)

    @property
    def note(self) -> pathlib.Path:
        """Where its note lies: written when the shard is in its place."""
        return pathlib.Path(
            self.out, outputs.WORK, f"{self.split}-{self.index:05d}.json"
        )


Note = tuple[str, dict[str, Any]]  # its file's name, its content
# (`write_shard`, tasks) -> their notes, as they come.
Execute = Callable[[Callable[[Task], Note], Sequence[Task]], Iterator[Note]]
_elsewhere: contextvars.ContextVar[Execute | None] = contextvars.ContextVar(
    "elsewhere", default=None
)


@contextlib.contextmanager
def executed_by(execute: Execute) -> Iterator[None]:
    """While it lasts, `execute` has the shards written in place of local workers."""
    token = _elsewhere.set(execute)
    try:
        yield
    finally:
        _elsewhere.reset(token)


def _execute(missing: list[Task], worker_count: int, on_tick) -> Iterator[Note]:
    elsewhere = _elsewhere.get()
    if elsewhere is not None:
        return elsewhere(write_shard, missing)
    return workers.run(write_shard, missing, worker_count, on_tick)


def build(
    plan: Plan,
    out: pathlib.Path,
    described: dict[str, Any],
    settings: Settings,
    finder: Finder | None,
    worker_count: int,
    strict: bool = False,
    bar: bool = True,
) -> Manifest:
    """Makes the records, or what is missing of them.

    Args:
      plan: the work items.
      out: new, empty, or of an unfinished run of the same settings (see `finished`).
      described: from `describe`.
      settings: of the data set.
      finder: looks for boxes; None = no boxes.
      worker_count: processes, one thread each; 0 = this process (for debugging).
      strict: anything that can not be used is an error.
      bar: shows progress on stderr.

    Raises:
      ValueError: if nothing usable came out, with nothing left in OUT; or if `strict`.
    """
    require_usable(plan)
    require_strict(plan.skipped, strict)
    work = out / outputs.WORK
    work.mkdir(parents=True, exist_ok=True)
    state = json.dumps(
        described | {"versions": outputs.versions()}, indent=1, sort_keys=True
    )
    outputs.put(work / outputs.STATE, state)
    every = tasks(plan, out, settings, finder, described["clips_per_shard"])
    notes = {
        task.note.name: note for task in every if (note := _read_note(task, strict))
    }
    missing = [task for task in every if task.note.name not in notes]
    total = sum(len(task.clips) for task in every)
    left = sum(len(task.clips) for task in missing)
    with tqdm.tqdm(
        desc="records",
        unit="clip",
        total=total,
        initial=total - left,
        disable=not bar,
        file=sys.stderr,
    ) as shown:
        for name, note in _execute(missing, worker_count, shown.update):
            notes[name] = note
            require_strict([Skip(**row) for row in note["skipped"]], strict)
    found = [notes[task.note.name] for task in every]
    if not sum(note["shard"]["records"] for note in found):
        shutil.rmtree(out)
        raise ValueError(f"{out}: nothing usable came out: {_first(plan, found)}")
    return finish(plan, out, described, settings, every, found)


def require_usable(plan: Plan) -> None:
    """Raises ValueError unless one of the clips shows a frame; with a reason."""
    first = ""
    for clip in (clip for split in sorted(plan.clips) for clip in plan.clips[split]):
        reason = clips.usable(clip)
        if reason is None:
            return
        first = first or f"{clip.footage}: {reason}"
    if not first and plan.skipped:
        first = f"{plan.skipped[0].file}: {plan.skipped[0].reason}"
    why = f" ({first})" if first else ""
    raise ValueError(f"{plan.raw}: nothing usable: {plan.lacks}{why}")


def require_strict(skipped: Any, strict: bool) -> None:
    """Raises ValueError with the first of what was skipped, if `strict`."""
    if strict and skipped:
        first = skipped[0]
        what = first.question or first.video
        raise ValueError(
            f"--strict: {what}: {first.file}: {first.reason};"
            " mend or remove it, or run again without --strict to go on without it"
        )


def _first(plan: Plan, notes: list[dict]) -> str:
    rows = [Skip(**row) for note in notes for row in note["skipped"]]
    first = [*plan.skipped, *rows][0]
    return f"{first.file}: {first.reason}"


def tasks(
    plan: Plan, out: pathlib.Path, settings: Settings, finder: Finder | None, size: int
) -> list[Task]:
    """One for each shard of `size` clips."""
    found = []
    for split in sorted(plan.clips):
        every = plan.clips[split]
        boxed = len(every)
        if settings.boxed_clips is not None:
            boxed = settings.boxed_clips if split == "train" else 0
        groups = [every[first : first + size] for first in range(0, len(every), size)]
        for index, group in enumerate(groups):
            share = min(max(boxed - index * size, 0), len(group)) if finder else 0
            found.append(
                Task(
                    str(out), split, index, len(groups), group, share, settings, finder
                )
            )
    # The slow ones first: the last to finish keeps one worker, not all, waiting.
    return sorted(found, key=lambda task: -task.boxed)


def write_shard(task: Task) -> Note:
    """Writes one shard and its note; the note's name and content. Runs in a worker."""
    work = pathlib.Path(task.out, outputs.WORK)
    skipped: list[Skip] = []
    counts: collections.Counter = collections.Counter()
    partial = (
        work / f"{task.file}.{platform.node()}.{os.getpid()}"
    )  # Beam: many machines
    shape = task.settings.segments, task.settings.sub_segments
    schema = records_lib.features(*shape, task.settings.grid.n_patches)
    shard = records_lib.write_shard(partial, _records(task, skipped, counts), schema)
    shard = dataclasses.replace(shard, file=task.file)
    os.replace(partial, pathlib.Path(task.out, task.file))
    note = {
        "shard": dataclasses.asdict(shard),
        "skipped": [dataclasses.asdict(skip) for skip in skipped],
        "counts": dict(counts),
    }
    outputs.put(task.note, json.dumps(note, sort_keys=True))
    return task.note.name, note


def _records(task: Task, skipped: list[Skip], counts: collections.Counter):
    for i, clip in enumerate(task.clips):
        finder = task.finder if i < task.boxed else None
        made = 0
        for record in clips.records(clip, task.settings, finder, skipped):
            made += 1
            counts["records"] += 1
            counts["frames"] += int(record.is_frame_valid.sum())
            for kind in record.boxes.kind:
                counts[f"{kind} boxes"] += 1
            yield record
        counts["clips"] += made > 0
        counts["boxed clips"] += made > 0 and finder is not None
        workers.tick(1)


def _read_note(task: Task, strict: bool) -> dict[str, Any] | None:
    """A finished shard's note; None if it is to be written (again)."""
    shard_path = pathlib.Path(task.out, task.file)
    if not task.note.is_file() or not shard_path.is_file():
        return None
    note = json.loads(task.note.read_text(encoding="utf-8"))
    is_whole = manifest_lib.sha256(shard_path) == note["shard"]["sha256"]
    is_mended_perhaps = strict and note["skipped"]
    return note if is_whole and not is_mended_perhaps else None


def finish(
    plan: Plan,
    out: pathlib.Path,
    described: dict[str, Any],
    settings: Settings,
    tasks: list[Task],
    notes: list[dict[str, Any]],
) -> Manifest:
    """Writes all that is not a shard; the manifest is last, then `.work` goes.

    Args:
      plan: the work items.
      out: where the shards are.
      described: from `describe`.
      settings: of the data set.
      tasks: all of them.
      notes: of each task, as `write_shard` gave them.
    """
    shards = collections.defaultdict(list)
    counts: collections.Counter = collections.Counter()
    skipped = list(plan.skipped)
    by_place = sorted(
        zip(tasks, notes, strict=True), key=lambda pair: (pair[0].split, pair[0].index)
    )
    for task, note in by_place:
        shards[task.split].append(Shard(**note["shard"]))
        counts.update(note["counts"])
        skipped += [Skip(**row) for row in note["skipped"]]
    counts["skipped"] = len(skipped)
    rows = sorted(skipped, key=dataclasses.astuple)
    lines = [json.dumps(dataclasses.asdict(row), sort_keys=True) for row in rows]
    outputs.put(
        out / outputs.SKIPPED,
        "".join(line + "\n" for line in lines),
        out / outputs.WORK,
    )
    manifest = Manifest(
        settings=described,
        versions=outputs.versions(),
        grid=settings.grid,
        segments=settings.segments,
        sub_segments=settings.sub_segments,
        shards={split: tuple(found) for split, found in shards.items()},
        counts=dict(counts),
    )
    records_lib.write_tfds_metadata(out, manifest)
    outputs.put(
        out / manifest_lib.NAME, manifest_lib.to_json(manifest), out / outputs.WORK
    )
    shutil.rmtree(out / outputs.WORK)
    return manifest
