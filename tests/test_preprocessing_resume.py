"""Runs that are killed, resumed or repeated end with the same files."""

import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from helpers import raw_trees

from preprocessing.work import out_folder

TESTS = pathlib.Path(__file__).parent
START = (
    "import sys; sys.path[:0] = sys.argv[1:3]; import pathlib;"
    " from helpers import raw_trees as r;"
)
MAKE = START + "r.make(pathlib.Path(sys.argv[3]), pathlib.Path(sys.argv[4]),"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume")
    raw_trees.write_tvqa(folder / "raw", train=36, val=17)
    return folder


@pytest.fixture(scope="module")
def straight(tree):
    """An undisturbed run with one worker."""
    raw_trees.make(tree / "raw", tree / "straight", worker_count=1)
    return raw_trees.contents(tree / "straight")


def start(raw, out, workers):
    code = MAKE + f"worker_count={workers})"
    paths = [str(TESTS), str(TESTS.parent), str(raw), str(out)]
    return subprocess.Popen([sys.executable, "-c", code, *paths])


def kill_at_random(raw, out, rng, longest_s):
    """Kills a run (not its workers) at a random moment after its first write."""
    run = start(raw, out, 2)
    while run.poll() is None and not (out / out_folder.WORK).is_dir():
        time.sleep(0.01)
    time.sleep(rng.uniform(0.0, longest_s))
    workers = children(run.pid)
    run.send_signal(signal.SIGKILL)
    run.wait()
    wait_for_end(workers)
    return run.returncode


def wait_for_end(workers):
    """No orphan goes on writing after its run was killed."""
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in workers):
        assert time.monotonic() < deadline, "workers outlived their run"
        time.sleep(0.02)


def children(pid):
    """Processes started by one; empty where there is no /proc to look in."""
    found = set()
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.add(int(path.parent.name))
    return found


def alive(pid):
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


def kill_and_finish(tree, straight, name, kills, seed):
    raw, out = tree / "raw", tree / name
    rng = random.Random(seed)
    codes = [kill_at_random(raw, out, rng, 1.5) for _ in range(kills)]
    assert -signal.SIGKILL in codes
    run = start(raw, out, 2)
    assert run.wait() == 0
    assert raw_trees.contents(out) == straight
    assert not (out / out_folder.WORK).exists()


def test_killed_twice_by_two_workers_equals_straight_through_by_one(tree, straight):
    kill_and_finish(tree, straight, "killed", 2, os.getpid())


@pytest.mark.long
def test_killed_ten_times(tree, straight):
    kill_and_finish(tree, straight, "killed10", 10, os.getpid())


def test_several_shards_and_nothing_else(straight):
    assert sorted(straight) == sorted(
        ["dataset_info.json", "features.json", "manifest.json"]
        + ["index-train.jsonl.gz", "index-val.jsonl.gz"]
        + ["repaired.jsonl", "skipped.jsonl"]
        + [f"records-train.array_record-0000{i}-of-00003" for i in range(3)]
        + [f"records-val.array_record-0000{i}-of-00002" for i in range(2)]
    )


def counting(stop_at=None):
    """A finder as that of the undisturbed run, and the list that its calls go to."""
    calls = []

    def finder(frames):
        calls.append(len(frames))
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        return raw_trees.find_red(frames)

    finder.__module__, finder.__name__ = "helpers.raw_trees", "find_red"
    return raw_trees.EachFrame(finder), calls


@pytest.fixture(scope="module")
def second_shard(tree):
    """The folder of a run that stopped in its second shard."""
    finder, _ = counting(stop_at=20)
    with pytest.raises(KeyboardInterrupt):
        raw_trees.make(tree / "raw", tree / "interrupted", finder=finder)
    return tree / "interrupted"


@pytest.fixture
def interrupted(second_shard, tmp_path):
    """A copy of that folder, and a finder that counts its calls."""
    return shutil.copytree(second_shard, tmp_path / "out"), *counting()


def test_a_finished_shard_is_not_made_again(tree, straight, interrupted):
    out, finder, calls = interrupted
    (done,) = out.glob("records-*")
    before = done.stat().st_mtime_ns
    raw_trees.make(tree / "raw", out, finder=finder)
    assert len(calls) == 53 - 16
    assert done.stat().st_mtime_ns == before
    assert raw_trees.contents(out) == straight


def test_a_damaged_shard_of_an_unfinished_run_is_made_again(
    tree, straight, interrupted
):
    out, finder, calls = interrupted
    (done,) = out.glob("records-*")
    done.write_bytes(done.read_bytes()[:-9] + b"something")
    raw_trees.make(tree / "raw", out, finder=finder)
    assert len(calls) == 53
    assert raw_trees.contents(out) == straight


def test_an_unfinished_run_of_other_settings_is_refused(tree, interrupted):
    out, _, _ = interrupted
    before = raw_trees.contents(out)
    with pytest.raises(ValueError, match="an unfinished run made with boxes"):
        raw_trees.make(tree / "raw", out, finder=None)
    assert raw_trees.contents(out) == before


@pytest.mark.parametrize("text", ["", "[]", '{"shard": '])
def test_a_damaged_note_of_an_unfinished_run(tree, straight, interrupted, text):
    out, finder, calls = interrupted
    (note,) = (out / out_folder.WORK).glob("train-*.json")
    note.write_text(text)
    note.with_suffix(".given_up").write_text(text)
    raw_trees.make(tree / "raw", out, finder=finder)
    assert len(calls) == 53
    assert raw_trees.contents(out) == straight


@pytest.mark.parametrize("text", ["", "[]", '{"shard": '])
def test_an_unfinished_run_of_settings_that_are_damaged(tree, interrupted, text):
    out, _, _ = interrupted
    (out / out_folder.WORK / out_folder.STATE).write_text(text)
    with pytest.raises(ValueError, match=f"run.json: is damaged; delete {out} and"):
        raw_trees.make(tree / "raw", out)


def state(folder):
    paths = [folder, *folder.rglob("*")]
    return {
        str(path): (
            path.stat().st_mtime_ns,
            path.stat().st_ctime_ns,
            path.stat().st_ino,
        )
        for path in paths
    }


def test_a_second_run_touches_nothing(tree, straight):
    out = tree / "straight"
    before = state(out)
    raw_trees.make(tree / "raw", out, worker_count=2)
    assert state(out) == before


def test_leftovers_of_a_kill_at_the_very_end_go(tree, straight, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    for name, data in straight.items():
        (out / name).write_bytes(data)
    (out / out_folder.WORK).mkdir()
    (out / out_folder.WORK / "train-00000.json").write_text("{}")
    raw_trees.make(tree / "raw", out)
    assert raw_trees.contents(out) == straight
    assert not (out / out_folder.WORK).exists()
