"""The command line: what it prints, and mistakes in one sentence with status 2."""

import sys

import pytest
from helpers import raw_trees

from mmdiffmask.data.records import check, shards
from preprocessing import __main__ as command
from preprocessing.boxes import facenet


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("main") / "raw"
    raw_trees.write_tvqa(folder, train=1, val=1)
    return folder


@pytest.fixture
def inline(monkeypatch):
    """Runs in this process: starting workers takes seconds."""
    monkeypatch.setattr(command, "WORKERS", 0)


def run(*argv):
    try:
        return command.main([str(word) for word in argv])
    except SystemExit as stop:
        return stop.code


def tvqa(raw, out, *more):
    return run(
        "tvqa",
        "--raw",
        raw,
        "--out",
        out,
        "--grid",
        "6x10",
        "--segments",
        3,
        "--sub-segments",
        1,
        "--boxed-clips",
        0,
        *more,
    )


def test_tvqa_to_records(raw, tmp_path, capsys, inline):
    assert tvqa(raw, tmp_path / "out") == 0
    told = capsys.readouterr()
    assert "4 records" in told.out
    assert "0 skipped" in told.out
    assert check.check(tmp_path / "out").records == {"train": 2, "val": 2}
    assert run("check", tmp_path / "out") == 0
    assert "records: 2 train, 2 val" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("--grid", "12x20"), "grid 6x10, not 12x20"),
        (("--segments", 4), "segments 3, not 4"),
        (("--boxed-clips", 1), "boxe"),
    ],
)
def test_other_settings_are_refused(raw, tmp_path, capsys, inline, change, said):
    tvqa(raw, tmp_path / "out")
    before = raw_trees.contents(tmp_path / "out")
    capsys.readouterr()
    assert tvqa(raw, tmp_path / "out", *change) == 2
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1
    assert raw_trees.contents(tmp_path / "out") == before


def no_raw(tmp_path):
    return tmp_path / "none", ()


