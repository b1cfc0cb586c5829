"""The records of a config's own data: made once, under a name of their settings."""

import dataclasses
import json
import pathlib

import pytest

from mmdiffmask import configure, settings_json, toy_records
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.report import collect

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
    assert name("data.toy.boxes=detected") == first != name("data.toy.boxes=true")


def test_a_setting_that_came_later_renames_nothing():
    """What earlier versions made of the same settings is found again."""
    experiment = configure.load(TINY)
    true = configure.override(experiment, ["data.toy.boxes=true"])

    def toy(experiment, path):
        node = experiment
        for name in path:
            node = getattr(node, name)
        content = json.loads(settings_json.to_json(node))
        for name in ("data", "toy")[len(path) :]:
            content = content[name]
        return content

    for path in ((), ("data",), ("data", "toy")):
        assert "boxes" not in toy(experiment, path) and "seed" in toy(experiment, path)
        assert toy(true, path)["boxes"] == "true"
    adopted = dataclasses.replace(
        experiment, data=dataclasses.replace(experiment.data, toy=None)
    )
    assert json.loads(settings_json.to_json(adopted))["data"]["toy"] is None
    with pytest.raises(ValueError, match="data.toy.boxes=truth: must be one of"):
        configure.override(experiment, ["data.toy.boxes=truth"])


def test_true_boxes_are_those_that_were_rendered(tmp_path):
    changes = ["data.toy.boxes=true", "data.toy.train_clips=2", "data.toy.val_clips=1"]
    changes += ["data.toy.boxed_clips=1"]
    experiment = configure.override(configure.load(TINY), changes)
    folder = pathlib.Path(toy_records.make(experiment, tmp_path))
    lines = (folder.parent / "raw" / "boxes.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    corpus = Corpus.of(str(folder))
    source = corpus.source("train")
    records = [source[i] for i in range(len(corpus.entries("train")))]
    assert {record.is_boxed for record in records} == {True, False}
    for record in records:
        if not record.is_boxed:
            assert not len(record.boxes)
            continue
        number = {round(3 * t) + 1 for t in record.frame_time_s}
        true = [r for r in rows if r["video"] == record.clip and r["frame"] in number]
        expected = sorted((r["label"], r["track"], *r["xyxy"]) for r in true)
        boxes = record.boxes
        found = zip(boxes.label, boxes.track, boxes.xyxy_px, strict=True)
        assert sorted((name, t, *xyxy) for name, t, xyxy in found) == expected
        assert set(boxes.kind) == {"body", "face", "object"}
        assert (boxes.score == 1).all() and set(boxes.source) == {"file"}
    assert "with the boxes of boxes.jsonl" in collect._describe(
        corpus.manifest.settings
    )
    raw = folder.parent / "raw"
    before = {p: p.stat().st_mtime_ns for p in raw.rglob("*")}
    lost = configure.override(experiment, ["data.toy.lost_boxes=1"])
    assert toy_records.folder_of(lost, tmp_path) != folder
    bare = Corpus.of(toy_records.make(lost, tmp_path))
    assert {p: p.stat().st_mtime_ns for p in raw.rglob("*")} == before
    source = bare.source("train")
    records = [source[i] for i in range(len(bare.entries("train")))]
    assert {record.is_boxed for record in records} == {True, False}
    assert not any(len(record.boxes) for record in records)
    assert "boxes_with_faults.jsonl" in collect._describe(bare.manifest.settings)


def test_only_true_boxes_have_faults(tmp_path):
    for name in toy_records.FAULTS:
        wrong = configure.override(configure.load(TINY), [f"data.toy.{name}=0.5"])
        with pytest.raises(ValueError, match=f"toy.{name}=0.5: only true boxes have"):
            toy_records.make(wrong, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_config_without_data_says_so(tmp_path):
    experiment = configure.load(TINY)
    data = dataclasses.replace(experiment.data, toy=None)
    with pytest.raises(ValueError, match="config tiny has no data of its own.*--data"):
        toy_records.make(dataclasses.replace(experiment, data=data), tmp_path)
