"""Runs computed anew: which, and what counts as the same."""

import dataclasses
import shutil

import pytest
from helpers import fake_experiment

from mmdiffmask import __main__ as command_line
from mmdiffmask.experiment import kept, plan, runs, verify

BASE = fake_experiment.experiment()


@pytest.fixture(scope="module")
def done(tmp_path_factory, tiny_records):
    """All runs of two seeds, and their results."""
    workdir = tmp_path_factory.mktemp("experiment")
    planned, keeping = fake_experiment.keep(BASE, workdir, tiny_records)
    return planned, keeping, kept.read(planned, keeping)


def test_runs_are_chosen_by_hash(tmp_path):
    planned = plan.plan(BASE, tmp_path, range(5))
    chosen = verify.choose(planned, 3)
    assert chosen == verify.choose(planned[::-1], 3) != planned[:3]
    assert verify.choose(planned, 20)[:3] == chosen
    for count in (0, 21):
        with pytest.raises(ValueError, match=f"--verify {count}: there are 20 results"):
            verify.choose(planned, count)


@pytest.fixture
def anew(done, tiny_records, monkeypatch):
    """Runs are written as they are known, by `change`d ones if it names any."""
    changes = {}

    def run_all(todo, records, workers, keeping):
        for one in todo:
            fake_experiment.finish(one, records)
            path = one.folder.at("metrics.jsonl")
            path.write_text(path.read_text().replace(*changes.get("text", ("", ""))))
            keeping.write(one)

    monkeypatch.setattr(runs, "_run_all", run_all)
    return changes


def test_the_same_runs_are_as_before(done, anew, tmp_path, tiny_records):
    planned, _, results = done
    chosen = verify.choose(planned, 2)
    again = verify.compute(chosen, tmp_path / "w", tiny_records, workers=1)
    assert tuple(again) == chosen and not (tmp_path / "w").exists()
    lines = verify.lines(results, again)
    assert len(lines) == 2 and all(": as before (losses of " in x for x in lines)


def test_others_are_named(done, anew, tmp_path, tiny_records):
    planned, _, results = done
    (one,) = [x for x in planned if (x.row, x.seed) == ("random", 1)]
    old = results[one]
    loss = dataclasses.replace(old, losses=[old.losses[0] + 0.0011, *old.losses[1:]])
    near = dataclasses.replace(old, losses=[old.losses[0] + 0.0009, *old.losses[1:]])
    assert verify.differences(old, near) == []
    (said,) = verify.differences(old, loss)
    assert said.startswith("loss of update 1: ")
    label = old.probe.labels["action"]
    right = list(label.heads["joint"].is_right)

    def flipped(count):
        wrong = [1 - x if i < count else x for i, x in enumerate(right)]
        head = dataclasses.replace(label.heads["joint"], is_right=wrong)
        new = dataclasses.replace(label, heads=label.heads | {"joint": head})
        return dataclasses.replace(
            old, probe=dataclasses.replace(old.probe, labels={"action": new})
        )

    assert verify.differences(old, flipped(1)) == []  # one of 100 clips
    (said,) = verify.differences(old, flipped(right.index(1 - right[0])))
    assert said.startswith("accuracy of action joint head: ")
    with pytest.raises(ValueError, match=r"1 of 2 results .*\(row random, seed 1: "):
        verify.lines(results, {one: loss, planned[0]: results[planned[0]]})


def test_the_command_says_so_with_its_status(
    done, anew, tmp_path, tiny_records, capsys
):
    _, keeping, _ = done
    folder = tmp_path / "results"
    shutil.copytree(keeping.folder, folder)
    words = ["experiment", str(fake_experiment.ROOT / "tpu_configs" / "tiny.py")]
    words += ["--set", f"rows={list(BASE.rows)}", "--set", "terms.imgs_to_audio=1.0"]
    words += [
        "--seeds",
        "2",
        "--results",
        str(folder),
        "--workdir",
        str(tmp_path / "w"),
    ]
    with pytest.MonkeyPatch.context() as patch:
        from mmdiffmask import toy_records

        patch.setattr(toy_records, "make", lambda *_: tiny_records)
        assert command_line.main([*words, "--verify", "8"]) == 0
        assert capsys.readouterr().out.count("as before") == 8
        anew["text"] = ('"loss": ', '"loss": 1')
        assert command_line.main([*words, "--verify", "8"]) == 2
    assert "6 of 8 results came out otherwise" in capsys.readouterr().err
