"""What --plan says, and parts of a plan for several machines."""

import dataclasses
import re

import pytest
from helpers import fake_experiment, fake_runs

from mmdiffmask import __main__ as command_line
from mmdiffmask import config, run_files
from mmdiffmask.experiment import kept, plan, progress, runs

BASE = fake_experiment.experiment()
TINY = str(fake_experiment.ROOT / "tpu_configs" / "tiny.py")


def words(*more):
    rows = f"rows={list(BASE.rows)}"
    settings = ("--set", rows, "--set", "terms.imgs_to_audio=1.0")
    return ["experiment", TINY, *settings, *more]


def test_before_any_run_minutes_are_estimated(tmp_path):
    planned = plan.plan(BASE, tmp_path, (0, 1))
    lines = progress.lines(planned, {})
    assert len(lines) == 1 + 8 + 1
    assert all("not begun (estimated)" in line for line in lines[1:-1])
    assert lines[-1].startswith("0 of 8 runs are done, in 0.0 CPU minutes; about ")


def test_estimates_grow_with_updates_and_clips(tmp_path):
    def minutes(experiment):
        (line,) = progress.lines(plan.plan(experiment, tmp_path)[3:4], {})[1:-1]
        return float(line.split()[2])

    longer = dataclasses.replace(BASE.training, steps=60_000, batch_size=16)
    one = dataclasses.replace(BASE, training=longer)
    two = dataclasses.replace(one, training=dataclasses.replace(longer, steps=120_000))
    assert minutes(one) > 1 and minutes(two) == pytest.approx(2 * minutes(one), rel=0.1)
    wide = dataclasses.replace(one, model=config.MODELS["small"])
    assert minutes(wide) > 2 * minutes(one)


def test_what_is_done_is_measured_and_others_go_by_it(tmp_path, tiny_records):
    planned = plan.plan(BASE, tmp_path, (0, 1))
    keeping = kept.Kept(tmp_path / run_files.RESULTS)
    for one in planned[:3]:  # 1.5 minutes each
        fake_experiment.finish(one, tiny_records)
        keeping.write(one)
    fake_experiment.finish(planned[4], tiny_records)  # without a result
    fake_runs.write_run(
        planned[5].folder.path, planned[5].settings, "replay", tiny_records, seed=1
    )
    lines = progress.lines(planned, kept.read(planned, keeping))
    fields = [re.match(r"(\w+) +(\d) +([\d.]+)  (.*)$", line) for line in lines[1:-1]]
    states = [match[4] for match in fields]
    assert states[:3] == ["done (measured)"] * 3
    assert states[3] == "not begun (by other rows)"
    other = "as its row's other seeds"
    assert states[4] == f"trained and probed, no result yet ({other})"
    assert states[5] == f"trained, not probed ({other})"
    assert states[6] == f"not begun ({other})"
    assert [match[3] for match in fields[:3]] == ["1.5"] * 3
    assert fields[6][3] == "1.5"
    assert lines[-1].startswith("3 of 8 runs are done, in 4.5 CPU minutes; about ")


def test_a_plan_computes_nothing(tmp_path, tiny_records, capsys, monkeypatch):
    def fail(*_, **__):
        raise AssertionError("something is computed")

    monkeypatch.setattr(runs, "run", fail)
    fake_experiment.keep(BASE, tmp_path / "w", tiny_records, (0,))
    monkeypatch.chdir(tmp_path)
    assert command_line.main(words("--workdir", "w", "--seeds", "2", "--plan")) == 0
    out = capsys.readouterr().out.splitlines()
    assert sum("done (measured)" in line for line in out) == 4
    assert not (tmp_path / "data").exists()
    assert not (tmp_path / "w" / run_files.TABLES).exists()


def test_parts_are_all_of_it_and_stay_where_seeds_are_added(tmp_path):
    planned = plan.plan(BASE, tmp_path, (0, 1))
    parts = [plan.shard(planned, f"{i}/3") for i in (1, 2, 3)]
    assert [len(part) for part in parts] == [3, 3, 2]
    assert {one for part in parts for one in part} == set(planned)
    longer = plan.plan(BASE, tmp_path, (0, 1, 2))
    for i, part in enumerate(parts, 1):
        later = plan.shard(longer, f"{i}/3")[: len(part)]
        assert list(map(str, later)) == list(map(str, part))
    assert plan.shard(planned, "1/1") == planned


@pytest.mark.parametrize("part", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2", "1/2/3"])
def test_cases_of_parts_that_there_are_not(tmp_path, part, capsys):
    line = words("--workdir", str(tmp_path / "w"), f"--shard={part}")
    assert command_line.main(line) == 2
    said = f"--shard {part}: write it as I/N with I from 1 to N"
    assert said in capsys.readouterr().err and not any(tmp_path.iterdir())


def test_a_part_makes_its_runs_and_says_what_is_missing(
    tmp_path, tiny_records, capsys, monkeypatch
):
    def run(mine, records, kept, **_):
        for one in mine:
            fake_experiment.finish(one, records)
            kept.write(one)

    from mmdiffmask import toy_records

    monkeypatch.setattr(runs, "run", run)
    monkeypatch.setattr(toy_records, "make", lambda *_: tiny_records)
    line = words("--workdir", str(tmp_path / "w"), "--results", str(tmp_path / "r"))
    assert command_line.main([*line, "--shard", "1/2"]) == 0
    out = capsys.readouterr().out
    said = "2 of 4 results are missing (row replay, seed 0; row difference, seed 0)"
    assert f"{tmp_path / 'r'}: {said}" in out
    assert not (tmp_path / "w" / run_files.TABLES).exists()
    assert command_line.main([*line, "--shard", "2/2"]) == 0
    assert capsys.readouterr().out.startswith("Accuracy in %")
    assert (tmp_path / "w" / run_files.TABLES).exists()
