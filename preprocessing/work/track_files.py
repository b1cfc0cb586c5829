"""Tracks of whole clips as MOT files: what UniTrack's demo writes, and `--boxes` reads.

Frames are those of TVQA, three a second and counted from 1: frame n shows second
(n - 1) / 3. A clip's file has its persons, in pixels of the source; a box of no track
has the number -1.

While a run is under way `OUT/.work` has a note on each clip that is done. `tracks.json`
holds the settings and, when all is done, the counts.
"""

import contextlib
import dataclasses
import json
import math
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np

from mmdiffmask import atomic
from mmdiffmask.types import Boxes
from preprocessing.boxes import finders, people
from preprocessing.boxes.unitrack import mot
from preprocessing.items import Clip, Look, Losses, Skip
from preprocessing.media import decode
from preprocessing.readers.plans import Plan
from preprocessing.work import breaks, clips, out_folder, runner, workers
from preprocessing.work.execution import Execution, Note

NAME = "tracks.json"
ROUNDING = 1e-6  # of a duration that is a whole number of frames


@dataclasses.dataclass(frozen=True)
class Task:
    """One clip to follow; `number` is its place among all."""

    out: str
    number: int
    clip: Clip
    finder: finders.People
    deadline_s: float

    @property
    def note(self) -> pathlib.Path:
        """Where its note lies: written when the file is in its place."""
        return pathlib.Path(self.out, out_folder.WORK, f"{self.number:06d}.json")


def finished(out: pathlib.Path, described: dict[str, Any]) -> dict[str, int] | None:
    """The counts if OUT holds these tracks already; None if some are to be made.

    Raises:
      ValueError: if OUT holds anything else.
    """
    if not out.exists():
        return None
    if not out.is_dir():
        raise ValueError(f"{out}: is a file; --out takes a folder")
    if not (out / NAME).is_file():
        if any(path.name != out_folder.WORK for path in out.iterdir()):
            raise ValueError(
                f"{out}: holds other files; name a new or empty folder as --out"
            )
        return None
    state = out_folder.read_object(out / NAME)
    if state is None or not isinstance(state.get("settings"), dict):
        raise ValueError(f"{out / NAME}: is damaged; delete {out} and run again")
    out_folder.require_same(out, "tracks", held=state["settings"], wanted=described)
    return state.get("counts")


def write(
    plan: Plan,
    out: pathlib.Path,
    described: dict[str, Any],
    finder: finders.People,
    execution: Execution,
) -> dict[str, int]:
    """Writes the file of every clip, or those that are missing; the counts.

    Args:
      plan: its clips; what is asked about them does not matter.
      out: new, empty, or of an unfinished run of the same settings (see `finished`).
      described: what the tracks depend on.
      finder: how to detect and follow.
      execution: how the run is executed.

    Raises:
      ValueError: if no clip can be followed; or if another run is at work in OUT.
    """
    every = {clip.name: clip for split in plan.clips.values() for clip in split}
    tasks = [
        Task(str(out), number, clip, finder, execution.deadline_s)
        for number, (_, clip) in enumerate(sorted(every.items()))
    ]
    kind = runner.Kind(
        "tracks",
        write=follow,
        read=_read_note,
        give_up=_give_up,
        size=lambda task: 1,
    )
    is_new = not out.exists()
    with out_folder.lock(out):
        _put(out, described)
        notes = runner.notes(tasks, kind, execution)
        if not any(note["counts"] for note in notes):
            runner.remove(out, is_new)
            lost = [Skip(**row) for note in notes for row in note["skipped"]]
            raise runner.nothing(plan, lost)
        # What is asked about the clips does not matter.
        skipped = [row for row in plan.skipped if not row.question]
        repaired = [row for row in plan.repaired if not row.question]
        counts = runner.put_losses(out, skipped, repaired, notes)
        _put(out, described, counts)
        shutil.rmtree(out / out_folder.WORK)
    return counts


