"""A Social-IQ 2.0 download, or a set in its layout, to work items: one a clip.

qa/qa_{train,val,test}.json                 a JSON object a line
frames/<id>/<id>_001.jpg ...                three a second; or video/<id>.mp4
audio/{mp3,wav}/<id>.*                      or the video's own sound, or beside it
transcript/<id>.vtt
original_split.json
labels.csv                                  (optional)

What the published `qa_test.json` asks about videos of other splits is left out and
listed: 182 of its 275 videos are in the training questions, 27 in val's. Without
`original_split.json` those that no question of train or val is about count as test.

`trims.json` says where in its film a clip begins; the files here are cut already, so it
is not needed, and `current_split.json` says no more than which files there are.

Social-IQ 1.0, the paper's data set, has no documented format that could be found.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping

from preprocessing.items import Clip, Question, Skip
from preprocessing.names import Names
from preprocessing.readers import plans, question_lines, sound_files, tables
from preprocessing.readers.video import ENDINGS

SPLITS = ("train", "val", "test")
ORIGINAL_SPLIT = "original_split.json"
FRAMES, VIDEOS, AUDIOS, TRANSCRIPTS = "frames", "video", "audio", "transcript"
SUBTITLES = (".vtt", ".srt")
PICTURES = (".jpg", ".jpeg", ".png")

Files = Names[str]  # video -> its file or folder


def _file(split: str) -> str:
    return f"qa/qa_{split}.json"


def fingerprint(raw_dir: str | pathlib.Path) -> str:
    """Changes with questions, splits, labels, and which raw files there are.

    Of frames only the folders count.

    Raises:
      ValueError: if the folder is missing.
    """
    raw = plans.raw_folder(raw_dir)
    contents = [*map(_file, SPLITS), ORIGINAL_SPLIT, plans.LABELS]
    videos, said = _videos(raw), _transcripts(raw)
    heard = {name for every in _sounds(raw, videos).values() for name in every}
    sizes = sorted({*videos.values(), *said.values(), *heard})
    return plans.fingerprint(raw, contents, sizes, sorted(_frames(raw).values()))


def plan(raw_dir: str | pathlib.Path) -> plans.Plan:
    """The clips that have questions, by split.

    Raises:
      ValueError: if the folder is missing, holds no file of questions, or
        `original_split.json` is none.
    """
    raw = plans.raw_folder(raw_dir)
    if not any(os.path.lexists(raw / _file(split)) for split in SPLITS):
        raise ValueError(f"{raw}: nothing usable: no {_file('train')}, _val or _test")
    videos = _videos(raw)
    footage = Names({**videos, **_frames(raw)})
    sounds = Names(_sounds(raw, videos))
    transcripts, labels = _transcripts(raw), tables.read_labels(raw)
    lost = labels.unknown(footage)
    skipped: list[Skip] = []
    by_split = _read_all(raw, footage, skipped)
    clips = {
        split: tuple(
            Clip(
                raw=str(raw),
                name=name,
                group=name,
                footage=footage[name],
                sound=sounds.get(name, [None])[0],
                more_sound=tuple(sounds.get(name, ())[1:]),
                subtitles=transcripts.get(name),
                questions=tuple(questions),
                labels=labels.of(name),
                placement="even",
            )
            for name, questions in sorted(by_video.items())
        )
        for split, by_video in by_split.items()
        if by_video
    }
    names = sorted({clip.name for every in clips.values() for clip in every})
    lost += plans.without("transcript", TRANSCRIPTS, files=transcripts, clips=names)
    lost += plans.without("sound", AUDIOS, files=sounds, clips=names)
    lacks = "no question has a video that can be shown"
    return plans.Plan(
        str(raw), clips, skipped=tuple(skipped), lacks=lacks, repaired=tuple(lost)
    )


def _read_all(
    raw: pathlib.Path, footage: Files, skipped: list[Skip]
) -> dict[str, dict[str, list[Question]]]:
    """Split -> clip -> questions in the file's order; the rest is skipped."""
    home = _original_split(raw)
    seen: dict[str, Question] = {}
    by_split: dict[str, dict[str, list[Question]]] = {}
    for split in SPLITS:
        by_split[split] = {}
        path = raw / _file(split)
        lines = question_lines.read(path) if os.path.lexists(path) else ()
        # A video that was asked about before is a leak whatever the lists say.
        known = {name: s for s, by_video in by_split.items() for name in by_video}
        known = Names({**home, **known})
        for number, line in lines:
            video, question_id = "", f"line {number}"
            try:
                row = question_lines.read_row(line)
                video, question_id = (
                    question_lines.text(row, n) for n in ("vid_name", "qid")
                )
                video = footage.key(video.strip())
                question = question_lines.question(row, question_id)
                if split == "test":
                    _require_no_leak(video, known, bool(home))
                question = _distinct(question, seen)
                if video not in footage:
                    raise ValueError(f"no {FRAMES}/{video} and no {VIDEOS}/{video}.mp4")
            except ValueError as error:
                skipped.append(
                    Skip(video, question_id, file=_file(split), reason=str(error))
                )
                continue
            seen[question.example_id] = question
            by_split[split].setdefault(video, []).append(question)
    return by_split


