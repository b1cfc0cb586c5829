"""A folder of any video files to work items: windows of 7 segments, one after another.

Subtitles (a .srt, .vtt or .ass file of the same name beside it), sound (the video's
own, else a file beside it) and labels.csv are used where they are there; `Extras` names
others, and questions. Everything is one split, `train`, but for some of the videos that
something is asked or told about: they are held out as `val`, which probes are scored
on.
"""

import collections
import dataclasses
import hashlib
import os
import pathlib

from preprocessing.items import Clip, Question, Skip
from preprocessing.names import twins
from preprocessing.readers import (
    held_out,
    plans,
    sound_files,
    subtitle_files,
    tables,
    video_questions,
)

TRAIN, VAL = "train", "val"
VAL_SHARE = 0.2
TABLES = (".csv", ".json", ".jsonl", ".onnx", ".txt")  # what flags name
ENDINGS = frozenset(
    ".3g2 .3gp .asf .avi .divx .dv .f4v .flv .gif .m2t .m2ts .m2v .m4v .mjpeg .mkv"
    " .mov .mp4 .mpe .mpeg .mpg .mts .mxf .nut .ogm .ogv .qt .rm .rmvb .ts .vob .webm"
    " .wmv .y4m".split()
)
SOUNDS = plans.SOUNDS - ENDINGS


@dataclasses.dataclass(frozen=True)
class Extras:
    """Files beside the videos, where they do not lie in their folder.

    Attributes:
      questions: JSON lines {video, start, end, q, candidates, answer}: one record for
        each in place of windows. Seconds; `start` and `end` may be absent (the middle
        of the video), one of them alone is a moment; `answer` is a position from 0, one
        of the candidates, or absent.
      labels: CSV table {video, one column per label}; None = labels.csv, if there.
      subtitles: folder of files named as the videos; None = beside them.
      val_share: of the videos with questions or labels is `val`, chosen by a hash of
        their names: at least one if there are two.
      val_list: text file that names the videos of `val`, one a line, instead.
    """

    questions: str | None = None
    labels: str | None = None
    subtitles: str | None = None
    val_share: float = VAL_SHARE
    val_list: str | None = None

    def __post_init__(self):
        if not 0 <= self.val_share < 1:  # not NaN either
            raise ValueError(
                f"--val-share {self.val_share:g}: must be 0 or more, less than 1"
            )

    def fingerprint(self, raw_dir: str | pathlib.Path) -> str:
        """Changes with names and sizes of videos, subtitles and sound, with questions
        and labels.

        Raises:
          ValueError: if the folder or one of the files is missing.
        """
        raw = plans.raw_folder(raw_dir)
        videos = _names(raw)
        subtitles = self._subtitles(raw)
        said = [subtitles.of(name, file) for name, file in videos.items()]
        sizes = sorted(videos.values()) + sorted(name for name in said if name)
        heard = sound_files.beside(videos.values(), sound_files.of_ending(raw, SOUNDS))
        sizes += sorted({sound for every in heard.values() for sound in every})
        digest = plans.fingerprint(raw, [plans.LABELS], sizes)
        for name in (self.questions, self.labels, self.val_list):
            digest += hashlib.sha256(plans.content(name)).hexdigest() if name else "-"
        return hashlib.sha256(digest.encode()).hexdigest()

    def plan(self, raw_dir: str | pathlib.Path) -> plans.Plan:
        """One work item a video, named by its path in the folder without its ending.

        With questions only the videos that are asked about; a question about none of
        them, or one that is no question, is skipped. Without, a video that only the
        labels name is.

        Raises:
          ValueError: if the folder or one of the files is missing, or the labels are of
            other videos.
        """
        raw = plans.raw_folder(raw_dir)
        labels = tables.read_labels(raw, self.labels)
        every, heard, strays = _with_sound(raw)
        videos = {name: file for name, file in every.items() if plans.is_text(file)}
        lost = labels.unknown({*videos, *videos.values()})
        repaired = _odd_endings(raw) + _twins(videos)
        skipped: list[Skip] = []
        by_clip: dict[str, list[Question]] = {}
        if self.questions is None:
            skipped += [*_unreadable_names(every), *lost]
        else:
            repaired += lost
            by_clip = video_questions.read(self.questions, videos, skipped, repaired)
        subtitles = self._subtitles(raw)
        repaired += subtitles.strays(every) + strays
        clips = tuple(
            Clip(
                raw=str(raw),
                name=name,
                group=name,
                footage=file,
                sound=file,
                more_sound=tuple(heard.get(file, ())),
                subtitles=subtitles.of(name, file),
                questions=tuple(by_clip.get(name, ())),
                labels=labels.of(name, file),
            )
            for name, file in sorted(videos.items())
            if name in by_clip or self.questions is None
        )
        return plans.Plan(
            str(raw),
            self._splits(clips, repaired),
            skipped=tuple(skipped),
            lacks=self._lacks(len(videos), len(clips)),
            repaired=tuple(repaired),
        )

    def _lacks(self, videos: int, clips: int) -> str:
        """What is missing if no clip gives a record."""
        if not videos:
            return f"no video files (known by {', '.join(sorted(ENDINGS))})"
        if self.questions and not clips:
            return f"{self.questions} asks about none of the {videos} videos"
        return f"none of {clips} videos can be shown"

    def _splits(
        self, clips: tuple[Clip, ...], repaired: list[Skip]
    ) -> dict[str, tuple[Clip, ...]]:
        """Split -> its clips; splits without any are absent."""
        if self.val_list is None:
            known = [clip.name for clip in clips if clip.questions or clip.labels]
            val = held_out.by_hash(known, self.val_share)
        else:
            val, lost = held_out.listed(self.val_list, clips)
            repaired += lost
        parts = {
            TRAIN: tuple(clip for clip in clips if clip.name not in val),
            VAL: tuple(clip for clip in clips if clip.name in val),
        }
        return {split: members for split, members in parts.items() if members}

    def _subtitles(self, raw: pathlib.Path) -> subtitle_files.Folder:
        if self.subtitles is not None and not os.path.isdir(self.subtitles):
            raise ValueError(f"{self.subtitles}: no such folder of subtitles")
        return subtitle_files.Folder(raw, self.subtitles)