def _put(out: pathlib.Path, described: dict[str, Any], counts: Any = None) -> None:
    content = {"settings": described} | ({"counts": counts} if counts else {})
    text = json.dumps(content, indent=1, sort_keys=True) + "\n"
    atomic.write(out / NAME, text, out / out_folder.WORK)


def _read_note(task: Task) -> dict[str, Any] | None:
    return out_folder.read_object(task.note) if task.note.is_file() else None


def follow(task: Task) -> Note:
    """Writes one clip's file and its note; the note's name and content. In a worker."""
    losses, counts = Losses(), {}
    if task.note.with_suffix(".given_up").is_file():
        losses.skip(task.clip, task.note.with_suffix(".given_up").read_text())
    else:
        workers.begin(task.clip.name, task.deadline_s)
        counts = _follow(task, losses)
    skipped = [dataclasses.replace(row, question="") for row in losses.skipped[:1]]
    losses = Losses(skipped, losses.repaired)
    note = {"counts": counts, **dataclasses.asdict(losses)}
    atomic.write(task.note, json.dumps(note, sort_keys=True))
    workers.tick(1)
    return task.note.name, note


def _follow(task: Task, losses: Losses) -> dict[str, int]:
    """Writes the file; the counts, empty if the clip cannot be shown."""
    clip = task.clip
    footage = clips.open_footage(clip, losses)
    if footage is None:
        return {}
    workers.lengthen(clips.DEADLINE_SHARE * footage.duration_s)
    numbers: list[int] = []
    finder = people.finder_of(task.finder)
    with contextlib.closing(footage):
        try:
            boxes = finder(clip.name, _looks(footage, numbers))
        except Exception as error:
            losses.skip(clip, breaks.require_clip(error))
            return {}
        for name, reason in footage.problems:
            file = f"{clip.footage}/{name}" if name else clip.footage
            losses.repaired.append(Skip(clip.name, file=file, reason=reason))
    if not numbers:
        losses.skip(clip, "no frame of it can be shown")
        return {}
    rows = _rows(boxes, np.array(numbers))
    path = pathlib.Path(task.out, f"{clip.name}.txt")
    path.parent.mkdir(parents=True, exist_ok=True)  # videos may lie in folders
    atomic.write(
        path, "".join(mot.lines(rows)), pathlib.Path(task.out, out_folder.WORK)
    )
    ids = set(rows.id[rows.id >= 0].tolist())
    counts = {"clips": 1, "frames": len(numbers), "boxes": len(rows.id)}
    return counts | {"tracks": len(ids)}


def _looks(footage: decode.Footage, numbers: list[int]) -> Iterator[Look]:
    """Three frames a second, each once; `numbers` grows by theirs."""
    last_s = -1.0
    count = math.ceil(footage.duration_s * finders.TRACKED_FPS - ROUNDING)
    for number in range(1, count + 1):
        time_s = (number - 1) / finders.TRACKED_FPS
        (frame,) = footage.frames([time_s])
        if frame is not None and frame.time_s > last_s:
            last_s = frame.time_s
            numbers.append(number)
            yield Look(frame.image, time_s, is_sampled=True)


def _rows(boxes: Boxes, numbers: np.ndarray) -> mot.Rows:
    """The persons; `frame` of the boxes counts the frames of these numbers."""
    is_person = np.array([kind == "body" for kind in boxes.kind], bool)
    corners = np.asarray(boxes.xyxy_px, np.float64)[is_person]
    size = corners[:, 2:] - corners[:, :2]
    return mot.Rows(
        frame=numbers[np.asarray(boxes.frame)[is_person]],
        id=np.asarray(boxes.track)[is_person],
        tlwh=np.hstack([corners[:, :2], size]),
        score=np.asarray(boxes.score, np.float64)[is_person],
        category=np.full(len(corners), -1),
    )


def _give_up(task: Task, clip: str, reason: str) -> None:
    atomic.write(task.note.with_suffix(".given_up"), reason)
