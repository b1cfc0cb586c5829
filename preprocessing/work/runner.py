"""Work items to a folder: resume, workers, lists of losses; for records the manifest.

While a run is under way `OUT/.work` holds its settings, a note on each finished shard,
the clips given up, and whatever is being written; a file gets its place in OUT by one
rename. `manifest.json` is written last, then `.work` goes.
"""

import collections
import dataclasses
import json
import pathlib
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import Any

import tqdm

from mmdiffmask import atomic, versions
from mmdiffmask.data.records import fingerprint, index, seconds
from mmdiffmask.data.records import manifest as manifest_lib
from mmdiffmask.data.records import shards as records_lib
from mmdiffmask.data.records.manifest import Manifest, Shard
from preprocessing.items import Losses, Search, Settings, Skip
from preprocessing.readers.plans import Plan
from preprocessing.work import out_folder, shards, workers
from preprocessing.work.execution import Execution, Note
from preprocessing.work.shards import Task

RENDERED = "toy"  # the source whose pictures this project makes itself


@dataclasses.dataclass(frozen=True)
class Kind:
    """What is done for each task of a run; the rest is the same for every run.

    Attributes:
      name: of what is made, for the bar.
      write: does a task, in a worker; the name of its note, and the note.
      read: the note of a task that is done; None where it is to be done (again).
      give_up: has a clip left out from now on, as in `workers.run`.
      size: how many clips a task has.
    """

    name: str
    write: Callable[[Any], Note]
    read: Callable[[Any], dict[str, Any] | None]
    give_up: workers.GiveUp
    size: Callable[[Any], int]


def build(
    plan: Plan,
    out: pathlib.Path,
    described: dict[str, Any],
    settings: Settings,
    finder: Search | None,
    execution: Execution,
) -> Manifest:
    """Makes the records, or what is missing of them.

    Args:
      plan: the work items.
      out: new, empty, or of an unfinished run of the same settings (see `finished`).
      described: from `describe`.
      settings: of the data set.
      finder: looks for boxes; None = no boxes.
      execution: how the run is executed.

    Raises:
      ValueError: if nothing usable came out, with nothing left in OUT; or if something
        is skipped and the run is strict; or if another run is at work in OUT.
    """
    if not plan.clips:
        raise nothing(plan)
    require_strict(plan.skipped, execution.strict)
    is_new = not out.exists()
    with out_folder.lock(out):
        state = described | {"versions": out_folder.versions()}
        text = json.dumps(state, indent=1, sort_keys=True)
        atomic.write(out / out_folder.WORK / out_folder.STATE, text)
        every = tasks(plan, out, settings, finder, described["clips_per_shard"])
        is_rendered = described["source"] == RENDERED
        changes = {"deadline_s": execution.deadline_s, "is_rendered": is_rendered}
        every = [dataclasses.replace(task, **changes) for task in every]
        written = notes(every, _shards(execution.strict), execution)
        if not sum(note["shard"]["records"] for note in written):
            remove(out, is_new)
            lost = [Skip(**row) for note in written for row in note["skipped"]]
            raise nothing(plan, lost)
        return finish(plan, out, described, settings, every, written)


def _shards(strict: bool) -> Kind:
    """How shards of records are made."""

    def read(task: Task) -> dict[str, Any] | None:
        note = shards.read_note(task, strict)
        if note is None:
            shards.try_again(task, strict)
        return note

    return Kind(
        "records",
        write=shards.write_shard,
        read=read,
        give_up=_require_none_lost if strict else shards.give_up,
        size=lambda task: len(task.clips),
    )


def notes(
    every: Sequence[Any], kind: Kind, execution: Execution
) -> list[dict[str, Any]]:
    """The notes of all tasks, in their order; what is missing is done.

    Args:
      every: the tasks; each says where its `note` lies.
      kind: what is done for them.
      execution: how the run is executed.
    """
    note_of = {task.note.name: note for task in every if (note := kind.read(task))}
    missing = [task for task in every if task.note.name not in note_of]
    total, left = (sum(map(kind.size, some)) for some in (every, missing))
    options = {"desc": kind.name, "unit": "clip", "file": sys.stderr}
    with tqdm.tqdm(
        total=total, initial=total - left, disable=not execution.bar, **options
    ) as shown:
        if execution.execute is None:
            written = workers.run(
                kind.write,
                missing,
                workers=execution.processes,
                on_tick=shown.update,
                give_up=kind.give_up,
            )
        else:
            written = execution.execute(kind.write, missing)
        for name, note in written:
            note_of[name] = note
            require_strict([Skip(**row) for row in note["skipped"]], execution.strict)
    return [note_of[task.note.name] for task in every]


