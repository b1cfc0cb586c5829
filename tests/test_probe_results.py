"""What probe.json holds comes back as it was written, and damage is named."""

import dataclasses
import json

import pytest
from helpers import fake_runs

from mmdiffmask.probe import results
from mmdiffmask.run_files import PROBE
from mmdiffmask.run_folder import RunFolder


def probed(row, **changes):
    values = {
        "key": results.make_key(probe={"l2": (0.1, 1.0)}, weights="1" * 8),
        "labels": fake_runs.labelled(row),
        "step": 90,
        "questions": fake_runs.asked(row),
    }
    return results.Probed(**values | changes)


@pytest.mark.parametrize("row", ["none", "random"])
def test_what_is_written_comes_back(tmp_path, row):
    folder, told = RunFolder(tmp_path), {"tone": "tone: all alike"}
    assert results.read(folder) is None
    for wanted in (
        probed(row),
        probed(row, questions=None, left_out=told),
        probed(row, labels={}),
    ):
        results.write(folder, wanted)
        assert results.read(folder) == wanted


def test_the_file_lacks_what_is_not_there(tmp_path):
    folder = RunFolder(tmp_path)
    results.write(folder, probed("random", questions=None))
    found = json.loads(folder.at(PROBE).read_text())
    assert list(found) == ["key", "labels", "step"]
    label = found["labels"]["action"]
    assert list(label) == ["joint", "vit", "floors", "clips"]
    assert label["floors"] == {"chance": 0.25, "largest_class": 0.27, "n_classes": 4}
    assert found["key"]["probe"] == {"l2": [0.1, 1.0]}
    results.write(folder, probed("none"))
    asked = json.loads(folder.at(PROBE).read_text())["questions"]
    assert list(asked["read_outs"]["zero-shot"]) == ["is_right", "log_probability"]
    assert list(asked["read_outs"]["match"]) == ["l2", "is_right"]
    logs = [-0.25, None, *[-1.5] * 98]
    label = fake_runs.labelled("none")["action"]
    head = dataclasses.replace(label.heads["joint"], log_probability=logs)
    label = dataclasses.replace(label, heads={"joint": head})
    results.write(folder, probed("none", labels={"action": label}))
    content = json.loads(folder.at(PROBE).read_text())
    assert content["labels"]["action"]["joint"]["log_probability"] == logs
    assert results.read(folder).labels == {"action": label}


def test_a_key_of_an_earlier_version_differs(tmp_path):
    folder = RunFolder(tmp_path)
    results.write(folder, probed("none"))
    content = json.loads(folder.at(PROBE).read_text())
    content["key"] = {"probe": {}, "code": "of a version before"}
    folder.write(PROBE, content)
    assert results.read(folder).key == results.Key(probe={})


def test_a_label_without_read_outs_is_damage(tmp_path):
    folder = RunFolder(tmp_path)
    results.write(folder, probed("none"))
    content = json.loads(folder.at(PROBE).read_text())
    for name in ("joint", "vit"):
        del content["labels"]["action"][name]
    folder.write(PROBE, content)
    with pytest.raises(ValueError, match="probe.json: damaged .*read-outs of a label"):
        results.read(folder)


@pytest.mark.parametrize("part", ["key", "labels", "step"])
def test_damage_is_named_with_what_to_do(tmp_path, part):
    folder = RunFolder(tmp_path)
    results.write(folder, probed("none"))
    content = json.loads(folder.at(PROBE).read_text())
    del content[part]
    folder.write(PROBE, content)
    with pytest.raises(ValueError, match=f"probe.json: damaged .*{part}.*; delete it"):
        results.read(folder)
