"""Errors that nobody foresaw cost a clip, never the run, and are told."""

import dataclasses
import errno
import json

import av
import pytest
from helpers import raw_trees

from mmdiffmask.data.records import shards
from preprocessing import __main__ as command_line
from preprocessing import build, items
from preprocessing.media import decode
from preprocessing.work import breaks, clips, out_folder, track_files

VIDEO_SETTINGS = items.Settings(raw_trees.GRID)


@dataclasses.dataclass(frozen=True)
class Failing:
    """Finds red, but raises in one clip from its n-th call on."""

    clip: str
    kind: type[Exception]
    args: tuple
    calls: int = 0
    fps: float | None = None
    seen: list = dataclasses.field(default_factory=list, compare=False)

    def settings(self) -> dict:
        """See `items.Search`."""
        return {"name": "failing"}

    def __call__(self, clip, looks):
        """See `items.Finder`."""
        if clip == self.clip:
            self.seen.append(clip)
            if len(self.seen) > self.calls:
                raise self.kind(*self.args)
        return raw_trees.RED_FINDER(clip, looks)

    def lost(self, clip, duration_s, size_px):
        """See `items.Finder`."""
        return []


class OddError(Exception):
    """One that takes two arguments: it cannot travel as it is."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


@pytest.fixture
def films(tmp_path):
    """Three videos; b has two windows."""
    for name, seconds in {"a": 3.0, "b": 40.0, "c": 3.0}.items():
        raw_trees.write_video(tmp_path / f"raw/{name}.mkv", seconds, fps=2)
    return tmp_path / "raw"


def rows_of(out, name):
    return [json.loads(line) for line in (out / name).read_text().splitlines()]


def ids_in(out):
    source = shards.open_split(out, "train")
    return [source[i].example_id for i in range(len(source))]


ERRORS = {
    ValueError: ("no such box",),
    KeyError: ("box",),
    OddError: ("one", "two"),
    AttributeError: ("'NoneType' object has no attribute 'thread_count'",),
    RuntimeError: ("first line\nsecond line",),
    ZeroDivisionError: (),
    NotImplementedError: ("/home/someone/file.mp4",),
    av.error.MemoryError: (errno.ENOMEM, "Cannot allocate memory", "/home/a.mp4"),
    OSError: (errno.EIO, "Input/output error", "/home/someone/file.mp4"),
}


# A process takes seconds to start.
@pytest.mark.parametrize(
    ("kind", "workers"), [*((e, 0) for e in ERRORS), (OddError, 1)]
)
def test_cases_any_error_costs_its_clip_only(films, tmp_path, kind, workers):
    finder = Failing("b", kind, ERRORS[kind])
    options = {"finder": finder, "worker_count": workers, "bar": False}
    out = tmp_path / "out"
    manifest = build.build_video(films, out, VIDEO_SETTINGS, **options)
    assert ids_in(out) == ["a~w0000", "c~w0000"]
    (row,) = rows_of(out, out_folder.SKIPPED)
    assert row["file"] == "b.mkv"
    name = kind.__name__
    assert row["reason"].startswith(
        f"is given up: {name} in test_preprocessing_work_breaks"
    )
    assert "/home" not in row["reason"]
    assert "second line" not in row["reason"]
    assert manifest.counts["skipped"] == 1
    assert manifest.counts["clips"] == 2


def test_cases_an_error_after_some_records(films, tmp_path):
    finder = Failing("b", KeyError, ("box",), calls=1)
    options = {"finder": finder, "worker_count": 0, "bar": False}
    manifest = build.build_video(films, tmp_path / "out", VIDEO_SETTINGS, **options)
    assert ids_in(tmp_path / "out") == ["a~w0000", "b~w0000", "c~w0000"]
    (row,) = rows_of(tmp_path / "out", out_folder.REPAIRED)
    assert row["reason"].startswith("is given up: KeyError in test_preprocessing")
    assert row["reason"].endswith("; its 1 records before that stay")
    assert (manifest.counts["repaired"], manifest.counts["skipped"]) == (1, 0)


def test_an_error_while_questions_are_answered(tmp_path, monkeypatch):
    raw_trees.write_tvqa(tmp_path / "raw", train=2, val=0)
    real, asked = clips._sound_fields, []

    def second_breaks(*args):
        asked.append(args)
        if len(asked) == 2:
            raise TypeError("no such layout")
        return real(*args)

    monkeypatch.setattr(clips, "_sound_fields", second_breaks)
    manifest = raw_trees.make(tmp_path / "raw", tmp_path / "out", worker_count=0)
    (row,) = rows_of(tmp_path / "out", out_folder.SKIPPED)
    made = ids_in(tmp_path / "out")
    assert len(made) == 3
    assert row["question"] not in made
    assert "TypeError in test_preprocessing_work_breaks.py, line " in row["reason"]
    assert manifest.counts["skipped"] == 1


def test_an_error_at_opening_is_in_the_last_line(films, tmp_path, monkeypatch, capsys):
    real = decode.VideoFile

    def breaks_in_b(path):
        if str(path).endswith("b.mkv"):
            raise AttributeError("'NoneType' object has no attribute 'thread_count'")
        return real(path)

    monkeypatch.setattr(decode, "VideoFile", breaks_in_b)
    monkeypatch.setattr(command_line, "WORKERS", 0)
    words = ["video", "--raw", films, "--out", tmp_path / "out"]
    words += ["--bodies", "none", "--faces", "none"]
    assert command_line.main([str(word) for word in words]) == 0
    assert "1 skipped (see skipped.jsonl)" in capsys.readouterr().out
    (row,) = rows_of(tmp_path / "out", out_folder.SKIPPED)
    assert row["reason"].startswith("is given up: AttributeError in ")


FAULTS = {MemoryError: (), OSError: (errno.ENOSPC, "No space left on device")}


@pytest.mark.parametrize("kind", FAULTS)
def test_faults_of_the_run_end_it(films, tmp_path, kind):
    finder = Failing("b", kind, FAULTS[kind])
    options = {"finder": finder, "worker_count": 0, "bar": False}
    with pytest.raises(kind):
        build.build_video(films, tmp_path / "out", VIDEO_SETTINGS, **options)


def test_an_error_in_a_clip_that_is_followed(films, tmp_path):
    clip = items.Clip(str(films), "b", "", "b.mkv", None, None, (), ())
    (tmp_path / out_folder.WORK).mkdir()
    finder = Failing("b", OddError, ("one", "two"))
    task = track_files.Task(str(tmp_path), 0, clip, finder, 60.0)
    _, note = track_files.follow(task)
    (row,) = note["skipped"]
    assert row["reason"].startswith("is given up: OddError in test_preprocessing")
    assert note["counts"] == {}


def test_what_is_told_of_an_error():
    try:
        raise KeyError("box")
    except KeyError as error:
        told = breaks.require_clip(error)
    assert told.startswith(
        "is given up: KeyError in test_preprocessing_work_breaks.py, "
    )
    assert told.endswith(" ('box')")