def _require_no_leak(video: str, home: Mapping[str, str], is_official: bool) -> None:
    """Raises ValueError for a video of qa_test that is not of the test split."""
    if home.get(video, "" if is_official else "test") != "test":
        where = f"in the {home[video]} split" if video in home else "in no split"
        raise ValueError(
            f"leaked: its video is {where} of {ORIGINAL_SPLIT}, not in test"
        )


def _distinct(question: Question, seen: Mapping[str, Question]) -> Question:
    """The question under an id of its own: published ones are not all unique.

    Raises:
      ValueError: if it was there before.
    """
    new, number = question, 1
    while new.example_id in seen:
        before = seen[new.example_id]
        if (before.text, before.answers) == (new.text, new.answers):
            raise ValueError("the same question was there before")
        number += 1
        new = dataclasses.replace(
            question, example_id=f"{question.example_id}~{number}"
        )
    return new


def _original_split(raw: pathlib.Path) -> dict[str, str]:
    """Video -> split; empty without the file. A video in several lists is of train's.

    Raises:
      ValueError: if the file is not of its form.
    """
    path = raw / ORIGINAL_SPLIT
    if not os.path.lexists(path):
        return {}
    text = plans.content(path)
    try:
        subsets = json.loads(text)["subsets"].values()
        pairs = [
            (str(video), split)
            for split in reversed(SPLITS)
            for lists in subsets
            for video in lists.get(split, ())
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path}: is not of the form"
            ' {"subsets": {name: {"train": [ids], "val": [ids], "test": [ids]}}};'
            " take the one of the download"
        ) from error
    return dict(pairs)


def _frames(raw: pathlib.Path) -> dict[str, str]:
    """Video -> its folder of frames, if that holds pictures."""
    root = raw / FRAMES
    entries = sorted(root.iterdir()) if root.is_dir() else []
    return {
        entry.name: f"{FRAMES}/{entry.name}"
        for entry in entries
        if entry.is_dir() and any(map(_is_picture, entry.iterdir()))
    }


def _is_picture(path: pathlib.Path) -> bool:
    return path.suffix.lower() in PICTURES and not path.name.startswith(".")


def _videos(raw: pathlib.Path) -> Files:
    return plans.index(raw, VIDEOS, ENDINGS)


def _transcripts(raw: pathlib.Path) -> Files:
    return plans.index(raw, TRANSCRIPTS, SUBTITLES)


def _sounds(raw: pathlib.Path, videos: Files) -> dict[str, list[str]]:
    """Video -> its files of sound: where the first cannot be used, the next is.

    mp3 before wav, before the video itself, before what lies beside that.
    """
    sounds = plans.index_all(raw, AUDIOS, plans.SOUNDS)
    parts = sound_files.of_ending(raw, plans.SOUNDS - ENDINGS, VIDEOS)
    beside = sound_files.beside(videos.values(), parts)
    known = Names(sounds)
    for name, file in videos.items():
        sounds.setdefault(known.key(name), []).extend([file, *beside.get(file, ())])
    return sounds
