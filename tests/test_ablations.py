"""tpu_configs/ablations.py: every row can run, and changes what its name says."""

import dataclasses
import hashlib
import json
import pathlib
import shutil
import types

import numpy as np
import pytest
from helpers import config_file, quick

from mmdiffmask import __main__ as command_line
from mmdiffmask import build, configure, run_files, toy_records, video_family, weights
from mmdiffmask.data import questions, tokenizers
from mmdiffmask.masking import anchors

ROOT = pathlib.Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "tpu_configs"
ABLATIONS = configure.load(CONFIGS / "ablations.py")
TINY = configure.load(CONFIGS / "tiny.py")


def test_every_row_can_be_planned():
    build.check(ABLATIONS)  # as a plan of the experiment does
    rows = configure.rows(ABLATIONS)
    assert list(rows)[:4] == ["none", "replay", "random", "base"]
    base = configure.settings(ABLATIONS)
    for name, row in rows.items():
        settings = configure.settings(row)
        changed = {name for name in base if base[name] != settings[name]}
        boxes = {"masking.strategy", "masking.anchors"}
        assert changed <= boxes if len(changed) > 1 else len(changed) <= 1, name
    assert len(set(rows.values())) == len(rows)


def test_what_the_paper_leaves_open_is_varied():
    varied = {
        name
        for row in ABLATIONS.rows
        for name in (
            item.split("=")[0].strip() for item in row.split(":")[1].split(";")
        )
    }
    assert varied >= {
        *("masking.anchors", "masking.similarity", "masking.ratio"),
        *("masking.mask_unit", "training.mask_site", "masking.selection"),
        *("masking.box_share", "masking.fill", "training.target", "masking.masks"),
    }


def test_vectors_are_those_of_the_shipped_start():
    path = ABLATIONS.masking.label_embeddings
    vectors = anchors.load_embeddings(path)
    labels = ("person", "face", "ball", "crate", "kite", "cup", "star", "ladder")
    assert set(vectors) == set(labels)
    encode = tokenizers.load(ABLATIONS.data.tokenizer).encode_plain
    spans = questions.spans(types.SimpleNamespace(answers=labels), encode)
    params = {"params": weights.load("small", ABLATIONS.model)}
    expected = video_family.model(ABLATIONS.model).apply(params, spans, method="span")
    for label, vector in zip(labels, np.asarray(expected), strict=True):
        np.testing.assert_allclose(vectors[label], vector, rtol=1e-4, atol=1e-5)


def test_nearest_and_centroid_weigh_labels_apart():
    masking = ABLATIONS.masking
    vectors = anchors.load_embeddings(masking.label_embeddings)
    labels = ("star", "ladder", "crate", *masking.anchors)
    nearest, centroid = (
        anchors.label_similarity(labels, masking.anchors, vectors, reduce)
        for reduce in ("nearest", "centroid")
    )
    assert (nearest[3:] == 1).all() and (centroid[3:] < 1).all()
    assert len(set(nearest[:3].round(3))) == 3 and (nearest[:3] > 0).all()


def small():
    """The ablations with the tiny config's updates, and true boxes of its clips."""
    toy = dataclasses.replace(TINY.data.toy, boxes="true")
    training = dataclasses.replace(
        TINY.training, steps=2, warmup_steps=1, eval_every=2, eval_clips=4
    )
    return dataclasses.replace(
        ABLATIONS,
        data=dataclasses.replace(TINY.data, toy=toy),
        training=training,
        reserve=dataclasses.replace(ABLATIONS.reserve, clips=2),
        probe=TINY.probe,
    )


def code():
    """A name of the code that the rows run."""
    folders = ("mmdiffmask", "preprocessing", "tpu_configs")
    paths = [path for name in folders for path in (ROOT / name).rglob("*.py")]
    content = (path.read_bytes() for path in sorted([*paths, pathlib.Path(__file__)]))
    return hashlib.sha256(b"".join(content)).hexdigest()[:16]


def kept(cache):
    """A folder that stays until the code changes: what was run in it is not run again.

    Args:
      cache: pytest's.
    """
    folder = cache.mkdir(f"ablations-{code()}")
    for path in folder.parent.glob("ablations-*"):
        if path != folder:
            shutil.rmtree(path)
    return folder


@pytest.mark.long
def test_every_row_runs(request, monkeypatch):
    """Stopped at any moment, it goes on with the rows that are left.

    Rows that differ in their masks alone have one program, which is compiled once.
    """
    for name, value in quick.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    ablations, folder = small(), kept(request.config.cache)
    records, runs = toy_records.make(ablations, folder), folder / "runs"
    path = config_file.write(folder / "ablations.py", ablations)
    words = ["experiment", path, "--data", records, "--workdir", str(runs)]
    assert command_line.main([*words, "--workers", "2"]) == 0
    made_of = {
        row: json.loads((runs / row / run_files.MASKS).read_text())
        for row in configure.rows(ablations)
        if row not in ("none", "replay")
    }
    base = made_of["base"]
    assert base["whole_box"] + base["cut_box"] > 0.01
    assert made_of["ratio 60 %"]["hidden_share"] > 2 * base["hidden_share"]
    assert command_line.main(["report", str(runs)]) == 0
    html = (runs / run_files.REPORT).read_text()
    assert "Held-out masks differ between the rows" in html
