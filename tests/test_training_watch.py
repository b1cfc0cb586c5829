"""A watched run: its times, its events, its trace; killed, and gone on with."""

import contextlib
import dataclasses
import gzip
import json
import time

import jax
import pytest
from helpers import event_files
from helpers import training_run as tiny

from mmdiffmask import configure, devices
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import journal, loop, trace
from mmdiffmask.training.terms import flops
from mmdiffmask.training.watch import Watch


@pytest.fixture(autouse=True)
def _kept_compilation(quick_compilation, tmp_path):
    """The same step compiles once for both starts, and lightly."""
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "jit"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    yield
    jax.config.update("jax_compilation_cache_dir", before)


class KilledError(Exception):
    pass


def killed_after(job, step):
    """The job, whose batches end with an error instead of that of update step + 1."""

    @contextlib.contextmanager
    def batches(first):
        with job.train_batches(first) as inner:

            def until_killed():
                for number, item in enumerate(inner, first + 1):
                    if number > step:
                        raise KilledError
                    time.sleep(0.01)
                    yield item

            yield until_killed()

    return dataclasses.replace(job, train_batches=batches)


@pytest.mark.slow
def test_a_watched_run_of_tiny(tmp_path, monkeypatch):
    """Killed after the fifth update, which is noted; the fourth is the last saved."""
    monkeypatch.setattr(loop, "CHECK_EVERY", 1)
    run_dir, job = tmp_path / "run", tiny.make_job()
    watch = Watch(traced=trace.Steps(3, 4))
    with pytest.raises(KilledError):
        loop.train(killed_after(job, 1), RunFolder(run_dir), watch)
    assert not (run_dir / "events").exists()  # asked for from now on
    with pytest.raises(KilledError):
        watch = dataclasses.replace(watch, has_events=True)
        loop.train(killed_after(job, 5), RunFolder(run_dir), watch)
    monkeypatch.setitem(devices.PEAKS, jax.devices()[0].device_kind, 1e12)
    assert loop.train(job, RunFolder(run_dir)).finished == "steps"  # they go on
    _check_times(run_dir)
    _check_events(run_dir)
    _check_trace(run_dir / "trace")


def _check_times(run_dir):
    text = (run_dir / "times.jsonl").read_text()
    laps = [json.loads(line) for line in text.splitlines()]
    kinds = [(lap["step"], lap["what"]) for lap in laps]
    # The second start goes on after step 0, the third after step 4.
    assert kinds == [
        *((0, "eval"), (0, "save"), (1, "compile"), (2, "train"), (2, "save")),
        *((3, "trace"), (3, "eval"), (3, "save"), (4, "trace"), (4, "save")),
        *((5, "compile"), (6, "train"), (6, "eval"), (6, "save")),
    ]
    assert all(lap["seconds"] > 0 and 0 < lap["share"] <= 1 for lap in laps)
    for lap in laps:
        if lap["what"] == "train":
            rate = lap["updates"] / lap["seconds"]
            assert lap["steps_per_s"] == pytest.approx(rate, rel=0.01)
            assert lap["examples_per_s"] == pytest.approx(8 * rate, rel=0.01)
            assert 0 <= lap["input_wait_s"] <= lap["input_blocked_s"] <= lap["seconds"]
            assert ("mfu" in lap) == (lap["step"] > 4)  # where a peak was known
    # After each look at its loss a device has nothing left: the wait is a real one.
    assert laps[3]["input_wait_s"] == laps[3]["input_blocked_s"] >= 0.01
    assert journal.seconds(RunFolder(run_dir)) == pytest.approx(
        sum(lap["seconds"] for lap in laps)
    )
    batch = tiny.make_batch(range(8))
    flop = sum(flops.update(tiny.make_objective(), batch).values())
    rates = [lap for lap in laps if lap["what"] == "train"]
    assert rates[1]["mfu"] == pytest.approx(flop * rates[1]["steps_per_s"] / 1e12, 2e-3)


