"""A tiny experiment of texts: from its config to its page, and from results alone."""

import json
import shutil

import numpy as np
import pytest
from helpers import labelled_texts

from mmdiffmask import __main__ as command_line
from mmdiffmask.experiment import result_file

CONFIG = """
from mmdiffmask import config


def get_config():
    return config.Experiment(
        name="tiny-texts",
        data=config.Texts(
            dev=("dev.jsonl",), test=("test.jsonl",), length=24, dev_share=0.2
        ),
        model=config.Encoder(checkpoint={checkpoint!r}, warm_head_steps=2),
        masking=config.Masking(
            strategy="random-word", held_out=("random-word", "random-piece")
        ),
        terms=config.Terms(patches=0.0, mlm=1.0),
        training=config.Training(
            steps=3, batch_size=8, lr=1e-3, warmup_steps=1, eval_every=3,
            eval_clips=8, save_every=3, early_stopping=False,
        ),
        probe=config.Probe(folds=3, l2=(1.0,), bootstrap=200, checkpoint="last"),
        rows=("none: training.steps=0", "random-word: masking.strategy=random-word"),
        contrasts=("random-word:label/macro-f1 - none:label/macro-f1",),
    )
"""


@pytest.mark.slow
def test_from_the_config_to_the_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    corpus = labelled_texts.folder(tmp_path / "corpus")
    config = tmp_path / "texts.py"
    config.write_text(CONFIG.format(checkpoint=str(corpus / "bert")))
    kept = tmp_path / "kept"
    words = ["experiment", str(config), "--data", str(corpus), "--results", str(kept)]
    assert command_line.main([*words, "--workdir", "run"]) == 0
    shown = capsys.readouterr().out
    assert "bag of words: label/macro-f1 100.0" in shown
    result = result_file.read(kept / "random-word" / "seed=0.json")
    assert result.source == result_file.TEXTS and result.seconds["probe"] > 0
    # The first word drawn is hidden whole, and these texts are short.
    assert 0.2 < result.masks.hidden_share < 0.35
    assert result.masks.cut_words == 0 and result.masks.in_words == 1
    losses = [x for x in result.held_out if x["metric"] == "loss"]
    assert {(x["step"], x["masks"]) for x in losses} == {
        (0, "random-word"), (0, "random-piece"),
        (3, "random-word"), (3, "random-piece"),
    }  # fmt: skip
    assert {"loss_content", "loss_function"} <= {x["metric"] for x in result.held_out}
    label = result.probe.labels["label"]
    assert np.mean(label.heads["mean"].is_right) > 0.6 and len(label.clips) == 110
    page = (tmp_path / "run" / "tables.html").read_text()
    assert "Figure 3" in page and "not compared: one seed" in page
    # With the results alone nothing is trained, and the same comes out.
    assert command_line.main([*words, "--workdir", "elsewhere"]) == 0
    again = (tmp_path / "elsewhere" / "tables.html").read_text()
    assert again == page
    assert not (tmp_path / "elsewhere" / "none").exists()
    # A result fits its texts alone.
    other = shutil.copytree(corpus, tmp_path / "other")
    rows = (other / "train.jsonl").read_text().splitlines()
    changed = json.loads(rows[0]) | {"label": "b"}
    (other / "train.jsonl").write_text("\n".join([json.dumps(changed), *rows[1:]]))
    assert command_line.main([*words[:3], str(other), *words[4:], "--plan"]) == 2
    assert "other content of records" in capsys.readouterr().err
