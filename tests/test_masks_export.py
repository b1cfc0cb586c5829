"""Masks in a file: what a run hides, read back, gives the same losses bit for bit."""

import json
import pathlib

import numpy as np
import pytest

from mmdiffmask import __main__ as command_line
from mmdiffmask import configure, examples, inputs, masks, pretrain, starts
from mmdiffmask.data import cache
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import journal

ROOT = pathlib.Path(__file__).resolve().parents[1]
TINY = str(ROOT / "tpu_configs" / "tiny.py")


@pytest.fixture(scope="module")
def exported(tmp_path_factory, tiny_records):
    path = tmp_path_factory.mktemp("masks") / "difference.npz"
    words = [tiny_records, "--out", str(path), "--config", TINY, "--seed", "3"]
    assert command_line.main(["masks", "export", *words]) == 0
    return path


def test_a_file_has_the_masks_of_every_example(exported, tiny_records, monkeypatch):
    experiment, corpus = configure.load(TINY), Corpus.of(tiny_records)
    source, entries = corpus.source("train"), corpus.entries("train")
    with np.load(exported) as stored:
        arrays = dict(stored)
    assert sorted(arrays) == ["grid", "ids", "masks", "seed", "strategy"]
    assert arrays["ids"].tolist() == [entry.example_id for entry in entries]
    assert (arrays["grid"].tolist(), int(arrays["seed"])) == ([6, 10], 3)
    assert arrays["masks"].shape == (len(source), 7, 60)
    batch = masks.bare_batches(experiment, source, [2, 5], ["difference"], 3)
    drawn = masks.of_batch(experiment, "difference", batch["difference"], 3)
    np.testing.assert_array_equal(drawn.is_masked, arrays["masks"][[2, 5]])
    # In parts, the last of which is filled up with others: the same bytes.
    monkeypatch.setattr(masks, "EXPORTED_AT_ONCE", len(source) - 5)
    again = exported.with_name("again.npz")
    masks.export(experiment, corpus, str(again), "train", 3)
    assert again.read_bytes() == exported.read_bytes()


def test_masks_by_attention_are_those_of_the_checkpoint(
    tiny_records, tmp_path, monkeypatch
):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    settings = ["model.checkpoint=small", "model.vocabulary=512"]
    settings += ["masking.strategy=attnmask"]
    words = [tiny_records, "--out", str(tmp_path / "masks.npz"), "--config", TINY]
    words += ["--model", "small", *(x for one in settings for x in ("--set", one))]
    assert command_line.main(["masks", "export", *words]) == 0
    stored = np.load(tmp_path / "masks.npz")
    loaded = configure.resize(configure.load(TINY), "small")
    experiment = configure.override(loaded, settings)
    corpus = Corpus.of(tiny_records)
    source = corpus.source("train")
    attention = starts.attention(experiment, corpus, "train", ["attnmask"])
    batches = masks.bare_batches(experiment, source, [3], ["attnmask"], 0, attention)
    mean = batches["attnmask"].unit_score[0]
    assert len(set(mean[:20].tolist())) == 20, "attention tells cells apart"
    drawn = masks.of_batch(experiment, "attnmask", batches["attnmask"], 0)
    np.testing.assert_array_equal(drawn.is_masked[0], stored["masks"][3])
    assert starts.attention(experiment, corpus, "train", ["random"]) is None


def losses(folder):
    """What the journal says of losses, but for the kinds of held-out masks."""
    lines = journal.read_metrics(RunFolder(folder))
    return [
        json.dumps({k: v for k, v in line.items() if k != "masks"})
        for line in lines
        if line.get("metric", "loss") == "loss" and line["kind"] in ("train", "eval")
        if line.get("masks") not in ("random", "difference-face")
    ]


@pytest.mark.slow
def test_exported_masks_give_the_same_loss(exported, tiny_records, tmp_path):
    seed_0 = tmp_path / "seed_0.npz"  # as held-out masks are drawn
    words = [tiny_records, "--out", str(seed_0), "--config", TINY]
    assert command_line.main(["masks", "export", *words]) == 0
    common = ["--data", tiny_records, "--set", "training.steps=2"]
    common += ["--set", "training.eval_every=2", "--set", "training.warmup_steps=1"]
    rows = {
        "own": ["--set", "masking.held_out=random"],
        "file": [
            *("--set", "masking.held_out=random"),
            *("--set", "masking.strategy=file-masks"),
            *("--set", f"masking.masks={seed_0}"),
        ],
    }
    for name, changes in rows.items():
        command = ["pretrain", TINY, "--workdir", str(tmp_path / name)]
        assert command_line.main([*command, *common, *changes]) == 0
    own, of_file = (losses(tmp_path / name) for name in rows)
    assert own == of_file and len(own) > 4
    # A page shows both; clips outside the file can be looked at.
    assert command_line.main(["report", str(tmp_path)]) == 0
    experiment = configure.load(TINY)
    val = Corpus.of(tiny_records).source("val")
    row = examples.make_row(experiment.data, None, val)(0)
    assert (row.unit_of_token == -1).all() and row.is_patch_valid.any()


def test_what_lies_in_the_file_is_part_of_the_run(exported, tiny_records, tmp_path):
    path = tmp_path / "masks.npz"

    def claim(content):
        path.write_bytes(content)
        settings = ["masking.strategy=file-masks", f"masking.masks={path}"]
        experiment = configure.override(configure.load(TINY), settings)
        return pretrain.claim(experiment, tiny_records, 0)

    first, again = claim(exported.read_bytes()), claim(exported.read_bytes())
    assert "masking.masks" in first.inputs
    assert inputs.first_difference(first, again) is None
    other = inputs.first_difference(first, claim(b"other"))
    assert other.startswith("other content of masking.masks: ")


def test_an_example_that_lacks_stops_a_run_before_it_begins(
    exported, tiny_records, tmp_path, capsys
):
    with np.load(exported) as stored:
        arrays = dict(stored)
    few = tmp_path / "few.npz"
    np.savez(few, **arrays | {k: arrays[k][:-3] for k in ("ids", "masks")})
    words = ["--workdir", str(tmp_path / "run"), "--data", tiny_records]
    words += ["--set", "masking.strategy=file-masks", "--set", f"masking.masks={few}"]
    assert command_line.main(["pretrain", TINY, *words]) == 2
    assert "few.npz (masking.masks): lacks 1 of the examples" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, message",
    [
        (["--out", "masks.npy"], "--out masks.npy: needs an .npz file"),
        (["--split", "test"], "test"),
        (["--seed", "-1"], "--seed -1: must be from 0"),
        (["--set", "masking.masks=per_epoch"], "a file holds one mask an example"),
        (["--set", "masking.strategy=mst"], "need the weights that a run starts from"),
        (
            ["--set", "masking.strategy=mst", "--set", "masking.attention=live"],
            "masking.attention=live: a file holds masks by the first weights alone",
        ),
        (["--set", "masking.masks=dynamic"], "or an .npz file of masks; did you mean"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(
    words, message, tiny_records, tmp_path, capsys
):
    out = ["--out", str(tmp_path / "masks.npz")]
    command = ["masks", "export", tiny_records, "--config", TINY, *out, *words]
    assert command_line.main(command) == 2
    assert message in capsys.readouterr().err
