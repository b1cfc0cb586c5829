"""A TVQA download, or a set in its layout, to work items: one a clip.

tvqa_qa_release/tvqa_{train,val,test_public}.jsonl
tvqa_subtitles/**/<vid_name>.srt
tvqa_frames/frames_hq/<show>_frames/<vid_name>/00001.jpg ...
tvqa_frames/audios/**/<vid_name>.<any ending>
labels.csv                                              (optional)
"""

import os
import pathlib
import re

from preprocessing.items import Clip, Question, Skip
from preprocessing.names import Names
from preprocessing.readers import plans, question_lines, tables

QUESTIONS, SUBTITLES = "tvqa_qa_release", "tvqa_subtitles"
FRAMES, AUDIOS = "tvqa_frames/frames_hq", "tvqa_frames/audios"
SPLITS = ("train", "val", "test_public")
TOY_SHOWS = ("general", "people", "objects")  # each clip its own world: no episodes
ARCHIVES = (".gz", ".tar", ".tgz", ".zip")
EPISODE = re.compile(r"(.+)_seg\d+_clip_\d+")


def _file(split: str) -> str:
    return f"{QUESTIONS}/tvqa_{split}.jsonl"


def fingerprint(raw_dir: str | pathlib.Path) -> str:
    """Changes with the questions, the labels, and which raw files there are.

    Of frames only the folders count: a look at every frame of TVQA takes minutes.

    Raises:
      ValueError: if the folder is missing.
    """
    raw = plans.raw_folder(raw_dir)
    files = sorted(plans.index(raw, SUBTITLES, (".srt",)).values())
    files += sorted(sum(_sounds(raw).values(), []))
    folders = sorted(_index_frames(raw).values())
    return plans.fingerprint(raw, [*map(_file, SPLITS), plans.LABELS], files, folders)


def plan(raw_dir: str | pathlib.Path) -> plans.Plan:
    """The clips that have questions, by split.

    Raises:
      ValueError: if the folder is missing, holds no file of questions, or subtitles
        that are not unpacked.
    """
    raw = plans.raw_folder(raw_dir)
    _require_unpacked(raw)
    if not any(os.path.lexists(raw / _file(split)) for split in SPLITS):
        raise ValueError(
            f"{raw}: nothing usable: no {_file('train')}, _val or _test_public"
        )
    folders, sounds = _index_frames(raw), _sounds(raw)
    subtitles = plans.index(raw, SUBTITLES, (".srt",))
    labels = tables.read_labels(raw)
    lost = labels.unknown(folders)
    skipped: list[Skip] = []
    seen: set[str] = set()
    clips = {}
    for split in SPLITS:
        by_clip = _read_questions(raw, split, folders, seen, skipped)
        chosen = [
            _clip(raw, name, rows, folders, sounds, subtitles, labels)
            for name, rows in sorted(by_clip.items())
        ]
        if chosen:
            clips[split] = tuple(chosen)
    names = sorted({clip.name for every in clips.values() for clip in every})
    lost += plans.without("subtitles", SUBTITLES, files=subtitles, clips=names)
    lost += plans.without("sound", AUDIOS, files=sounds, clips=names)
    lacks = "no question has frames that can be shown"
    return plans.Plan(
        str(raw), clips, skipped=tuple(skipped), lacks=lacks, repaired=tuple(lost)
    )


Rows = list[tuple[str, Question]]  # of one clip: (show, question)


def _clip(
    raw: pathlib.Path,
    name: str,
    rows: Rows,
    folders: Names[str],
    sounds: dict[str, list[str]],
    subtitles: Names[str],
    labels: tables.Labels,
) -> Clip:
    return Clip(
        raw=str(raw),
        name=name,
        group=group(name, rows[0][0]),
        footage=folders[name],
        sound=sounds.get(name, [None])[0],
        more_sound=tuple(sounds.get(name, ())[1:]),
        subtitles=subtitles.get(name),
        questions=tuple(question for _, question in rows),
        labels=labels.of(name),
    )


def group(video: str, show: str) -> str:
    """What splits go by: the episode, so that no scene is seen before it is asked.

    >>> group("castle_s07e10_seg02_clip_06", "Castle")
    'castle_s07e10'
    """
    match = EPISODE.fullmatch(video)
    return match[1] if match and show not in TOY_SHOWS else video


def _read_questions(
    raw: pathlib.Path,
    split: str,
    folders: Names[str],
    seen: set[str],
    skipped: list[Skip],
) -> dict[str, Rows]:
    """Clip -> (show, question) in the file's order; what is not usable is skipped."""
    path = raw / _file(split)
    by_clip: dict[str, Rows] = {}
    if not os.path.lexists(path):
        return by_clip
    for number, line in question_lines.read(path):
        video, question_id = "", f"line {number}"
        try:
            row = question_lines.read_row(line)
            video = folders.key(question_lines.text(row, "vid_name").strip())
            example_id = f"{question_lines.whole(row, 'qid'):06d}~{video}"
            question = question_lines.question(row, example_id)
            question_id = question.example_id
            if question_id in seen:
                raise ValueError("a question of this id was there before")
            if video not in folders:
                raise ValueError(f"no folder of frames in {FRAMES}")
        except ValueError as error:
            skipped.append(
                Skip(video, question_id, file=_file(split), reason=str(error))
            )
            continue
        seen.add(question_id)
        by_clip.setdefault(video, []).append((str(row.get("show_name", "")), question))
    return by_clip


def _index_frames(raw: pathlib.Path) -> Names[str]:
    """Clip -> its folder of frames, whatever the show's folder is called."""
    folders = {}
    root = raw / FRAMES
    for show in sorted(root.iterdir()) if root.is_dir() else ():
        if show.is_dir():
            for entry in os.scandir(show):
                if entry.is_dir():
                    folders[entry.name] = f"{FRAMES}/{show.name}/{entry.name}"
    return Names(folders)


def _sounds(raw: pathlib.Path) -> Names[list[str]]:
    """Clip -> its files of sound: where the first cannot be used, the next is."""
    return Names(plans.index_all(raw, AUDIOS, plans.SOUNDS))


def _require_unpacked(raw: pathlib.Path) -> None:
    """Raises ValueError if subtitles are there, but only in the archive they come in.

    TVQA without its subtitles is another data set, so nobody should get it unawares.
    """
    names = sorted(path.name for path in raw.glob(f"{SUBTITLES}*.*"))
    packed = [name for name in names if name.endswith(ARCHIVES)]
    if packed and not (raw / SUBTITLES).is_dir():
        raise ValueError(
            f"{raw}: {packed[0]} is not unpacked; unpack it to {SUBTITLES}/, or move it"
            " away to go on without subtitles"
        )
