"""Settings: names, ranges, types, files."""

import dataclasses
import json

import pytest

from mmdiffmask import config, configure

BASE = config.Experiment("x")


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("masking.strateg=random", ["masking.strateg", "masking.strategy"]),
        ("maskin.ratio=0.3", ["maskin.ratio", "masking.ratio"]),
        ("masking.ratio=2", ["masking.ratio=2.0", "0.01", "0.95"]),
        ("masking.ratio=nan", ["masking.ratio=nan", "0.01", "0.95"]),
        ("training.steps=-1", ["training.steps=-1", "at least 0"]),
        ("training.steps=1.5", ["training.steps=1.5", "whole number"]),
        ("training.early_stopping=maybe", ["true or false"]),
        ("masking.mask_unit=cel", ["patch, cell", "did you mean cell"]),
        ("masking.boxes=face", ["any more; use masking.strategy=difference-face"]),
        ("masking.boxes=bodies", ["masking.boxes=bodies: no such setting any more"]),
        ("masking", ["name=value"]),
        ("masking=3", ["masking.strategy"]),
        ("name.first=3", ["no settings inside"]),
        ("data.rows=7", ["data.rows=7", "even"]),
        ("model.hidden=100", ["multiple of"]),
        ("training.streams=text,sound", ["text, audio"]),
    ],
)
def test_a_wrong_setting_says_what_is_right(assignment, words):
    with pytest.raises(ValueError) as error:
        configure.override(BASE, [assignment])
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_settings_are_replaced_by_type():
    changed = configure.override(
        BASE,
        [
            "masking.strategy=random",
            "training.lr=1e-3",
            "training.early_stopping=false",
            "training.streams=text",
            "probe.l2=0.1,1",
            "masking.label_embeddings=none",
        ],
    )
    assert changed.masking.strategy == "random"
    assert changed.training.lr == 1e-3
    assert changed.training.early_stopping is False
    assert changed.training.streams == ("text",)
    assert changed.probe.l2 == (0.1, 1.0)
    assert changed.masking.label_embeddings is None
    assert dataclasses.replace(changed, masking=BASE.masking) != BASE


@pytest.mark.parametrize("toy", [None, config.Toy(train_clips=3)])
def test_settings_survive_json(toy):
    experiment = dataclasses.replace(BASE, data=config.Data(toy=toy))
    text = json.dumps(configure.settings(experiment))
    assert configure.from_settings(json.loads(text)) == experiment


def test_settings_of_another_version_are_refused():
    values = configure.settings(BASE)
    del values["masking.ratio"]
    with pytest.raises(ValueError, match=r"masking\.ratio is missing"):
        configure.from_settings(values)


def test_a_fingerprint_changes_with_any_setting():
    seen = {configure.fingerprint(BASE)}
    for assignment in ("name=y", "data.rows=14", "masking.anchors=face", "probe.l2=1"):
        seen.add(configure.fingerprint(configure.override(BASE, [assignment])))
    assert len(seen) == 5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "no such config file"),
        ("x = 1", "get_config"),
        ("def get_config(): return 3", "get_config"),
        ("def get_config(: pass", "does not run"),
        ("import no_such_module_at_all", "does not run"),
        (
            "from mmdiffmask import config\n"
            "def get_config():\n"
            "    return config.Experiment('x', masking=config.Masking(ratio=7.0))",
            "masking.ratio=7.0",
        ),
    ],
)
def test_a_wrong_config_file_is_one_sentence(tmp_path, text, words):
    path = tmp_path / "c.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError) as error:
        configure.load(path)
    assert words in str(error.value) and "\n" not in str(error.value)
