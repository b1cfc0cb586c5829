"""Labels that are read out while a run trains: the lines, kills, and the curves."""

import dataclasses
import itertools
import os
import pathlib
import signal

import jax
import numpy as np
import pytest

from mmdiffmask import configure, pretrain, run_files, statistics
from mmdiffmask.probe import curve, results
from mmdiffmask.probe import run as probing
from mmdiffmask.report import probe_curves
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import checkpoint, events, journal, loop

TINY = pathlib.Path(__file__).resolve().parents[1] / "tpu_configs" / "tiny.py"
STEPS = [0, 2, 4, 5]


def experiment(**changes):
    loaded = configure.load(TINY)
    training = dataclasses.replace(loaded.training, steps=5, probe_every=2, **changes)
    probe = dataclasses.replace(loaded.probe, folds=3, labels=("action",))
    return dataclasses.replace(loaded, training=training, probe=probe)


def train(folder, records, settings=None, probe=curve.of_run):
    settings = settings or experiment()
    pretrain.pretrain(settings, records, str(folder), 0, probe=probe)
    return RunFolder(folder)


def lines_of(folder):
    lines = journal.read_metrics(RunFolder(folder))
    return [line for line in lines if line["kind"] == journal.PROBE]


@pytest.fixture(scope="module")
def calm(tmp_path_factory, tiny_records):
    """An undisturbed run with curves."""
    return train(tmp_path_factory.mktemp("calm") / "run", tiny_records)


@pytest.mark.slow
def test_the_last_lines_are_the_probe_of_the_finished_run(calm):
    lines = lines_of(calm.path)
    assert sorted({line["step"] for line in lines}) == STEPS
    assert not calm.at(run_files.FEATURES).exists()  # nothing of them is kept
    probed = probing.probe(experiment(), str(calm))
    last = {(x["label"], x["read_out"]): x for x in lines if x["step"] == STEPS[-1]}
    heads = {
        (label, name): head
        for label, entry in probed.labels.items()
        for name, head in entry.heads.items()
    }
    assert last.keys() == heads.keys() and len(last) >= 2
    for key, head in heads.items():
        assert last[key]["accuracy"] == np.mean(head.is_right)
        assert last[key]["count"] == len(head.is_right)
        assert last[key]["log_probability"] == results.mean_log(head.log_probability)
    first = [x["log_probability"] for x in lines if x["step"] == 0]
    assert first != [x["log_probability"] for x in last.values()]  # it has trained


@pytest.mark.slow
def test_it_changes_nothing_else_of_a_run(calm, tmp_path, tiny_records):
    plain = experiment()
    training = dataclasses.replace(plain.training, probe_every=0)
    plain = dataclasses.replace(plain, training=training)
    run = train(tmp_path / "run", tiny_records, plain, probe=None)
    for which in ("best", "last"):
        trees = [checkpoint.load_params(folder, which) for folder in (calm, run)]
        for a, b in zip(*map(jax.tree.leaves, trees), strict=True):
            np.testing.assert_array_equal(a, b)
    others = [x for x in journal.read_metrics(calm) if x["kind"] != journal.PROBE]
    assert others == journal.read_metrics(run)
    train(run, tiny_records)  # the same run, and finished: no line is added
    assert not lines_of(run.path)


def disturbed(number, how):
    """What probes, and at its call of that number is stopped or killed."""
    count = itertools.count()

    def make(settings, corpus):
        read_out = curve.of_run(settings, corpus)

        def probe(params, watched):
            is_now = next(count) == number
            if is_now and how == "signal":
                os.kill(os.getpid(), signal.SIGTERM)
            lines = read_out(params, watched)
            if is_now:
                raise RuntimeError("killed")
            return lines

        return probe

    return make


