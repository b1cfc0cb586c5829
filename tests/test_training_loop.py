"""Runs from start to end: stopping, resuming, being killed, foreign folders."""

import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from helpers import quick
from helpers import training_run as tiny

from mmdiffmask import config
from mmdiffmask.inputs import Claim
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import checkpoint, journal, loop, saved, steps, stopping

PROGRAM = pathlib.Path(__file__).with_name("helpers") / "training_run.py"


@pytest.fixture(scope="module", autouse=True)
def _kept_compilation(quick_compilation, tmp_path_factory):
    """The same step compiles once for all runs here, and lightly."""
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("jit")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    yield
    jax.config.update("jax_compilation_cache_dir", before)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An undisturbed run."""
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    return run_dir, loop.train(tiny.make_job(), RunFolder(run_dir))


def _files(run_dir):
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(run_dir.rglob("*"))
        if path.is_file()
    }


def _assert_same_run(a, b):
    for which in ("start", "best", "last"):
        runs = [RunFolder(run_dir) for run_dir in (a, b)]
        trees = [checkpoint.load_params(run, which) for run in runs]
        for x, y in zip(*map(jax.tree.leaves, trees), strict=True):
            np.testing.assert_array_equal(x, y)
    assert (a / "metrics.jsonl").read_bytes() == (b / "metrics.jsonl").read_bytes()


@pytest.mark.slow
def test_a_run_leaves_its_numbers_and_its_weights(finished):
    run_dir, progress = finished
    assert progress.finished == "steps" and progress.step == 6
    lines = journal.read_metrics(RunFolder(run_dir))
    train = [line["step"] for line in lines if line["kind"] == "train"]
    assert train == [1, 2, 3, 4, 5, 6]
    scores = [line for line in lines if line["kind"] == "eval"]
    assert {line["step"] for line in scores} == {0, 3, 6}
    assert {line["masks"] for line in scores} == {"own", "other"}
    assert {line["stream"] for line in scores} == {"text", "audio", "all"}
    losses = {
        line["step"]: line["value"]
        for line in scores
        if (line["masks"], line["stream"], line["metric"]) == ("own", "all", "loss")
    }
    assert progress.best_step == min(losses, key=losses.get)
    assert progress.best_loss == min(losses.values())
    start, last = (
        jax.tree.leaves(checkpoint.load_params(RunFolder(run_dir), which))
        for which in ("start", "last")
    )
    assert any(np.any(a != b) for a, b in zip(start, last, strict=True))
    kept = {int(path.name) for path in (run_dir / "steps").iterdir()}
    assert kept == {progress.best_step, 6}
    assert not list((run_dir / "steps").glob("*/optimizer"))  # it is finished


@pytest.mark.slow
def test_a_finished_run_is_left_alone(finished):
    run_dir, progress = finished
    before = _files(run_dir)
    assert loop.train(tiny.make_job(), RunFolder(run_dir)) == progress
    assert _files(run_dir) == before


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_next_call_goes_on(finished, tmp_path, number):
    job, run_dir = tiny.make_job(), tmp_path / "run"
    batches = job.train_batches

    def stopping(first):
        manager = batches(first)
        inner = manager.__enter__()

        def until_signal():
            for i, item in enumerate(inner):
                if first + i == 4:  # the fifth update: no save is due there
                    os.kill(os.getpid(), number)
                yield item

        return _Context(until_signal())

    handlers = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt, match="Step 5 is saved"):
        loop.train(dataclasses.replace(job, train_batches=stopping), RunFolder(run_dir))
    assert signal.getsignal(number) is handlers
    noted = run_dir / "metrics.jsonl"
    with noted.open("a") as file:  # what a kill after step 5 would have left behind
        file.write('{"kind": "train", "step": 6, "loss": 0.0}\n{"kind": "tr')
    assert loop.train(tiny.make_job(), RunFolder(run_dir)).finished == "steps"
    _assert_same_run(finished[0], run_dir)


def _stopped_in_evaluation(job, number):
    """The job; a signal comes while the evaluation of that number is made, from 0."""
    batches, count = job.dev_batches, itertools.count()

    @contextlib.contextmanager
    def dev_batches():
        with batches() as inner:
            if next(count) == number:
                os.kill(os.getpid(), signal.SIGTERM)
            yield inner

    return dataclasses.replace(job, dev_batches=dev_batches)


@pytest.mark.slow
@pytest.mark.parametrize("number, step", [(0, 0), (1, 3), (2, 6)])
def test_a_signal_within_an_evaluation_is_honoured(finished, tmp_path, number, step):
    run_dir, noted = tmp_path / "run", tmp_path / "run" / "metrics.jsonl"
    with pytest.raises(KeyboardInterrupt, match=f"Step {step} is saved"):
        job = _stopped_in_evaluation(tiny.make_job(), number)
        loop.train(job, RunFolder(run_dir))

    def scored():
        lines = journal.read_metrics(RunFolder(run_dir))
        return {line["step"] for line in lines if line["kind"] == "eval"}

    assert scored() == set(range(0, step, 3))
    with checkpoint.open_steps(RunFolder(run_dir)) as manager:
        progress = checkpoint.read_progress(manager)
    assert (progress.step, progress.is_scored) == (step, False)
    # Stopped in it again, and once killed between its lines and what is saved of it.
    with pytest.raises(KeyboardInterrupt, match=f"Step {step} is saved"):
        loop.train(_stopped_in_evaluation(tiny.make_job(), 0), RunFolder(run_dir))
    wanted = journal.read_metrics(RunFolder(finished[0]))
    lines = [x for x in wanted if x["kind"] == "eval" and x["step"] == step]
    journal.Journal(RunFolder(run_dir)).note(lines)
    assert loop.train(tiny.make_job(), RunFolder(run_dir)).finished == "steps"
    assert noted.read_bytes() == (finished[0] / "metrics.jsonl").read_bytes()
    _assert_same_run(finished[0], run_dir)


@pytest.mark.slow
def test_a_run_that_goes_on_makes_no_first_state_and_reads_no_start(
    finished, tmp_path, monkeypatch
):
    """Nor does it check clips: all that it needs lies in its folder."""
    run_dir = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt, match="Step 3 is saved"):
        loop.train(_stopped_in_evaluation(tiny.make_job(), 1), RunFolder(run_dir))

    def never(*_):
        raise AssertionError("is of no use here")

    monkeypatch.setattr(steps, "first_state", never)
    job = dataclasses.replace(
        tiny.make_job(), start=never, hold_batches=never, check_clips=never
    )
    assert loop.train(job, RunFolder(run_dir)).finished == "steps"
    _assert_same_run(finished[0], run_dir)


@pytest.mark.long
def test_when_states_are_saved_changes_no_bit(finished, tmp_path, monkeypatch):
    """By the clock: here after every update, although none is due by their number."""
    counted, save = [], checkpoint.save

    def count(manager, state, progress):
        counted.append(progress.step)
        save(manager, state, progress)

    monkeypatch.setattr(checkpoint, "save", count)
    job = tiny.make_job(save_every=100, save_minutes=1e-9)
    loop.train(job, RunFolder(tmp_path / "run"))
    assert counted == [0, 1, 2, 3, 4, 5, 6]
    _assert_same_run(finished[0], tmp_path / "run")
    counted.clear()
    loop.train(tiny.make_job(save_every=100), RunFolder(tmp_path / "other"))
    assert counted == [0, 3, 6]


@dataclasses.dataclass(frozen=True)
class _Context:
    items: object

    def __enter__(self):
        return self.items

    def __exit__(self, *_):
        pass


@pytest.mark.slow
def test_no_training_scores_the_start_once(tmp_path):
    job = tiny.make_job(steps=0)
    progress = loop.train(job, RunFolder(tmp_path / "run"))
    assert progress.finished == "steps" and progress.best_step == progress.step == 0
    lines = journal.read_metrics(RunFolder(tmp_path / "run"))
    assert {(line["kind"], line["step"]) for line in lines} == {("eval", 0)}
    for which in ("best", "last"):
        found = checkpoint.load_params(RunFolder(tmp_path / "run"), which)
        for a, b in zip(*map(jax.tree.leaves, (found, job.start())), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_other_settings_seed_or_model_are_refused(finished):
    run_dir = finished[0]
    with pytest.raises(ValueError, match=r"training.lr=0.001, not 0.5; go on with"):
        loop.train(tiny.make_job(lr=0.5), RunFolder(run_dir))
    with pytest.raises(ValueError, match=r"--seed=0, not 1"):
        loop.train(tiny.make_job(seed=1), RunFolder(run_dir))


@pytest.mark.slow
def test_a_loss_that_is_not_finite_names_its_step(tmp_path):
    job = tiny.make_job()

    def poisoned(first):
        batches = [tiny.make_batch(range(8))] * 6
        patches = np.full_like(batches[2].patches, np.nan)
        batches[2] = batches[2]._replace(patches=patches)
        return _Context((batch, 0) for batch in batches[first:])

    job = dataclasses.replace(job, train_batches=poisoned)
    told = "the loss at step 3 is nan; lower .*; the batch was of the examples clip 16,"
    with pytest.raises(ValueError, match=told + " clip 17, clip 18, clip 19, clip 0,"):
        loop.train(job, RunFolder(tmp_path / "run"))
    with checkpoint.open_steps(RunFolder(tmp_path / "run")) as manager:
        assert checkpoint.read_progress(manager).step == 2


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"b2": 1.0}, marks=pytest.mark.slow),
        pytest.param({"eps": 0.0}, marks=pytest.mark.long),
        pytest.param({"lr": 1e30}, marks=pytest.mark.long),
    ],
)
def test_cases_of_numbers_that_are_not_finite_never_finish(tmp_path, changes):
    job = tiny.make_job(**changes, steps=2, warmup_steps=0, eval_every=2)
    with pytest.raises(ValueError, match=r"at step [12] is (nan|inf); lower training"):
        loop.train(job, RunFolder(tmp_path / "run"))
    with checkpoint.open_steps(RunFolder(tmp_path / "run")) as manager:
        progress = checkpoint.read_progress(manager)
    assert progress.step == 0 and progress.finished is None
    lines = journal.read_metrics(RunFolder(tmp_path / "run"))
    assert all(np.isfinite(x["value"]) for x in lines if x.get("value") is not None)


def test_check_of_numbers():
    stopping.check_finite("loss", 1e30, 3)
    for value in (np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match="the loss at step 3 is -?(nan|inf); low"):
            stopping.check_finite("loss", value, 3)
    good = {"w": jax.numpy.ones(3), "count": jax.numpy.int32(1)}
    for bad in (np.nan, np.inf):
        wrong = good | {"w": jax.numpy.array([0.0, bad])}
        assert steps.is_finite(good) and not steps.is_finite(wrong)
        state = steps.TrainState(good, wrong, jax.numpy.int32(4))
        with pytest.raises(ValueError, match="the sum of the moments at step 4 is nan"):
            stopping.check_state(state, 4)
    assert steps.is_finite({"count": jax.numpy.int32(1)})


def test_cases_of_a_refused_start_claim_nothing(tmp_path):
    def absent():
        raise ValueError("no such checkpoint")

    job = dataclasses.replace(tiny.make_job(), start=absent)
    with pytest.raises(ValueError, match="no such checkpoint"):
        loop.train(job, RunFolder(tmp_path / "run"))
    assert not any((tmp_path / "run").iterdir())
    assert not RunFolder(tmp_path / "run").belongs_to(Claim({"training.lr": 0.5}, 1))


def test_the_start_is_made_outside_of_tracing(tmp_path):
    """What reads a folder of Orbax cannot be traced."""

    def start():
        value = tiny.start()
        assert all(isinstance(x, np.ndarray) for x in jax.tree.leaves(value))
        assert not isinstance(jax.numpy.zeros(()), jax.core.Tracer)
        raise ValueError("was called in the open")

    job = dataclasses.replace(tiny.make_job(), start=start)
    with pytest.raises(ValueError, match="was called in the open"):
        loop.train(job, RunFolder(tmp_path / "run"))


@pytest.mark.slow
def test_cases_of_a_lost_start_or_step_of_a_run(finished, tmp_path):
    copy = tmp_path / "copy"
    for part in ("start", "steps/6"):
        shutil.copytree(finished[0], copy)
        shutil.rmtree(copy / part)
        with pytest.raises(ValueError, match=f"{part} is lost"):
            loop.train(tiny.make_job(), RunFolder(copy))
            saved.check_all(RunFolder(copy))
        shutil.rmtree(copy)


def _stop_after(losses, **changes):
    settings = config.Training(steps=len(losses) - 1, **changes)
    progress, step = checkpoint.Progress(), 0
    for step, loss in enumerate(losses):
        loss = None if loss is None else float(loss)
        progress = stopping.judge(progress, step, loss, settings)
        if progress.finished:
            break
    return progress.finished, step, progress.best_step


@pytest.mark.parametrize(
    "losses, wanted",
    [
        ([5, 4, 3, 2, 1], ("steps", 4, 4)),
        ([5, 4, 4, 4, 1], ("early stopping", 3, 1)),  # equal is not better
        ([5, 6, 4, 6, 3], ("steps", 4, 4)),  # patience starts anew
        ([5, 6, 7, 1, 1], ("early stopping", 2, 0)),
        ([5, None, 6, None, 7], ("early stopping", 4, 0)),  # counts evaluations
    ],
)
def test_early_stopping_table(losses, wanted):
    assert _stop_after(losses, patience=2) == wanted


def test_without_early_stopping_all_steps_run():
    found = _stop_after([5, 6, 7, 8, 4.5], patience=1, early_stopping=False)
    assert found == ("steps", 4, 4)


def _run(run_dir, cache, *minutes):
    environment = {
        **{k: v for k, v in os.environ.items() if k != "XLA_FLAGS"},
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        **quick.ENVIRONMENT,
        "PYTHONPATH": os.pathsep.join([str(PROGRAM.parents[2]), *sys.path]),
    }
    with (run_dir.parent / f"{run_dir.name}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, PROGRAM, run_dir, *minutes], env=environment, stderr=log
        )


def _stop_and_finish(tmp_path, stops):
    """Kills and signals at random moments; the stopped run saves by the clock, too."""
    whole, stopped, cache = tmp_path / "whole", tmp_path / "stopped", tmp_path / "jit"
    assert _run(whole, cache).wait() == 0
    began = time.monotonic()
    assert _run(tmp_path / "again", cache).wait() == 0
    lasts = time.monotonic() - began
    _assert_same_run(whole, tmp_path / "again")
    rng = random.Random(0)
    for _ in range(stops):
        process = _run(stopped, cache, "0.003")
        time.sleep(rng.uniform(0.2, 0.9) * lasts)
        process.send_signal(rng.choice([signal.SIGKILL, signal.SIGTERM]))
        process.wait()
    assert _run(stopped, cache).wait() == 0
    _assert_same_run(whole, stopped)
    saved.check_all(RunFolder(stopped))
    times = [json.loads(x) for x in (stopped / "times.jsonl").read_text().splitlines()]
    assert [line["step"] for line in times] == sorted(line["step"] for line in times)


@pytest.mark.slow
def test_stopped_thrice_ends_with_the_same_bits(tmp_path):
    _stop_and_finish(tmp_path, 3)


@pytest.mark.long
def test_stopped_ten_times_ends_with_the_same_bits(tmp_path):
    _stop_and_finish(tmp_path, 10)
