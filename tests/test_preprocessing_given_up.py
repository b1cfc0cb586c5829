"""Which clips that were given up are tried again."""

import dataclasses

import pytest
from helpers import raw_trees

from preprocessing.readers import tvqa
from preprocessing.work import out_folder, runner, shards, workers


@pytest.fixture
def short(tmp_path):
    """Six clips of 1/3 s: the share of a deadline is short."""
    raw_trees.write_tvqa(tmp_path / "raw", train=6, val=0, frames=1)
    return tmp_path / "raw"


def test_what_was_given_up_is_not_tried_again(short, tmp_path):
    plan, out = tvqa.plan(short), tmp_path / "out"
    (out / out_folder.WORK).mkdir(parents=True)
    (task,) = runner.tasks(plan, out, raw_trees.SETTINGS, raw_trees.RED_FINDER, 16)
    shards.give_up(task, "people_train001", "hangs")
    shards.give_up(task, "people_train003", "hangs too")
    _, note = shards.write_shard(task)
    assert [row["reason"] for row in note["skipped"]] == ["hangs"] * 2 + [
        "hangs too"
    ] * 2
    assert note["shard"]["records"] == 8
    assert shards.read_note(task, strict=False) == note
    shards.try_again(task, strict=False)
    assert shards.read_note(task, strict=False) == note


def given_up_run(short, tmp_path, reason, deadline_s):
    """A run that gave a clip up, and its shard's task with another deadline."""
    plan, out = tvqa.plan(short), tmp_path / "out"
    (out / out_folder.WORK).mkdir(parents=True)
    (task,) = runner.tasks(plan, out, raw_trees.SETTINGS, raw_trees.RED_FINDER, 16)
    shards.give_up(task, "people_train001", reason)
    shards.write_shard(task)
    return dataclasses.replace(task, deadline_s=deadline_s)


@pytest.mark.parametrize(
    ("reason", "deadline_s", "strict", "is_tried"),
    [
        ("took longer", workers.DEADLINE_S, False, False),
        ("took longer", workers.DEADLINE_S - 1, False, False),
        ("took longer", workers.DEADLINE_S + 1, False, True),
        (workers.KILLED, workers.DEADLINE_S + 1, False, False),
        (workers.KILLED, workers.DEADLINE_S, True, True),
    ],
)
def test_who_is_tried_again(short, tmp_path, reason, deadline_s, strict, is_tried):
    task = given_up_run(short, tmp_path, reason, deadline_s)
    assert (shards.read_note(task, strict) is None) == is_tried
    shards.try_again(task, strict)
    _, note = shards.write_shard(task)
    assert note["shard"]["records"] == (12 if is_tried else 10)
    assert shards.read_note(task, strict) == note or note["skipped"]


def test_a_longer_deadline_mends_an_unfinished_run(short, tmp_path):
    """Killed between forgetting and writing: the clip is still tried again."""
    task = given_up_run(short, tmp_path, "took longer", 10_000)
    shards.try_again(task, strict=False)
    assert shards.read_note(dataclasses.replace(task, deadline_s=1), False) is None


def give_up_and_stop(write, tasks):
    """A run that gives a clip up, and is stopped when its shard is done."""
    (task,) = tasks
    shards.give_up(task, "people_train001", "took longer")
    yield write(task)
    raise KeyboardInterrupt


def test_the_command_with_a_longer_deadline(short, tmp_path):
    raw_trees.make(short, tmp_path / "straight")
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        raw_trees.make(short, out, deadline_s=1, execute=give_up_and_stop)
    raw_trees.make(short, out, deadline_s=10_000)
    straight = raw_trees.contents(tmp_path / "straight")
    assert raw_trees.contents(out) == straight


@pytest.mark.slow
@pytest.mark.parametrize("is_there", [True, False])
def test_a_clip_that_hangs_is_all_there_is(tmp_path, is_there):
    """Nothing usable: the deadline holds from the first clip, OUT is as it was."""
    raw_trees.write_tvqa(tmp_path / "raw", train=1, val=0, frames=1)
    out = tmp_path / "out"
    if is_there:
        out.mkdir()
    finder = raw_trees.Stumbling("people_train000", "hang", str(tmp_path / "marks"))
    options = {"finder": finder, "worker_count": 1, "deadline_s": 1}
    with pytest.raises(ValueError, match=r"raw: nothing usable: .*took longer than 4"):
        raw_trees.make(tmp_path / "raw", out, **options)
    assert out.exists() == is_there and not list(tmp_path.glob("out/*"))
