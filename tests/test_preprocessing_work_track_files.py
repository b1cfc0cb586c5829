"""Persons of whole clips as MOT files: written, taken up, read back as boxes."""

import json

import pytest
from helpers import raw_trees

from mmdiffmask.data.records import shards
from preprocessing import __main__ as command
from preprocessing import build, items
from preprocessing.boxes import finders
from preprocessing.boxes.unitrack import mot
from preprocessing.work import out_folder, track_files

FPS = 3


def corners(number):
    """Where somebody is in frame `number` of a video."""
    return [10 + number, 12, 50 + number, 60]


def row(video, number, label="person", **more):
    box = {"video": video, "frame": number, "xyxy": corners(number), "label": label}
    return box | more


@pytest.fixture
def raw(tmp_path):
    """Two videos, one of them in a folder, and boxes of every frame of theirs."""
    raw_trees.write_video(tmp_path / "raw/a.mp4", 8.0, fps=6)
    raw_trees.write_video(tmp_path / "raw/more/b.mp4", 4.0, fps=6)
    lengths = {"a": 24, "more/b": 12}
    rows = [row(video, 1 + i) for video, n in lengths.items() for i in range(n)]
    rows.append(row("a", 2, "cup"))
    write_rows(tmp_path / "boxes.jsonl", rows)
    return tmp_path


def write_rows(path, rows):
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


def people(path, **more):
    return finders.People(bodies="file", faces="none", boxes=str(path), **more)


def tracks(raw, out="tracks", finder=None, **options):
    options = {"worker_count": 0, "bar": False} | options
    finder = finder or people(raw / "boxes.jsonl")
    return build.build_tracks(raw / "raw", raw / out, "video", finder=finder, **options)


def test_each_clip_has_a_file_of_its_persons(raw):
    counts = tracks(raw)
    assert counts == {
        "boxes": 36,
        "clips": 2,
        "frames": 36,
        "repaired": 0,
        "skipped": 0,
        "tracks": 2,
    }
    for video, length in (("a", 24), ("more/b", 12)):
        found = mot.read_counted(raw / f"tracks/{video}.txt")[0]
        assert found.frame.tolist() == list(range(1, length + 1))
        assert set(found.id.tolist()) == {1}
        left, top, right, bottom = corners(5)
        assert found.tlwh[4].tolist() == [left, top, right - left, bottom - top]
    assert not (raw / "tracks" / out_folder.WORK).exists()


def test_what_is_written_is_read_as_boxes(raw):
    tracks(raw)
    settings = items.Settings(raw_trees.GRID)
    options = {"worker_count": 0, "bar": False, "finder": people(raw / "tracks")}
    build.build_video(raw / "raw", raw / "out", settings, **options)
    found = {record.clip: record for record in shards.open_split(raw / "out", "train")}
    assert set(found) == {"a", "more/b"}
    for record in found.values():
        times_s = record.frame_time_s[record.is_frame_valid]
        expected = [corners(round(float(time_s) * FPS) + 1) for time_s in times_s]
        assert record.boxes.xyxy_px.tolist() == expected
        assert set(record.boxes.track.tolist()) == {1}


def test_the_trackers_own_boxes_begin_with_the_second_sighting(raw):
    late = [row("a", number) for number in range(1, 25)]
    late += [row("a", n) | {"xyxy": [90, 40, 120, 80]} for n in range(9, 25)]
    path = write_rows(raw / "late.jsonl", late)
    both = tracks(raw, "both", people(path))
    own = tracks(raw, "own", people(path, tracks="tracked"))
    assert both["boxes"] == 40
    assert own["boxes"] == 39
    assert own["tracks"] == both["tracks"] == 2


def test_a_file_that_has_a_clips_tracks_is_not_followed(raw):
    rows = [row("a", 1, track=7), row("a", 2), row("a", 3), row("more/b", 1)]
    path = write_rows(raw / "mine.jsonl", [*rows, row("more/b", 2)])
    tracks(raw, finder=people(path))
    assert mot.read_counted(raw / "tracks/a.txt")[0].id.tolist() == [7, -1, -1]
    assert mot.read_counted(raw / "tracks/more/b.txt")[0].id.tolist() == [1, 1]
    tracks(raw, "own", people(path, tracks="tracked"))
    assert mot.read_counted(raw / "own/a.txt")[0].id.tolist() == [7]


def test_a_stopped_run_is_taken_up(raw, monkeypatch):
    follow = track_files.follow

    def stop_at_the_second(task):
        if task.number:
            raise KeyboardInterrupt
        return follow(task)

    monkeypatch.setattr(track_files, "follow", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        tracks(raw)
    monkeypatch.undo()
    before = (raw / "tracks/a.txt").stat().st_mtime_ns
    with pytest.raises(ValueError, match='boxes: tracks "both", not "tracked"; name'):
        tracks(raw, finder=people(raw / "boxes.jsonl", tracks="tracked"))
    counts = tracks(raw)
    assert counts["clips"] == 2
    assert (raw / "tracks/a.txt").stat().st_mtime_ns == before, "made again"
    monkeypatch.setattr(track_files, "write", None)  # nothing is to be done
    assert tracks(raw) == counts


def test_what_can_not_be_followed_is_listed(raw):
    (raw / "raw/c.mp4").write_bytes(b"no video")
    whole = (raw / "raw/a.mp4").read_bytes()
    (raw / "raw/cut.mp4").write_bytes(whole[: len(whole) // 2])
    counts = tracks(raw)
    assert counts["skipped"] == 2
    told = (raw / "tracks/skipped.jsonl").read_text().splitlines()
    found = {row["video"]: row["reason"] for row in map(json.loads, told)}
    assert set(found) == {"c", "cut"}
    assert found["c"].startswith("is no video that opens")


def test_a_clip_that_was_given_up_is_listed(raw):
    clip = items.Clip(str(raw / "raw"), "a", "a", "a.mp4", None, None, (), ())
    task = track_files.Task(str(raw / "out"), 0, clip, people(raw / "boxes.jsonl"), 9)
    task.note.parent.mkdir(parents=True)
    track_files._give_up(task, "a", "took longer than 9 s and was given up")
    name, note = track_files.follow(task)
    assert name == task.note.name
    (lost,) = note["skipped"]
    assert lost["video"] == "a"
    assert lost["reason"] == "took longer than 9 s and was given up"
    assert not (raw / "out/a.txt").exists()


def test_nothing_that_can_be_followed(raw, tmp_path):
    for path in (raw / "raw").rglob("*.mp4"):
        path.write_bytes(b"no video")
    with pytest.raises(ValueError, match="nothing usable: none of 2 videos can be"):
        tracks(raw)
    assert not (raw / "tracks").exists()


def test_the_command_line(raw, capsys, monkeypatch):
    monkeypatch.setattr(command, "WORKERS", 0)
    folders = ["--raw", str(raw / "raw"), "--out", str(raw / "out")]
    words = ["tracks", *folders, "--boxes", str(raw / "boxes.jsonl")]
    assert command.main(words) == 0
    assert "36 boxes, 2 clips, 36 frames" in capsys.readouterr().out
    (raw / "boxes.jsonl").rename(raw / "out/mine.jsonl")
    other = ["tracks", "--raw", str(raw / "raw"), "--out", str(raw / "raw")]
    assert command.main([*other, "--boxes", str(raw / "out/mine.jsonl")]) == 2
    assert "holds other files; name a new" in capsys.readouterr().err
    assert command.main([*other[:-1], str(raw / "new"), "--bodies", "none"]) == 2
    assert "--bodies none: then there is nothing" in capsys.readouterr().err