def a_file(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    return tmp_path / "a.mp4", ()


def empty(tmp_path):
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw", ()


def only_bad(tmp_path):
    (tmp_path / "raw/tvqa_qa_release").mkdir(parents=True)
    (tmp_path / "raw/a.mp4").write_bytes(b"no video")
    (tmp_path / "raw/tvqa_qa_release/tvqa_train.jsonl").write_text("{}\n")
    return tmp_path / "raw", ()


def bad_grid(tmp_path):
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw", ("--grid", "7x20")


def bad_grid_text(tmp_path):
    return tmp_path, ("--grid", "big")


def too_many_segments(tmp_path):
    raw_trees.write_tvqa(tmp_path / "raw", 1, 0)
    raw_trees.write_video(tmp_path / "raw/a.mp4", 1.0)
    return tmp_path / "raw", ("--segments", 99)


def no_workers(tmp_path):
    return tmp_path, ("--workers", 0)


def huge_grid(tmp_path):
    return tmp_path, ("--grid", "100000x100000")


def endless_deadline(tmp_path):
    return tmp_path, ("--deadline", "9" * 5000)


def unset_raw(tmp_path):
    return "", ()


BAD = [
    no_raw,
    a_file,
    empty,
    only_bad,
    bad_grid,
    bad_grid_text,
    too_many_segments,
    no_workers,
    huge_grid,
    endless_deadline,
    unset_raw,
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.__name__)
@pytest.mark.parametrize("kind", ["tvqa", "video"])
def test_mistakes_are_one_sentence_and_status_2(kind, bad, tmp_path, capsys):
    raw, more = bad(tmp_path)
    out = tmp_path / "out"
    assert run(kind, "--raw", raw, "--out", out, "--boxed-clips", 0, *more) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert 1 <= told.err.count("\n") <= 3
    assert "Traceback" not in told.err
    assert not out.exists()


def test_classes_of_mot_files_are_named(raw, tmp_path, capsys, inline):
    raw_trees.write_video(tmp_path / "raw/a.mp4", 3.0)
    (tmp_path / "mot").mkdir()
    (tmp_path / "mot/a.txt").write_text("5,1,10,10,30,30,1,1,-1,-1\n")
    given = ["video", "--raw", tmp_path / "raw", "--out", tmp_path / "out"]
    given += ["--faces", "none", "--tracks", "none", "--boxes", tmp_path / "mot"]
    assert run(*given) == 2
    assert "class 1 has no name; name the classes (--bo" in capsys.readouterr().err
    assert run(*given, "--boxes-labels", "person,,car") == 2
    assert "write names with commas between" in capsys.readouterr().err
    assert run(*given, "--boxes-labels", "person, car", "--boxes-within", 1) == 0
    (record,) = shards.open_split(tmp_path / "out", "train")
    assert record.boxes.label == ("car",)


def test_wrong_words(capsys, tmp_path):
    assert run("tvqa", "--raw", tmp_path) == 2
    assert "--out" in capsys.readouterr().err
    assert run("film", "--raw", tmp_path, "--out", tmp_path) == 2
    assert "film" in capsys.readouterr().err


def test_out_with_other_files_is_left_alone(raw, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert tvqa(raw, tmp_path) == 2
    assert "holds other files" in capsys.readouterr().err
    assert tvqa(raw, tmp_path / "mine.txt") == 2
    assert "is a file" in capsys.readouterr().err
    assert raw_trees.contents(tmp_path) == {"mine.txt": b"mine"}


def test_strict_stops_at_what_is_skipped(tmp_path, capsys, inline):
    raw = tmp_path / "raw"
    raw_trees.write_video(raw / "good.mp4", 5.0)
    (raw / "bad.mp4").write_bytes(b"")
    words = ["video", "--raw", raw, "--out", tmp_path / "out", "--boxed-clips", 0]
    assert run(*words, "--strict") == 2
    assert "bad.mp4: is no video that opens" in capsys.readouterr().err
    assert run(*words) == 0
    assert "1 skipped (see skipped.jsonl)" in capsys.readouterr().out
    assert run(*words, "--strict") == 2
    assert "1 thing" in capsys.readouterr().err


def test_other_raw_data_are_refused(tmp_path, capsys, inline):
    raw = tmp_path / "raw"
    raw_trees.write_video(raw / "a.mp4", 5.0)
    words = ["video", "--raw", raw, "--out", tmp_path / "out", "--boxed-clips", 0]
    assert run(*words) == 0
    raw_trees.write_video(raw / "b.mp4", 5.0)
    assert run(*words) == 2
    assert "other raw data" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--faces", "facenet"), "needs the package torch"),
        (("--yolox", __file__), "test_preprocessing_main.py"),
        (("--boxes", "nowhere.jsonl"), "nowhere.jsonl"),
        (("--bodies", "file"), "--bodies file and --boxes FILE go together"),
    ],
)
def test_a_detector_that_does_not_load_is_told_before_any_work(
    raw, tmp_path, capsys, inline, monkeypatch, more, said
):
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    facenet.load.cache_clear()
    words = ("tvqa", "--raw", raw, "--out", tmp_path / "out", *more)
    assert run(*words) == 2
    told = capsys.readouterr().err
    assert said in told and "Traceback" not in told
    assert not (tmp_path / "out").exists()


def test_an_address_is_no_folder(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    address = "gs://bucket/records"
    folders = (("--raw", address, "--out", "out"), ("--raw", "raw", "--out", address))
    commands = ("toy", "tvqa", "social_iq", "video", "tracks")
    lines = [(command, *folder) for command in commands for folder in folders]
    for words in (*lines, ("check", address)):
        assert run(*words) == 2
        error = capsys.readouterr().err
        assert f"{address}: " in error and "disk" in error and error.count("\n") == 1
    assert not any(tmp_path.iterdir())
