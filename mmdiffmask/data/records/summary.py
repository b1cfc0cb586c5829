"""What a folder of records holds, counted record by record."""

import collections
import dataclasses
import statistics
from typing import Any

import numpy as np

from mmdiffmask.data.records import frames as frames_lib
from mmdiffmask.data.records.schema import Record
from mmdiffmask.grid import PatchGrid, fit_frame, valid_patches

REASONS = 10  # so many reasons are told, the frequent ones


@dataclasses.dataclass(frozen=True)
class Summary:
    """What `check` saw.

    Attributes:
      records: of each split.
      shards: files.
      clips: of which there are records.
      questions: records that ask something.
      frames: valid ones, over all records.
      boxed_records: records in which detectors ran.
      boxes: of each kind.
      people_per_frame: bodies in a frame of a boxed record: mean.
      box_patches: share of valid patches of boxed records that boxes of any kind,
        bodies and faces touch.
      no_person_clips: boxed clips without a body or a face.
      tracks_per_clip: mean over boxed clips.
      track_frames: in how many distinct sampled frames a track is seen: median.
      sound: share of valid frames with sound.
      subtitles: share of records with a subtitle line.
      skipped: reason -> count, of what yielded no record.
      repaired: reason -> count, of what was mended.
    """

    records: dict[str, int]
    shards: int
    clips: int
    questions: int
    frames: int
    boxed_records: int
    boxes: dict[str, int]
    people_per_frame: float
    box_patches: dict[str, float]
    no_person_clips: int
    tracks_per_clip: float
    track_frames: float
    sound: float
    subtitles: float
    skipped: dict[str, int]
    repaired: dict[str, int]

    def lines(self) -> list[str]:
        """For people to read, one fact a line."""
        shares = (f"{value:.1%} {name}" for name, value in self.box_patches.items())
        facts = {
            "records": f"{_counts(self.records)}, in {self.shards} shards",
            "clips": self.clips,
            "questions": self.questions,
            "frames": self.frames,
            "boxed records": self.boxed_records,
            "boxes": _counts(self.boxes),
            "people per frame": f"{self.people_per_frame:.2f}",
            "patches in boxes": ", ".join(shares),
            "clips without a person": self.no_person_clips,
            "tracks per clip": f"{self.tracks_per_clip:.2f}",
            "frames of a track (median)": f"{self.track_frames:g}",
            "frames with sound": f"{self.sound:.1%}",
            "records with subtitles": f"{self.subtitles:.1%}",
        }
        texts = [f"{name}: {value}" for name, value in facts.items()]
        texts += _by_reason("skipped", self.skipped)
        return texts + _by_reason("repaired", self.repaired)


def _by_reason(name: str, reasons: dict[str, int]) -> list[str]:
    common = collections.Counter(reasons).most_common(REASONS)
    hidden = len(reasons) - len(common)
    lines = [f"{name}: {sum(reasons.values())}"]
    lines += [f"  {count} x {reason}" for reason, count in common]
    return lines + ([f"  and {hidden} other reasons"] if hidden else [])


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"


class Counter:
    """Counts records, in the order of the shards (the records of a clip adjoin)."""

    def __init__(self, grid: PatchGrid):
        self._grid = grid
        self.counts: collections.Counter = collections.Counter()
        self.records: collections.Counter = collections.Counter()
        self.boxes: collections.Counter = collections.Counter()
        self._patches: collections.Counter = collections.Counter()
        self._clip: tuple[str, str] | None = None
        self._tracks: dict[tuple[str, int], set[float]] = {}
        self._lengths: list[int] = []
        self._has_person = self._is_boxed = False

    def add(self, split: str, record: Record) -> None:
        """Counts one record, whose fields must be sound."""
        if (split, record.clip) != self._clip:
            self._end_clip()
            self._clip = split, record.clip
        self.records[split] += 1
        valid = record.is_frame_valid
        self.counts["questions"] += record.question != ""
        self.counts["frames"] += int(valid.sum())
        self.counts["sound"] += int((record.is_audio_valid & valid).sum())
        self.counts["subtitled"] += len(record.line_text) > 0
        self.boxes.update(record.boxes.kind)
        if record.is_boxed:
            self._is_boxed = True
            self.counts["boxed records"] += 1
            self.counts["boxed frames"] += int(valid.sum())
            self._has_person |= not {"body", "face"}.isdisjoint(record.boxes.kind)
            self._add_patches(record)
            self._add_tracks(record)

    def _add_patches(self, record: Record) -> None:
        sizes = frames_lib.sizes(record.frames)
        t, n = len(record.frames), self._grid.n_patches
        is_valid = np.zeros((t, n), bool)
        for i, (width, height) in enumerate(sizes.tolist()):
            if width:
                fit = fit_frame(self._grid, width, height)
                is_valid[i] = valid_patches(self._grid, fit)
        self._patches["all"] += int(is_valid.sum())
        kinds = np.array(record.boxes.kind, object)
        for name in ("any", "body", "face"):
            rows = np.flatnonzero((kinds == name) | (name == "any"))
            is_inside = np.zeros((t, n), bool)
            np.logical_or.at(
                is_inside, record.boxes.frame[rows], record.covered_share[rows] > 0
            )
            self._patches[name] += int((is_inside & is_valid).sum())

    def _add_tracks(self, record: Record) -> None:
        """Tracks are numbered once a clip, or once a window where nothing is asked."""
        scope = "" if record.question else record.example_id
        for i in np.flatnonzero(record.boxes.track >= 0):
            track = scope, int(record.boxes.track[i])
            time_s = float(record.frame_time_s[record.boxes.frame[i]])
            self._tracks.setdefault(track, set()).add(time_s)

    def _end_clip(self) -> None:
        if self._clip is not None:
            self.counts["clips"] += 1
            self.counts["boxed clips"] += self._is_boxed
            self.counts["no person"] += self._is_boxed and not self._has_person
            self._lengths += [len(times) for times in self._tracks.values()]
        self._tracks = {}
        self._clip, self._has_person, self._is_boxed = None, False, False

    def summary(
        self, shards: int, skipped: dict[str, int], repaired: dict[str, int]
    ) -> Summary:
        """What was counted, in so many shards, with what was lost by reason."""
        self._end_clip()
        counts, patches = self.counts, self._patches
        return Summary(
            records=dict(self.records),
            shards=shards,
            clips=counts["clips"],
            questions=counts["questions"],
            frames=counts["frames"],
            boxed_records=counts["boxed records"],
            boxes=dict(sorted(self.boxes.items())),
            people_per_frame=_share(self.boxes["body"], counts["boxed frames"]),
            box_patches={
                name: _share(patches[name], patches["all"])
                for name in ("any", "body", "face")
            },
            no_person_clips=counts["no person"],
            tracks_per_clip=_share(len(self._lengths), counts["boxed clips"]),
            track_frames=float(statistics.median(self._lengths or [0])),
            sound=_share(counts["sound"], counts["frames"]),
            subtitles=_share(counts["subtitled"], sum(self.records.values())),
            skipped=dict(skipped),
            repaired=dict(repaired),
        )

    def as_manifest(self) -> dict[str, Any]:
        """The counts that `manifest.json` tells too, after `summary`."""
        counts = {f"{kind} boxes": count for kind, count in self.boxes.items()}
        names = ("clips", "frames", "boxed clips")
        return (
            counts
            | {name: self.counts[name] for name in names}
            | {"records": sum(self.records.values())}
        )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
