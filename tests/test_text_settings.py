"""Settings of runs of texts beside those of video, and of earlier versions."""

import dataclasses
import json
import pathlib

import pytest

from mmdiffmask import config, configure, inputs, settings_json

GOLDEN = pathlib.Path(__file__).parent / "golden/settings_of_video_runs.json"
TEXT = config.Experiment(
    "x",
    data=config.Texts(train=("a.jsonl", "b.txt"), dev=("c.jsonl",)),
    model=config.Encoder(hidden_dropout=0.2),
    masking=config.Masking(
        strategy="random-word", held_out=("random-word",), anchors=()
    ),
    terms=config.Terms(patches=0.0, mlm=1.0),
)
VIDEO = config.Experiment("x", data=config.Data(toy=config.Toy()))


def test_settings_of_texts_are_checked_and_survive_json():
    configure.check(TEXT)
    stored = json.loads(json.dumps(configure.settings(TEXT)))
    assert stored["data.family"] == "text"
    assert configure.from_settings(stored) == TEXT
    assert configure.from_settings(config.ADDED | stored) == TEXT
    assert '"family": "text"' in settings_json.to_json(TEXT)


def test_settings_of_texts_can_be_set():
    changed = configure.override(
        TEXT,
        [
            "data.train=one.txt,two.txt",
            "data.dev=",
            "data.length=64",
            "model.hidden_dropout=none",
            "model.warm_head_steps=3",
            "masking.replacement=random",
            "masking.anchors=",
            "terms.mlm=0.5",
        ],
    )
    assert changed.data.train == ("one.txt", "two.txt")
    assert changed.data.dev == () == changed.masking.anchors
    assert changed.model.hidden_dropout is None
    assert changed.masking.replacement == "random"
    assert changed.is_hiding
    off = configure.override(changed, ["terms.mlm=0"])
    assert not off.is_hiding


@pytest.mark.parametrize(
    ("experiment", "assignment", "words"),
    [
        (TEXT, "data.rows=4", "data.rows: is a setting of runs of video alone"),
        (TEXT, "data.toy.seed=4", "data.toy.seed: is a setting of runs of video"),
        (VIDEO, "data.length=64", "data.length: is a setting of runs of text alone"),
        (VIDEO, "model.warm_head_lr=1", "is a setting of runs of text alone"),
        (TEXT, "masking.box_share=0.5", "masking.box_share=0.5: plays a part in runs"),
        (TEXT, "training.streams=text", "runs of video alone"),
        (TEXT, "reserve.clips=4", "reserve.clips=4: plays a part in runs of video"),
        (TEXT, "terms.patches=1", "terms.patches=1.0: is a term of runs of video"),
        (VIDEO, "terms.mlm=1", "terms.mlm=1.0: is a term of runs of text"),
        (VIDEO, "masking.replacement=mask", "runs of text alone"),
        (VIDEO, "masking.reference=bert", "masking.reference=bert: plays a part in"),
        (VIDEO, "masking.anchors=", "masking.anchors=(): must be a tuple, not empty"),
        (TEXT, "data.train=", "data.train=(): must be a tuple, not empty"),
        (TEXT, "data.lenght=64", "did you mean data.length?"),
        (TEXT, "data.family=video", "data.family=video: must be one of text"),
        (TEXT, "model.attention_dropout=1", "out of range: must be from 0.0 to 0.9"),
    ],
)
def test_a_setting_of_the_other_family_is_refused(experiment, assignment, words):
    with pytest.raises(ValueError) as error:
        configure.override(experiment, [assignment])
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_data_and_model_are_of_one_family():
    mixed = dataclasses.replace(TEXT, model=config.Model())
    with pytest.raises(ValueError, match=r"data of text: set model=config.Encoder"):
        configure.check(mixed)
    mixed = dataclasses.replace(VIDEO, model=config.Encoder())
    with pytest.raises(ValueError, match=r"data of video: set model=config.Model"):
        configure.check(mixed)
    with pytest.raises(ValueError, match="--model tiny: is a model of video"):
        configure.resize(TEXT, "tiny")


def test_what_ran_before_there_were_texts_still_fits():
    """Settings of a run of the toy experiment, as config.json had them."""
    stored = json.loads(GOLDEN.read_text())
    assert not {"data.family", "model.family", "terms.mlm"} & stored.keys()
    before = inputs.Claim.from_json({"seed": 0, "settings": stored})
    experiment = configure.from_settings(before.settings)
    now = inputs.Claim(configure.settings(experiment), 0)
    assert inputs.first_difference(before, now) is None
    new = configure.settings(experiment).keys() - stored.keys()
    assert {"data.family", "masking.replacement", "terms.mlm"} <= new
    assert new <= config.ADDED.keys()
    content = json.loads(settings_json.to_json(experiment))
    assert "family" not in content["data"].keys() | content["model"].keys()
    assert "mlm" not in content["terms"]
    data = settings_json.to_json(experiment.data)
    assert "family" not in json.loads(data)


def test_configs_of_a_corpus_say_only_what_differs():
    """Length and what is held out; files, labels and signs are the same for all."""
    folder = pathlib.Path(__file__).resolve().parents[1] / "tpu_configs"
    names = ("acl_arc_minilm", "acl_arc_minilm_labels", "acl_arc")
    pretrained, labels, roberta = (configure.load(folder / f"{n}.py") for n in names)
    assert (pretrained.data.length, pretrained.data.dev_share) == (64, 0.0)
    assert labels.data == dataclasses.replace(pretrained.data, dev_share=0.1)
    assert roberta.data == dataclasses.replace(pretrained.data, length=128)
    assert labels.model == dataclasses.replace(
        pretrained.model, hidden_dropout=0.1, attention_dropout=0.1
    )
    assert (labels.terms.mlm, labels.rows) == (0.0, ("start:",))
    assert labels.masking == config.Masking() and labels.probe == config.Probe()
