"""Fine-tuned runs as rows: told apart by the weights that they start from."""

import dataclasses
import shutil

import pytest
from helpers import tiny_labels as tiny

from mmdiffmask import __main__, config, configure, inputs, pretrain
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


def test_no_seed_is_trained_where_another_is_of_another_start(
    folder, starts, tmp_path, capsys
):
    path, runs = tmp_path / "tiny.py", tmp_path / "runs"
    path.write_text(
        "from helpers import tiny_labels\n\n\ndef get_config():\n"
        f"    return tiny_labels.experiment({str(folder)!r})\n"
    )
    experiment = tiny.experiment(folder, f"model.start={starts / 'b'}")
    RunFolder(runs / "seed-1").claim(pretrain.claim(experiment, str(folder), 1))
    command = ["finetune", str(path), "--data", str(folder), "--seeds", "2"]
    command += ["--start", str(starts / "a"), "--workdir", str(runs)]
    assert __main__.main(command) == 2
    assert "seed-1: holds a run with other content of model.start" in (
        capsys.readouterr().err
    )
    assert not (runs / "seed-0").exists()