def _twins(videos: dict[str, str]) -> list[Skip]:
    """A line for each video whose name another has too, in the other Unicode form."""
    reason = "another video's name differs in its Unicode form alone: labels, questions"
    reason += " and subtitles of that name may be the other's; rename one"
    return [Skip(name, file=videos[name], reason=reason) for name in twins(videos)]


def _odd_endings(raw: pathlib.Path) -> list[Skip]:
    """A line for each ending of files that are nothing known here."""
    known = {*ENDINGS, *subtitle_files.ENDINGS, *plans.SOUNDS, *TABLES}
    by_ending: dict[str, list[str]] = {}
    for folder, _, names in plans.walk(raw):
        for name in names:
            ending = os.path.splitext(name)[1].lower()
            is_record = ending.startswith(".array_record")  # OUT may lie in RAW
            if ending not in known and not is_record and name[0] != ".":
                path = pathlib.Path(folder, name).relative_to(raw)
                by_ending.setdefault(ending, []).append(path.as_posix())
    rows = []
    for ending, files in sorted(by_ending.items()):
        why = (
            f"{plans.shown(ending)} is no video's ending" if ending else "has no ending"
        )
        reason = f"is not looked at: {why}"
        reason += f"; nor are {len(files) - 1} more of it" if files[1:] else ""
        rows.append(Skip(file=plans.shown(files[0]), reason=reason))
    return rows


def _unreadable_names(every: dict[str, str]) -> list[Skip]:
    shown = sorted(
        plans.shown(file) for file in every.values() if not plans.is_text(file)
    )
    reason = "its name is not UTF-8; rename it"
    return [Skip(name, file=name, reason=reason) for name in shown]


def _with_sound(
    raw: pathlib.Path,
) -> tuple[dict[str, str], dict[str, list[str]], list[Skip]]:
    """Clip name -> file; file -> sound beside it; a line if there is other sound."""
    every = _names(raw)
    parts = sound_files.without_pictures(raw, tuple(every.values()))
    every = _names(raw, parts) if parts else every
    sounds = sound_files.of_ending(raw, SOUNDS) + sorted(parts)
    heard = sound_files.beside(every.values(), sounds)
    strays = sound_files.strays(sounds, heard)
    reason = "is not used: it is sound, and no video has its name"
    reason += f"; nor are {len(strays) - 1} more of sound" if strays[1:] else ""
    return (
        every,
        heard,
        [Skip(file=plans.shown(name), reason=reason) for name in strays[:1]],
    )


def _names(raw: pathlib.Path, but: frozenset[str] = frozenset()) -> dict[str, str]:
    """Clip name -> file; files that differ in their ending alone keep it.

    Those of `but` do not count. A folder of a video's name without videos in it does:
    it is told as damage.
    """
    files, odd = [], []
    for folder, folders, entries in plans.walk(raw):
        for names, kept in ((entries, files), (folders, odd)):
            kept += [
                pathlib.Path(folder, name).relative_to(raw).as_posix()
                for name in names
                if os.path.splitext(name)[1].lower() in ENDINGS and name[0] != "."
            ]
    files += [name for name in odd if not any(f.startswith(f"{name}/") for f in files)]
    files = [file for file in files if file not in but]
    stems = [os.path.splitext(file)[0] for file in files]
    count = collections.Counter(stems)
    return {
        file if count[stem] > 1 else stem: file
        for stem, file in zip(stems, files, strict=True)
    }