def put_losses(
    out: pathlib.Path,
    skipped: Sequence[Skip],
    repaired: Sequence[Skip],
    notes: Sequence[dict[str, Any]],
) -> dict[str, int]:
    """Lists in OUT what was lost and mended; what was counted, with both numbers.

    Args:
      out: the folder.
      skipped: what was skipped before any task.
      repaired: what was mended before any task.
      notes: of all tasks.
    """
    counts: collections.Counter = collections.Counter()
    losses = {"skipped": list(skipped), "repaired": list(repaired)}
    for note in notes:
        counts.update(note["counts"])
        for kind, rows in losses.items():
            rows += [Skip(**row) for row in note[kind]]
    files = {"skipped": out_folder.SKIPPED, "repaired": out_folder.REPAIRED}
    for kind, rows in losses.items():
        counts[kind] = len(rows)
        out_folder.put_rows(out, files[kind], rows)
    return dict(counts)


def _require_none_lost(task: Task, clip: str, reason: str) -> None:
    losses = Losses()
    losses.skip(next(item for item in task.clips if item.name == clip), reason)
    require_strict(losses.skipped, strict=True)


def nothing(plan: Plan, lost: Sequence[Skip] = ()) -> ValueError:
    """The error where no record can be made; with a reason."""
    rows = [*lost, *plan.skipped]
    why = f" ({rows[0].file}: {rows[0].reason})" if rows else ""
    return ValueError(f"{plan.raw}: nothing usable: {plan.lacks}{why}")


def remove(out: pathlib.Path, is_ours: bool) -> None:
    """Removes what a run wrote; the folder itself if it made that too."""
    for path in out.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if is_ours:
        out.rmdir()


def require_strict(skipped: Any, strict: bool) -> None:
    """Raises ValueError with the first of what was skipped, if `strict`."""
    if strict and skipped:
        first = skipped[0]
        subject = first.question or first.video
        raise ValueError(
            f"--strict: {subject}: {first.file}: {first.reason};"
            " mend or remove it, or run again without --strict to go on without it"
        )


def tasks(
    plan: Plan, out: pathlib.Path, settings: Settings, finder: Search | None, size: int
) -> list[Task]:
    """One for each shard of `size` clips."""
    shard_tasks = []
    for split in sorted(plan.clips):
        every = plan.clips[split]
        boxed = len(every)
        if settings.boxed_clips is not None:
            boxed = settings.boxed_clips if split == "train" else 0
        groups = [every[first : first + size] for first in range(0, len(every), size)]
        for place, group in enumerate(groups):
            share = min(max(boxed - place * size, 0), len(group)) if finder else 0
            task = Task(
                str(out), split, place, len(groups), group, share, settings, finder
            )
            shard_tasks.append(task)
    # The slow ones first: the last to finish keeps one worker, not all, waiting.
    return sorted(shard_tasks, key=lambda task: -task.boxed)


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
    shards_of = collections.defaultdict(list)
    by_place = sorted(
        zip(tasks, notes, strict=True), key=lambda pair: (pair[0].split, pair[0].index)
    )
    for task, note in by_place:
        shards_of[task.split].append(Shard(**note["shard"]))
    counts = put_losses(
        out, plan.skipped, plan.repaired, [note for _, note in by_place]
    )
    _put_seconds(out, notes)
    manifest = Manifest(
        settings=described,
        versions=out_folder.versions() | {fingerprint.RULES: _rules()},
        grid=settings.grid,
        segments=settings.segments,
        sub_segments=settings.sub_segments,
        shards={split: tuple(rows) for split, rows in shards_of.items()},
        counts=counts,
    )
    manifest = _indexed(out, manifest, [task for task, _ in by_place])
    records_lib.write_tfds_metadata(out, manifest)
    atomic.write(
        out / manifest_lib.NAME, manifest_lib.to_json(manifest), out / out_folder.WORK
    )
    # A run that was just started may have seen the manifest and be faster.
    shutil.rmtree(out / out_folder.WORK, ignore_errors=True)
    return manifest


def _put_seconds(out: pathlib.Path, notes: Sequence[dict[str, Any]]) -> None:
    """Writes what detectors took, if there were any."""
    total: collections.Counter[str] = collections.Counter()
    for note in notes:
        total.update(note.get("seconds", {}))  # a version before noted none
    if total:
        atomic.write(out / seconds.NAME, seconds.text(total), out / out_folder.WORK)


def _rules() -> str:
    return str(versions.NUMBERS[fingerprint.RULES])


def _indexed(out: pathlib.Path, manifest: Manifest, tasks: list[Task]) -> Manifest:
    """Writes the index of each split; the manifest that tells of it."""
    entries: dict[str, list[index.Entry]] = {split: [] for split in manifest.shards}
    for task in tasks:
        entries[task.split] += shards.read_entries(task, manifest)
    files = {}
    for split, every in entries.items():
        content = index.to_bytes(every)
        files[split] = index.described(split, content)
        atomic.write(out / files[split].file, content, out / out_folder.WORK)
    return dataclasses.replace(
        manifest, index=files, fingerprint=fingerprint.of(manifest, entries)
    )
