"""Fine-tuned runs as rows: told apart by the weights that they start from."""

import dataclasses
import shutil

import pytest
from helpers import tiny_labels as tiny

from mmdiffmask import __main__, config, configure, inputs, pretrain
from mmdiffmask.experiment import plan, result_file
from mmdiffmask.run_folder import RunFolder

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.make(tmp_path_factory.mktemp("labels"))


@pytest.fixture(scope="module")
def starts(folder, tmp_path_factory):
    """Two runs, and the first of them in another place."""
    runs = tmp_path_factory.mktemp("runs")
    tiny.pretrained(folder, runs / "a")
    tiny.pretrained(folder, runs / "b", "training.lr=0.01")
    shutil.copytree(runs / "a", runs / "moved")
    return runs


@pytest.mark.slow
def test_rows_that_differ_by_their_start_are_other_runs(folder, starts, tmp_path):
    names = ("a", "b", "moved")
    rows = (f"{name}: model.start={starts / name}" for name in names)
    experiment = dataclasses.replace(
        tiny.experiment(folder), rows=(*rows, "last: model.start_step=last", "none:")
    )
    claims = {
        row: pretrain.claim(settings, str(folder), 0)
        for row, settings in configure.rows(experiment).items()
    }
    run = RunFolder(tmp_path / "run")
    run.claim(claims["a"])
    with pytest.raises(ValueError, match=r"other content of model.start: \S*/a \(sha"):
        run.belongs_to(claims["b"])
    assert run.belongs_to(claims["moved"])  # the same weights
    for row in ("last", "none"):
        with pytest.raises(ValueError, match=r"model.start\S*=\S+, not \S+;"):
            run.belongs_to(claims[row])
    # An earlier version knew the first weights as a whole: then the path counts too.
    entries = dict(claims["a"].inputs)
    del entries[inputs.START_RUN]
    earlier = dataclasses.replace(claims["a"], inputs=entries)
    assert inputs.first_difference(earlier, claims["a"]) is None
    assert "model.start=" in inputs.first_difference(earlier, claims["b"])
    assert not {"model.start", "model.start_step"} & set(config.UNCOUNTED)


def write_config(path, folder, changes, **fields):
    """A config file of the tiny run with these changes."""
    path.write_text(
        "import dataclasses\n\nfrom helpers import tiny_labels\n\n\n"
        "def get_config():\n"
        f"    plain = tiny_labels.experiment({str(folder)!r}, *{changes!r})\n"
        f"    return dataclasses.replace(plain, **{fields!r})\n"
    )
    return str(path)


@pytest.mark.slow
def test_no_seed_is_trained_where_another_is_of_another_start(
    folder, starts, tmp_path, capsys
):
    runs = tmp_path / "runs"
    path = write_config(tmp_path / "tiny.py", folder, ())
    experiment = tiny.experiment(folder, f"model.start={starts / 'b'}")
    RunFolder(runs / "seed-1").claim(pretrain.claim(experiment, str(folder), 1))
    command = ["finetune", path, "--data", str(folder), "--seeds", "2"]
    command += ["--start", str(starts / "a"), "--workdir", str(runs)]
    assert __main__.main(command) == 2
    assert "seed-1: holds a run with other content of model.start" in (
        capsys.readouterr().err
    )
    assert not (runs / "seed-0").exists()


@pytest.mark.slow
def test_pages_and_features_of_runs_of_texts_are_one_sentence(
    folder, starts, tmp_path, capsys
):
    tuned = tmp_path / "tuned"
    tiny.tune(folder, tuned, "training.steps=2")
    for run, way in (
        (tuned, f"finetuned {tuned} prints"),
        (starts / "a", "probe CONF"),
    ):
        assert __main__.main(["report", str(run)]) == 2
        reason = capsys.readouterr().err
        assert "is a run of texts, and report shows runs of video; " in reason
        assert f"mmdiffmask {way}" in reason and reason.count("\n") == 1
    out = str(tmp_path / "x.npz")
    assert __main__.main(["features", str(tuned), "--out", out]) == 2
    assert "is a run of texts, and features writes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("tuned:", "row tuned: probe.folds=3: this run knows the labels that"),
        (
            "selective: terms.classify=0; terms.mlm=1; training.stop_on=loss;"
            " masking.strategy=selective",
            "since masking.strategy=selective goes by the labels",
        ),
    ],
)
def test_no_folds_of_rows_that_know_their_labels(folder, row, reason):
    experiment = tiny.experiment(folder, "probe.folds=3")
    none = "none: training.steps=0"
    known = dataclasses.replace(experiment, rows=(none, row))
    with pytest.raises(ValueError, match=reason):
        plan.plan(known, "runs")
    apart = configure.override(known, ["probe.folds=0"])
    assert len(plan.plan(apart, "runs")) == 2
    assert plan.plan(dataclasses.replace(experiment, rows=(none,)), "runs")


@pytest.mark.long
def test_an_experiment_of_fine_tuned_rows(folder, starts, tmp_path, capsys):
    """Two starts are two runs, whose frozen features are read out on test."""
    changes = ("training.steps=3", "probe.l2=1", "probe.bootstrap=200")
    rows = tuple(f"{name}: model.start={starts / name}" for name in ("a", "b"))
    contrasts = ("a:label - b:label",)
    path = write_config(
        tmp_path / "rows.py", folder, changes, rows=rows, contrasts=contrasts
    )
    command = ["experiment", path, "--data", str(folder)]
    command += ["--workdir", str(tmp_path / "runs")]
    assert __main__.main(command) == 0
    assert "label/macro-f1" in capsys.readouterr().out
    a, b = (
        result_file.read(tmp_path / "runs" / "results" / row / "seed=0.json").claim
        for row in ("a", "b")
    )
    for name in (inputs.START, inputs.START_RUN):
        assert a.inputs[name]["sha256"] != b.inputs[name]["sha256"]
    # A result is of its own start alone.
    swapped = tuple(row.replace("/a", "/c").replace("/b", "/a") for row in rows)
    path = write_config(
        tmp_path / "swapped.py", folder, changes, rows=(rows[0], swapped[1])
    )
    assert __main__.main(["experiment", path, *command[2:], "--plan"]) == 2
    assert "is of a run with other content of model.start" in capsys.readouterr().err
