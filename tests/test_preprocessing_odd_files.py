"""Pipes, sockets, devices, folders and links in place of files: told, no hang."""

import json
import os
import pathlib
import socket

import pytest
from helpers import raw_trees

from preprocessing import build, items
from preprocessing.boxes import finders
from preprocessing.readers import video
from preprocessing.work import out_folder

SETTINGS = items.Settings(raw_trees.GRID)


def rows_of(out, name):
    return [json.loads(line) for line in (out / name).read_text().splitlines()]


def odd_files(raw):
    """Everything that may have a video's name, beside a good one."""
    raw_trees.write_video(raw / "good.mp4", 1.0)
    os.mkfifo(raw / "pipe.mp4")
    (raw / "folder.mp4").mkdir()
    (raw / "link.mp4").symlink_to("nowhere")
    (raw / "loop.mp4").symlink_to("loop.mp4")
    (raw / "device.mp4").symlink_to("/dev/zero")
    (raw / "empty.mp4").touch()
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(raw / "socket.mp4"))
    os.mkfifo(raw / "good.srt")


def test_files_that_are_no_videos_are_listed_and_none_hangs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    raw = pathlib.Path("raw")
    odd_files(raw)
    options = {"finder": None, "worker_count": 0, "bar": False}
    build.build_video(raw, tmp_path / "out", SETTINGS, **options)
    skipped, repaired = (
        {row["file"]: row["reason"] for row in rows_of(tmp_path / "out", name)}
        for name in (out_folder.SKIPPED, out_folder.REPAIRED)
    )
    assert {file: reason.split(" (")[0] for file, reason in skipped.items()} == {
        "pipe.mp4": "cannot be read",
        "folder.mp4": "its folder holds no numbered frames",
        "link.mp4": "is missing",
        "loop.mp4": "cannot be read",
        "device.mp4": "cannot be read",
        "empty.mp4": "is no video that opens",
        "socket.mp4": "cannot be read",
    }
    told = "cannot be read (no regular file): the clip has no subtitles"
    assert repaired == {"good.srt": told}


@pytest.mark.parametrize("name", ["questions", "labels"])
def test_a_pipe_in_place_of_a_file_is_told(tmp_path, name):
    raw_trees.write_video(tmp_path / "raw/a.mp4", 1.0)
    os.mkfifo(tmp_path / "pipe")
    extras = video.Extras(**{name: str(tmp_path / "pipe")})
    with pytest.raises(ValueError, match="pipe: cannot be read .no regular file.; na"):
        build.build_video(tmp_path / "raw", tmp_path / "out", SETTINGS, extras=extras)


def test_a_pipe_in_place_of_boxes_is_told(tmp_path):
    os.mkfifo(tmp_path / "a.jsonl")
    finder = finders.People(bodies="file", boxes=str(tmp_path / "a.jsonl"))
    with pytest.raises(ValueError, match="a.jsonl: cannot be read"):
        finder.settings()


def test_endings_and_fields_that_are_not_known_are_told(tmp_path):
    raw = tmp_path / "raw"
    raw_trees.write_video(raw / "a.mp4", 1.0)
    names = ["b.wtv", "c.WTV", "sub/d.wtv", "note", ".hidden", "a.srt", "a.wav"]
    names += ["labels.csv", "ask.jsonl", "records-train.array_record-00000-of-00001"]
    for name in names:
        (raw / name).parent.mkdir(exist_ok=True)
        (raw / name).touch()
    (raw / "labels.csv").write_text("video,mood\na,calm\n")
    asked = {"video": "a", "q": "?", "candidates": ["x", "y"], "strat": 1}
    (raw / "ask.jsonl").write_text(2 * (json.dumps(asked) + "\n"))
    plan = video.Extras(questions=str(raw / "ask.jsonl")).plan(raw)
    assert [(row.file, row.reason) for row in plan.repaired] == [
        ("note", "is not looked at: has no ending"),
        (
            "b.wtv",
            "is not looked at: .wtv is no video's ending; nor are 2 more of it",
        ),
        ("ask.jsonl", '"strat" is no field of a question: not used in 2 lines'),
    ]


def test_a_name_of_boxes_that_no_manifest_can_hold(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff.jsonl")
    path.write_text("")
    with pytest.raises(ValueError, match="its name is not UTF-8; rename it"):
        finders.People(bodies="file", boxes=str(path)).settings()