@pytest.mark.slow
@pytest.mark.parametrize(
    "number, how", [(0, "signal"), (1, "signal"), (2, "killed"), (3, "signal")]
)
def test_a_run_that_goes_on_has_the_same_lines(
    calm, tmp_path, tiny_records, number, how
):
    folder = tmp_path / "run"
    error = KeyboardInterrupt if how == "signal" else RuntimeError
    with pytest.raises(error):
        train(folder, tiny_records, probe=disturbed(number, how))
    done = lines_of(folder)
    assert {line["step"] for line in done} == set(STEPS[:number])
    train(folder, tiny_records)
    metrics = [x.at(run_files.METRICS).read_bytes() for x in (calm, RunFolder(folder))]
    assert metrics[0] == metrics[1]


@pytest.mark.long
def test_a_run_killed_before_its_save_has_no_line_twice(
    calm, tmp_path, tiny_records, monkeypatch
):
    save = loop._Runner.save

    def killed(self, progress):
        if progress.step == 4:
            raise RuntimeError("killed")
        save(self, progress)

    folder = tmp_path / "run"
    monkeypatch.setattr(loop._Runner, "save", killed)
    with pytest.raises(RuntimeError, match="killed"):
        train(folder, tiny_records)
    assert {line["step"] for line in lines_of(folder)} == {0, 2, 4}
    monkeypatch.undo()
    train(folder, tiny_records)
    metrics = [x.at(run_files.METRICS).read_bytes() for x in (calm, RunFolder(folder))]
    assert metrics[0] == metrics[1]


@pytest.mark.slow
def test_what_cannot_be_read_out_is_refused(tmp_path, tiny_records):
    settings = experiment()
    asked = dataclasses.replace(settings.probe, read_outs=("match",))
    with pytest.raises(ValueError, match="probe_every=2: .* add clip to probe.read_ou"):
        train(
            tmp_path / "run",
            tiny_records,
            dataclasses.replace(settings, probe=asked),
        )
    with pytest.raises(ValueError, match="probe_every=2: .* pass probe="):
        train(tmp_path / "run", tiny_records, probe=None)
    assert not (tmp_path / "run").exists()


def line(step, label, read_out, accuracy, log):
    ends = {"low": accuracy - 0.1, "high": accuracy + 0.1, "count": 50}
    scores = {"accuracy": accuracy, "log_probability": log}
    names = {"kind": "probe", "step": step, "label": label, "read_out": read_out}
    return names | scores | ends


@pytest.mark.slow
def test_labels_have_two_panels_each():
    update = {"kind": "train", "step": 1}
    lines = [
        update,
        line(4, "action", "joint", 0.5, -1.0),
        line(0, "action", "joint", 0.25, None),
        line(4, "action", "vit", 0.75, -0.5),
        line(4, "shirt", "joint", 0.5, None),
    ]
    floors = {"action": statistics.Floors(0.2, 0.3, 5)}
    panels = probe_curves.panels({"none": lines[1:], "random": lines}, floors)
    assert [p.title for p in panels] == [
        "action: named rightly",
        "action: log-probability",
        "shirt: named rightly",
    ]
    accuracy, logs, shirt = panels
    (drawn,) = accuracy.lines  # `none` was not trained: no curve
    assert (drawn.name, drawn.steps, drawn.values) == ("random", (0, 4), (0.25, 0.5))
    assert drawn.low == pytest.approx((0.15, 0.4)) and accuracy.is_share
    assert [level.value for level in accuracy.levels] == [0.3]
    assert np.isnan(logs.lines[0].values[0]) and logs.lines[0].values[1] == -1.0
    assert not logs.lines[0].low and not shirt.levels
    assert probe_curves.panels({"random": [update]}, {}) == ()


@pytest.mark.slow
def test_they_are_events_of_their_own(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(
        events.Events, "_write", lambda _, *event: written.append(event)
    )
    monkeypatch.setattr(events.Events, "flush", lambda _: None)
    events.Events(tmp_path).add([line(4, "action", "joint", 0.5, -1.0)])
    names = ("probe/action/joint/accuracy", "probe/action/joint/log_probability")
    assert written == [("dev", 4, dict(zip(names, (0.5, -1.0), strict=True)))]