def _check_events(run_dir):
    """The curves are those of the lines, each step once."""
    lines = journal.read_metrics(RunFolder(run_dir))
    train, voided = event_files.scalars(run_dir / "events" / "train")
    assert voided > 0  # the fifth update, done twice
    losses = [(x["step"], x["loss"]) for x in lines if x["kind"] == "train"]
    assert [step for step, _ in losses] == [1, 2, 3, 4, 5, 6]
    for (step, value), (wanted_step, wanted) in zip(train["loss"], losses, strict=True):
        assert step == wanted_step and value == pytest.approx(wanted, rel=1e-6)
    assert [step for step, _ in train["speed/steps_per_s"]] == [2, 6]
    dev, _ = event_files.scalars(run_dir / "events" / "dev")
    scores = [x for x in lines if x["kind"] == "eval" and x["value"] is not None]
    names = {"/".join((x["masks"], x["stream"], x["metric"])) for x in scores}
    assert dev.keys() == names and "own/all/loss" in names
    assert all([step for step, _ in points] == [0, 3, 6] for points in dev.values())


def _check_trace(folder):
    (path,) = folder.glob("plugins/profile/*/*.trace.json.gz")
    assert list(folder.glob("plugins/profile/*/*.xplane.pb"))
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    numbers = [e["args"]["step_num"] for e in events if e.get("name") == "update"]
    assert sorted(map(int, numbers)) == [3, 4]


def test_events_of_scores_that_are_made_again_are_void(tmp_path):
    """A run that was stopped in an evaluation keeps the update, not the scores."""
    row = {"kind": journal.EVAL, "masks": "a", "stream": "all", "metric": "loss"}
    folder = RunFolder(tmp_path / "run")
    (tmp_path / "run").mkdir()
    for value, (step, is_scored) in ((1.0, (-1, True)), (2.0, (4, False))):
        with journal.Journal(folder, has_events=True) as notes:
            notes.cut(step, is_scored)
            if step < 0:
                lines = [{"kind": journal.TRAIN, "step": 4, "loss": 3.0}]
                notes.note([row | {"step": 0, "value": 0.0}, *lines])
            notes.note([row | {"step": 4, "value": value}])
    dev, voided = event_files.scalars(tmp_path / "run/events/dev")
    assert dev == {"a/all/loss": [(0, 0.0), (4, 2.0)]} and voided == 1
    train, voided = event_files.scalars(tmp_path / "run/events/train")
    assert train == {"loss": [(4, 3.0)]} and voided == 0
    assert journal.read_metrics(folder)[-1]["value"] == 2.0


def test_what_is_recorded_is_no_setting_of_the_run():
    assert not {"tensorboard", "trace"} & {
        name.rpartition(".")[2] for name in configure.settings(_experiment())
    }


def _experiment():
    return configure.load("tpu_configs/toy.py")


@pytest.mark.parametrize("text", ["3", "3:", "0:2", "4:3", "a:b", "1:2:3", "-1:2"])
def test_a_range_that_names_no_updates_is_refused(text):
    with pytest.raises(ValueError, match=rf"--trace {text}: must be FIRST:LAST"):
        trace.parse(text)


def test_a_range_beyond_the_run_is_refused_before_any_work(tmp_path):
    watch = Watch(traced=trace.parse("5:7"))
    with pytest.raises(ValueError, match="--trace 5:7: the run ends with update 6"):
        loop.train(tiny.make_job(), RunFolder(tmp_path / "run"), watch)
    assert not (tmp_path / "run").exists()


def test_a_range_that_is_past_is_said(tmp_path, caplog):
    tracer = trace.Trace(tmp_path, trace.Steps(2, 4))
    tracer.warn_if_past(3)
    assert not caplog.text
    tracer.warn_if_past(4)
    assert "update 4 is done; no trace" in caplog.text
    assert [s for s in range(7) if tracer.covers(s)] == [2, 3, 4]
    assert [s for s in range(7) if tracer.is_edge(s)] == [1, 4]
