"""The records of a config's own data: made once, under a name of their settings."""

import dataclasses
import pathlib

import pytest

from mmdiffmask import configure, toy_records

TINY = pathlib.Path(__file__).resolve().parents[1] / "tpu_configs" / "tiny.py"


def test_what_is_there_is_not_made_again(tiny_records):
    folder = pathlib.Path(tiny_records)
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    root = folder.parents[2]
    assert toy_records.make(configure.load(TINY), root) == tiny_records
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == times


def test_the_folder_is_named_by_what_records_depend_on(tmp_path, monkeypatch):
    from preprocessing import build as preprocessing

    monkeypatch.setattr(preprocessing, "build_toy", lambda *_, **__: None)
    experiment = configure.load(TINY)

    def name(*changes):
        changed = configure.override(experiment, list(changes))
        return toy_records.make(changed, tmp_path)

    first = name()
    assert pathlib.Path(first).parts[-3:-1] == ("data", pathlib.Path(first).parts[-2])
    assert name("training.steps=3", "masking.strategy=random") == first
    assert name("data.cols=12") != first != name("data.toy.seed=1")


def test_a_config_without_data_says_so(tmp_path):
    experiment = configure.load(TINY)
    data = dataclasses.replace(experiment.data, toy=None)
    with pytest.raises(ValueError, match="config tiny has no data of its own.*--data"):
        toy_records.make(dataclasses.replace(experiment, data=data), tmp_path)
