"""Finished runs: which folders hold one, and what is read of it."""

import pytest
from helpers import fake_runs

from mmdiffmask import demo, run_files
from mmdiffmask.masking import summary
from mmdiffmask.probe import finished
from mmdiffmask.run_folder import RunFolder

DEMO = demo.get_config()


@pytest.fixture
def folder(tmp_path):
    for row in ("none", "random"):
        fake_runs.write_run(tmp_path / row, DEMO, row, "", seed=2)
    fake_runs.write_run(tmp_path / "seed=1" / "none", DEMO, "none", "", seed=1)
    return tmp_path


def names(folders):
    return [folder.path.name for folder in folders]


def test_runs_are_a_folder_or_those_in_it(folder):
    (folder / "random" / run_files.DATA).unlink()
    (folder / "notes").mkdir()
    done, others = finished.folders(folder)
    assert (names(done), names(others)) == (["none"], ["random"])
    for path in (folder / "none", folder / "seed=1"):
        done, others = finished.folders(path)
        assert (names(done), others) == (["none"], [])
    with pytest.raises(ValueError, match="nowhere: no such folder"):
        finished.folders(folder / "nowhere")


def test_a_run_is_read_as_it_was_written(folder):
    run = finished.read(RunFolder(folder / "random"))
    assert (run.name, run.seed) == ("random masking", 2)
    assert run.is_trained and run.is_hiding
    assert run.lines == fake_runs.metrics_lines("random")
    assert run.masks == summary.MaskSummary(**fake_runs.MASKS)
    assert run.clips == {"pretraining": 20, "dev": 12}
    assert run.probe.step == fake_runs.STEPS[-1]
    start = finished.read(RunFolder(folder / "none"))
    assert start.name == finished.NOT_TRAINED and start.masks is None
    assert not start.is_trained and not start.is_hiding


def test_a_run_without_probe_and_a_damaged_one(folder):
    (folder / "none" / run_files.PROBE).unlink()
    assert finished.read(RunFolder(folder / "none")).probe is None
    (folder / "none" / run_files.METRICS).write_text("")
    with pytest.raises(ValueError, match="its metrics.jsonl is empty or gone"):
        finished.read(RunFolder(folder / "none"))
    (folder / "random" / run_files.DATA).write_text('{"dogs": 1}')
    with pytest.raises(ValueError, match="a file of this run is damaged"):
        finished.read(RunFolder(folder / "random"))
