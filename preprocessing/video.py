"""A folder of any video files to work items: windows of 7 segments, one after another.

Subtitles (a .srt, .vtt or .ass file of the same name beside it), sound and labels.csv
are used where they are there. Everything is one split, `train`.
"""

import collections
import os
import pathlib

from preprocessing import plans
from preprocessing.items import Clip, Skip

SPLIT = "train"
SUBTITLES = (".srt", ".vtt", ".ass", ".ssa")
ENDINGS = frozenset(
    ".3gp .avi .flv .gif .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .webm"
    " .wmv".split()
)


def fingerprint(raw_dir: str | pathlib.Path) -> str:
    """Changes with the names or sizes of the videos, or the labels.

    Raises:
      ValueError: if the folder is missing.
    """
    raw = plans.raw_folder(raw_dir)
    return plans.fingerprint(raw, [plans.LABELS], sorted(_names(raw).values()))


def plan(raw_dir: str | pathlib.Path) -> plans.Plan:
    """One work item a video, named by its path in the folder without its ending.

    Raises:
      ValueError: if the folder is missing.
    """
    raw = plans.raw_folder(raw_dir)
    labels = plans.read_labels(raw)
    every = _names(raw)
    names = {name: file for name, file in every.items() if plans.is_text(file)}
    skipped = tuple(
        Skip(shown, "", shown, "its name is not UTF-8; rename it")
        for shown in sorted(
            file.encode(errors="surrogateescape").decode(errors="replace")
            for file in every.values()
            if not plans.is_text(file)
        )
    )
    clips = tuple(
        Clip(
            raw=str(raw),
            name=name,
            group=name,
            footage=file,
            sound=file,
            subtitles=_subtitles(raw, file),
            questions=(),
            labels=labels.get(name, labels.get(file, ())),
        )
        for name, file in sorted(names.items())
    )
    lacks = f"none of {len(clips)} video files opens" if clips else "no video files"
    return plans.Plan(str(raw), {SPLIT: clips} if clips else {}, skipped, lacks)


def _names(raw: pathlib.Path) -> dict[str, str]:
    """Clip name -> file; files that differ in their ending alone keep it."""
    files = []
    for folder, folders, found in os.walk(raw):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += [
            pathlib.Path(folder, name).relative_to(raw).as_posix()
            for name in found
            if os.path.splitext(name)[1].lower() in ENDINGS and name[0] != "."
        ]
    stems = [os.path.splitext(file)[0] for file in files]
    count = collections.Counter(stems)
    return {
        file if count[stem] > 1 else stem: file
        for stem, file in zip(stems, files, strict=True)
    }


def _subtitles(raw: pathlib.Path, file: str) -> str | None:
    stem = os.path.splitext(file)[0]
    beside = (stem + ending for ending in SUBTITLES)
    return next((name for name in beside if (raw / name).is_file()), None)
