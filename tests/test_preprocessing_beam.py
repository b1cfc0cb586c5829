"""Beam's runner writes what the local one writes; `make test-beam` runs the marked."""

import contextlib
import functools
import json
import os
import pathlib
import pickle
import sys

import pytest
from helpers import raw_trees

from preprocessing import beam, build, items
from preprocessing.work import out_folder, runner, shards

TESTS = pathlib.Path(__file__).parent
SETTINGS = items.Settings(raw_trees.GRID, segments=3, sub_segments=1)
THREADS = ()
PROCESSES = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Three shards, a clip that shows nothing, a question about no clip."""
    raw = tmp_path_factory.mktemp("beam") / "raw"
    raw_trees.write_tvqa(raw, train=18, val=2)
    frames = raw / "tvqa_frames/frames_hq/people_frames/people_val001"
    for path in frames.iterdir():
        path.write_bytes(b"no picture")
    with open(raw / "tvqa_qa_release/tvqa_val.jsonl", "a") as file:
        file.write(json.dumps(raw_trees.question(900, "people_absent")) + "\n")
    return raw


def on_beam(flags, raw, out, **options):
    execute = functools.partial(beam.execute, beam._pipeline(list(flags)))
    return raw_trees.make(raw, out, execute=execute, **options)


@pytest.fixture(scope="module")
def local(raw):
    """The whole folder as one local worker writes it."""
    raw_trees.make(raw, raw.parent / "local", worker_count=1)
    found = raw_trees.contents(raw.parent / "local")
    assert len([name for name in found if "array_record" in name]) == 3
    assert b"people_absent" in found["skipped.jsonl"]
    assert b"people_val001" in found["skipped.jsonl"]
    return found


@pytest.fixture
def importable(monkeypatch):
    """Beam's worker processes find the tests' helpers."""
    before = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", f"{TESTS}{os.pathsep}{before}")


@pytest.mark.beam
@pytest.mark.parametrize("flags", [THREADS, PROCESSES], ids=["threads", "processes"])
def test_the_folder_is_the_local_runners_byte_for_byte(
    raw, local, tmp_path, importable, flags
):
    raw_trees.make(raw, tmp_path / "two", worker_count=2)
    on_beam(flags, raw, tmp_path / "beam")
    assert raw_trees.contents(tmp_path / "two") == local
    assert raw_trees.contents(tmp_path / "beam") == local
    assert not (tmp_path / "beam" / out_folder.WORK).exists()


@pytest.mark.beam
def test_the_toy_set_in_both_layouts(tmp_path):
    """As it is rendered: one local worker, two, and Beam."""
    from preprocessing import toy
    from preprocessing.toy import social_layout

    sizes = {"train_clips": 18, "val_clips": 3, "seed": 2, "workers": 1}
    toy.render(tmp_path / "tvqa", domain="people", **sizes)
    social_layout.write(tmp_path / "tvqa", tmp_path / "social_iq")
    for name in ("tvqa", "social_iq"):
        make = functools.partial(
            getattr(build, f"build_{name}"),
            tmp_path / name,
            settings=SETTINGS,
            finder=None,
            bar=False,
        )
        made = []
        for count in (1, 2):
            make(out=tmp_path / f"{name}{count}", worker_count=count)
            made.append(raw_trees.contents(tmp_path / f"{name}{count}"))
        execute = functools.partial(beam.execute, beam._pipeline([]))
        make(out=tmp_path / f"{name}_beam", execute=execute)
        made.append(raw_trees.contents(tmp_path / f"{name}_beam"))
        assert made[0] == made[1] == made[2]
        assert len(made[0]) >= 7


def stop_after_one(write, tasks):
    """A runner that is killed when its first shard is done."""
    yield write(tasks[0])
    raise KeyboardInterrupt


@pytest.mark.beam
@pytest.mark.parametrize("is_beam_first", [True, False])
def test_a_run_goes_on_here_and_there(raw, local, tmp_path, is_beam_first):
    out = tmp_path / "out"
    first = functools.partial(beam.execute, beam._pipeline([]))

    def beam_once(write, tasks):
        yield from first(write, tasks[:1])
        raise KeyboardInterrupt

    begin = beam_once if is_beam_first else stop_after_one
    with contextlib.suppress(KeyboardInterrupt):
        raw_trees.make(raw, out, execute=begin)
    (done,) = out.glob("records-*")
    before = done.stat().st_mtime_ns
    (raw_trees.make if is_beam_first else functools.partial(on_beam, ()))(raw, out)
    assert done.stat().st_mtime_ns == before, "made again"
    assert raw_trees.contents(out) == local
    on_beam((), raw, out)  # a finished folder: nothing is done
    assert done.stat().st_mtime_ns == before


@pytest.mark.beam
def test_a_damaged_shard_is_made_again_by_beam(raw, local, tmp_path):
    out = tmp_path / "out"
    with contextlib.suppress(KeyboardInterrupt):
        raw_trees.make(raw, out, execute=stop_after_one)
    (done,) = out.glob("records-*")
    done.write_bytes(done.read_bytes()[:-9] + b"something")
    on_beam((), raw, out)
    assert raw_trees.contents(out) == local


def words(raw, out, *flags):
    small = ["--grid", "6x10", "--segments", "3", "--sub-segments", "1"]
    folders = ["--raw", str(raw), "--out", str(out), "--boxed-clips", "0"]
    return ["tvqa", *folders, *small, *flags]


@pytest.mark.beam
def test_the_command_line(raw, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)  # workers must find a relative OUT
    assert beam.main(words(raw, "out", "--", "--runner=DirectRunner")) == 0
    assert "38 records" in capsys.readouterr().out
    assert (tmp_path / "out" / "manifest.json").is_file()
    assert beam.main(words(raw, "out", "--strict")) == 2
    assert "were skipped" in capsys.readouterr().err


@pytest.mark.beam
@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--runner=NoSuchRunner", "NoSuchRunner"),
        ("--direct_num_workers=many", "many"),
        ("--no_such_option", "--no_such_option: is no option of Beam's; see"),
        ("--direct_num_worker=2", "Beam's; do you mean --direct_num_workers?; see"),
        ("stray", "stray: is no option of Beam's"),
    ],
)
def test_options_that_beam_refuses(raw, tmp_path, capsys, flag, said):
    assert beam.main(words(raw, tmp_path / "out", "--", flag)) == 2
    told = capsys.readouterr().err
    assert said in told and "docs/beam.md" in told
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def refuse(task):
    """A shard that cannot be written."""
    raise ValueError("the disk is full")


@pytest.mark.beam
def test_a_pipeline_that_fails_is_told_in_a_sentence(raw, tmp_path, importable):
    (task, *_) = tasks_of(raw, tmp_path)
    with pytest.raises(ValueError) as raised:
        list(beam.execute(beam._pipeline([]), refuse, [task]))
    assert str(raised.value) == (
        "the pipeline failed: the disk is full; shards that are done stay, the same"
        " command goes on"
    )


def tasks_of(raw, out):
    from preprocessing.readers import tvqa

    (out / out_folder.WORK).mkdir(parents=True)
    return runner.tasks(tvqa.plan(raw), out, SETTINGS, None, 16)


def test_one_task_in_a_worker(raw, tmp_path, monkeypatch):
    """What a worker does, without Beam: relative paths, another working folder."""
    monkeypatch.chdir(tmp_path)
    task = tasks_of(raw, pathlib.Path("out"))[-1]
    path = beam._put_task(shards.write_shard, task)
    monkeypatch.chdir("/")
    assert beam.write_task(path) == path
    note = json.loads((tmp_path / task.note).read_text())
    assert note["shard"]["records"] == 2 and len(note["skipped"]) == 2
    assert (tmp_path / "out" / task.file).is_file()


def change(path, **changes):
    write, task, versions = pickle.loads(pathlib.Path(path).read_bytes())
    versions = versions | changes.pop("versions", {})
    clips = [vars(clip) | changes for clip in task.clips]
    task = vars(task) | {"clips": tuple(items.Clip(**clip) for clip in clips)}
    data = pickle.dumps((write, shards.Task(**task), versions))
    pathlib.Path(path).write_bytes(data)


def test_a_worker_without_the_file_system_or_the_libraries(raw, tmp_path):
    task = tasks_of(raw, tmp_path)[-1]
    path = beam._put_task(shards.write_shard, task)
    with pytest.raises(ValueError, match="No such file.* on a worker; RAW and OUT"):
        beam.write_task(path + "x")
    change(path, raw="/nowhere")
    with pytest.raises(ValueError, match="/nowhere: no such folder on a worker; RAW"):
        beam.write_task(path)
    change(path, versions={"numpy": "1.0"})
    with pytest.raises(ValueError, match="a worker has numpy 2.*, not 1.0 as the"):
        beam.write_task(path)
    assert not task.note.exists()


def test_notes_that_do_not_come_back(raw, tmp_path, monkeypatch):
    """Workers that wrote somewhere else, and a note from before that is no answer."""
    task = tasks_of(raw, tmp_path)[-1]
    task.note.write_text("{}")
    monkeypatch.setattr(beam, "_run_pipeline", lambda pipeline, paths: None)
    with pytest.raises(ValueError, match="no note of shard .* RAW and OUT must"):
        list(beam.execute(None, shards.write_shard, [task]))


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["tvqa", "--workers", "2"], "--workers is of the local runner"),
        (["toy", "--workers=2"], "--workers is of the local runner"),
        (["check", "DIR"], "python -m preprocessing check"),
    ],
)
def test_what_only_the_local_runner_takes(capsys, argv, said):
    assert beam.main(argv) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1


def test_without_beam(capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    assert beam.main(["tvqa", "--raw", "x", "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert "requirements/beam.txt" in told and told.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("x [while running 'write shards']", "x"),
        ("Traceback:\n  File\nValueError: no [while running 'w']\n\nmore: y", "no"),
        ("a\nb\n", "b"),
        ("", "no reason given"),
    ],
)
def test_a_traceback_becomes_a_sentence(message, reason):
    assert beam._failed(message).startswith(f"the pipeline failed: {reason}; shards")
