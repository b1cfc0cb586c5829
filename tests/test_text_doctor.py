"""What `mmdiffmask doctor` says of a run of texts."""

import pytest
from helpers import tiny_labels as tiny

from mmdiffmask import __main__, doctor, label_vectors, machine


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.make(tmp_path_factory.mktemp("labels"))


def said(folder, tmp_path, monkeypatch, *changes):
    """Name -> the rest of a line; the last line has the name None."""
    monkeypatch.setattr(machine, "LEAST_S", 0.01)
    experiment = tiny.experiment(folder, *changes)
    *lines, last = doctor.look(experiment, str(tmp_path / "run"), str(folder))
    return dict(line.split(": ", 1) for line in lines) | {None: last}


CPT = ("terms.mlm=1", "terms.classify=0", "training.stop_on=loss")


def test_a_run_of_texts_that_lacks_nothing(folder, tmp_path, monkeypatch):
    lines = said(folder, tmp_path, monkeypatch, *CPT)
    assert lines[None] == "nothing is lacking"
    assert "bert of 2 layers of 16" in lines["start"]
    assert "no MLM head, so one is warmed up for 2 updates" in lines["start"]
    assert (
        "windows of 28 pieces, where the encoder has positions for 34"
        in (lines["settings"])
    )
    assert lines["train"].startswith("48 texts in ")
    assert "3 labels (" in lines["train"] and "theory 16" in lines["train"]
    n, _, _, _, held_out, *_ = lines["windows of texts"].split()
    assert 30 < int(n) < 48 and 0 < int(held_out) < 12  # a tenth of the distinct ones
    assert lines["updates"] == f"8 of 8, {64 / int(n):.1f} epochs"
    assert float(lines["input"].split()[0]) > 0 and f"{tmp_path}" in lines["space"]


def test_fine_tuning_counts_labelled_texts(folder, tmp_path, monkeypatch):
    changes = ("training.epochs=2", "training.eval_every_epochs=1")
    lines = said(folder, tmp_path, monkeypatch, *changes)
    assert lines[None] == "nothing is lacking" and "MLM" not in lines["start"]
    assert lines["labelled texts"].startswith("48 to train on, 16 held out")
    assert lines["updates"] == "12 of 8, 2.0 epochs"


@pytest.mark.parametrize(
    ("changes", "line", "reason", "lacking"),
    [
        (["model.checkpoint=no/bert"], "start", "no such folder", "encoder no/bert"),
        (["data.tokenizer=no.json"], "tokenizer", "no.json", "a tokenizer of the"),
        (["data.length=35"], "settings", "set data.length=34", "settings that fit"),
        (["masking.strategy=mst-x"], "settings", "texts have", "settings that fit"),
        (["masking.strategy=excess"], "settings", "needs a ref", "settings that fit"),
        (["data.train=absent.txt"], "texts", "no such file", "texts that can"),
        (["data.train=model/config.json"], "texts", "one JSON doc", "texts that can"),
        (["data.dev_share=0", "data.dev="], "texts", "names no file", "texts that"),
        (
            ["masking.background=no.tsv"],
            "masking.background",
            "which is not there",
            "masking.background",
        ),
        (
            ["masking.strategy=salient-span"],
            "masking.spans",
            "hides entities",
            "masking.spans",
        ),
    ],
)
def test_what_a_run_of_texts_lacks(
    folder, tmp_path, monkeypatch, changes, line, reason, lacking
):
    lines = said(folder, tmp_path, monkeypatch, *CPT, *changes)
    assert reason in lines[line]
    assert lines[None].startswith("lacking: ") and lacking in lines[None]


def test_labels_space_and_vectors_that_are_not_there(folder, tmp_path, monkeypatch):
    lines = said(folder, tmp_path, monkeypatch, "data.label_field=kind")
    assert lines["train"].endswith("no labels") and "has no 'kind'" in lines["texts"]
    monkeypatch.setattr(machine, "saved_bytes", lambda n: 10**18)
    monkeypatch.setattr(label_vectors, "folder", lambda: None)
    label_vectors.load.cache_clear()
    changes = ("masking.strategy=difference-word", "masking.anchors=")
    lines = said(folder, tmp_path, monkeypatch, *CPT, *changes)
    label_vectors.load.cache_clear()
    assert "pip install" in lines["vectors of words"]
    assert "vectors of words; " in lines[None] and "GB of space" in lines[None]


def test_the_command_takes_a_config_of_texts(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(machine, "LEAST_S", 0.01)
    path = tmp_path / "tiny.py"
    path.write_text(
        "from helpers import tiny_labels\n\n\ndef get_config():\n"
        f"    return tiny_labels.experiment({str(folder)!r})\n"
    )
    command = ["doctor", str(path), "--workdir", str(tmp_path)]
    assert __main__.main([*command, "--data", str(folder)]) == 0
    assert capsys.readouterr().out.endswith("nothing is lacking\n")
    monkeypatch.chdir(tmp_path)  # texts are looked for where a run would
    assert __main__.main(command) == 0
    assert "texts: ./train.jsonl: no such file" in capsys.readouterr().out
