"""Rows with seeds: planned, run in processes, gone on with, read."""

import concurrent.futures
import dataclasses
import os
import pathlib
from concurrent.futures import process

import pytest
from helpers import fake_runs

from mmdiffmask import __main__ as command_line
from mmdiffmask import configure, demo, run_files
from mmdiffmask.experiment import plan, runs
from mmdiffmask.report import runs as report_runs

ROOT = pathlib.Path(__file__).resolve().parents[1]
TINY = ROOT / "tpu_configs" / "tiny.py"
DEMO = demo.get_config()
NOWHERE = "no/records"


def files(folder):
    """Path -> (content, time of change)."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def names(planned):
    return [(one.row, one.seed) for one in planned]


def test_rows_with_seeds_are_planned(tmp_path):
    planned = plan.plan(DEMO, tmp_path, (0, 3))
    rows = ["none", "replay", "random", "difference"]
    assert names(planned) == [(row, seed) for seed in (0, 3) for row in rows]
    places = [str(one.folder.path.relative_to(tmp_path)) for one in planned]
    assert places == [*rows, *(f"seed=3/{row}" for row in rows)]
    settings = configure.rows(DEMO)
    assert all(one.settings == settings[one.row] for one in planned)
    assert plan.plan(DEMO, tmp_path)[3].folder.path == tmp_path / "difference"
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "rows, seeds, words",
    [
        (DEMO.rows, (0, 1, 0), r"seed 0 stands twice in \[0, 1, 0\]"),
        (DEMO.rows, (-1,), "seed -1: must be from 0"),
        (("a: masking.strategy=randon",), (0,), "row a: .*did you mean random"),
        (("a/b: training.steps=0",), (0,), "row 'a/b: training.steps=0'"),
        (("seed=1: training.steps=0",), (0,), "write it as"),
    ],
)
def test_cases_of_plans_that_are_refused(tmp_path, rows, seeds, words):
    experiment = dataclasses.replace(DEMO, rows=rows)
    with pytest.raises(ValueError, match=words):
        plan.plan(experiment, tmp_path, seeds)


class Stage:
    """In place of training and probe: writes known runs, in threads; notes them."""

    def __init__(self):
        self.begun, self.variables = [], []
        self.stops = {}  # (row, seed) -> the error of its first try

    def pretrain(self, settings, records_dir, folder, seed, probe):
        assert probe is runs.curve.of_run  # curves are drawn where settings ask
        path = pathlib.Path(folder)
        self.begun.append((path.name, seed))
        error = self.stops.pop((path.name, seed), None)
        if error is not None:
            raise error
        if not path.exists():
            fake_runs.write_run(path, DEMO, path.name, "", seed=seed)

    def pool(self, workers, context, start):
        assert context.get_start_method() == "spawn"
        self.variables.append({name: os.environ.get(name) for name in VARIABLES})
        return concurrent.futures.ThreadPoolExecutor(workers)


VARIABLES = (runs.CACHE, "OMP_NUM_THREADS", "XLA_FLAGS")


@pytest.fixture
def stage(monkeypatch):
    stage = Stage()
    monkeypatch.setattr(runs.pretrain, "pretrain", stage.pretrain)
    monkeypatch.setattr(runs.probing, "probe", lambda *_: None)
    futures = runs.concurrent.futures
    monkeypatch.setattr(futures, "ProcessPoolExecutor", stage.pool)
    return stage


def go(planned, **settings):
    runs.run(planned, NOWHERE, **{"workers": 1} | settings)


def test_finished_runs_cost_nothing(tmp_path, stage):
    planned = plan.plan(DEMO, tmp_path, (0, 1))
    go(planned, workers=3)
    assert sorted(stage.begun) == sorted(names(planned))
    assert all(map(runs.is_done, planned))
    before = files(tmp_path)
    go(planned)
    assert files(tmp_path) == before and len(stage.variables) == 1  # no second pool
    go(plan.plan(DEMO, tmp_path, (0, 1, 2)))  # a seed more
    assert set(stage.begun[8:]) == set(names(plan.plan(DEMO, tmp_path, (2,))))
    assert {k: v for k, v in files(tmp_path).items() if k in before} == before
    # Another version of the read-outs: probed again.
    planned[1].folder.write(run_files.DONE, "features 0, heads 0")
    stage.begun.clear()
    go(planned)
    assert stage.begun == [("replay", 0)]


def test_an_experiment_that_was_stopped_goes_on(tmp_path, stage):
    planned = plan.plan(DEMO, tmp_path)
    stage.stops["replay", 0] = KeyboardInterrupt("saved at step 3.")
    with pytest.raises(KeyboardInterrupt, match="saved at step 3"):
        go(planned)
    assert stage.begun == [("none", 0), ("replay", 0)]  # no further one
    assert [runs.is_done(one) for one in planned] == [True, False, False, False]
    go(planned)
    assert stage.begun[2:] == [("replay", 0), ("random", 0), ("difference", 0)]
    assert all(map(runs.is_done, planned))


def test_the_others_are_done_if_one_fails(tmp_path, stage):
    planned = plan.plan(DEMO, tmp_path, (4,))
    stage.stops["none", 4] = ValueError("the loss at step 7 is nan")
    with pytest.raises(ValueError, match="^row none, seed 4: the loss at step 7 is"):
        go(planned, workers=2)
    assert [runs.is_done(one) for one in planned] == [False, True, True, True]


def test_a_folder_of_another_run_is_refused_before_any_work(tmp_path, stage):
    changes = {"training.lr": 0.5}
    fake_runs.write_run(tmp_path / "random", DEMO, "random", "", **changes)
    before = files(tmp_path)
    planned = plan.plan(DEMO, tmp_path)
    with pytest.raises(ValueError, match="random: holds a run with training.lr=0.5"):
        go(planned)
    planned[2].folder.write(run_files.DONE, runs.PROBED)
    with pytest.raises(ValueError, match="holds a run with training.lr=0.5"):
        go(planned)
    assert stage.begun == [] and files(tmp_path).keys() - before.keys() == {
        f"random/{run_files.DONE}"
    }


def test_processes_have_one_thread_and_share_what_is_compiled(
    tmp_path, stage, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv(runs.CACHE, raising=False)
    before = dict(os.environ)
    planned = plan.plan(DEMO, tmp_path / "runs")
    go(planned[:1], compiled=tmp_path / "compiled")
    go(planned[1:2])
    monkeypatch.setenv(runs.CACHE, "mine")
    go(planned[2:3], compiled=tmp_path / "compiled")
    caches = [str(tmp_path / "compiled"), None, "mine"]
    assert [seen[runs.CACHE] for seen in stage.variables] == caches
    for seen in stage.variables:
        assert seen["OMP_NUM_THREADS"] == "1"
        assert "multi_thread_eigen=false" in seen["XLA_FLAGS"]
    assert dict(os.environ) == before | {runs.CACHE: "mine"}


def test_every_seed_is_one_page(tmp_path, stage):
    go(plan.plan(DEMO, tmp_path, (0, 7)))
    for folder, seed in ((tmp_path, 0), (tmp_path / "seed=7", 7)):
        page_runs, unfinished = report_runs.read_runs(folder)
        assert len(page_runs) == 4 and unfinished == []
        assert {run.seed for run in page_runs} == {seed}


def test_a_process_that_is_killed_is_a_sentence(tmp_path, stage):
    """By the system, as a rule, where memory ran out; the pool is of no use then."""
    planned = plan.plan(DEMO, tmp_path)
    stage.stops["replay", 0] = process.BrokenProcessPool("a child process terminated")
    told = "the process of row replay, seed 0 was killed, likely .* (--workers)"
    with pytest.raises(ValueError, match=told.replace("(", r"\(").replace(")", r"\)")):
        go(planned)
    assert stage.begun == [("none", 0), ("replay", 0)]
    assert runs.is_done(planned[0])
    go(planned)
    assert all(map(runs.is_done, planned))


def test_runs_are_for_the_device_that_is_named(tmp_path, stage):
    assert runs._variables(None, "tpu")["JAX_PLATFORMS"] == "tpu,cpu"
    assert "JAX_PLATFORMS" not in runs._variables(None, None)


@pytest.mark.parametrize("name", ["seeds", "workers"])
def test_wrong_counts_are_refused(tmp_path, capsys, name):
    words = ["experiment", str(TINY), "--workdir", str(tmp_path / "x"), f"--{name}=0"]
    assert command_line.main(words) == 2
    assert f"--{name} 0: at least 1" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
