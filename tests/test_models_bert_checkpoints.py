"""Folders with weights of BERT and RoBERTa: read, written, refused."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from flax import traverse_util
from helpers import torch_pickles

from mmdiffmask.models import safetensors, weight_folder
from mmdiffmask.models.bert import checkpoints, model, names
from mmdiffmask.models.bert import settings as bert_settings
from mmdiffmask.models.bert.settings import BertSettings

BERT = BertSettings(
    family="bert",
    vocabulary=11,
    hidden=6,
    layers=1,
    heads=2,
    intermediate=8,
    positions=9,
    labels=3,
)
ROBERTA = dataclasses.replace(BERT, family="roberta", kinds=1, pad=1)
PARTS = ("pooler", "mlm", "classifier", "next_sentence")
WORDS = "embeddings.word_embeddings.weight"


def start(settings, parts=PARTS):
    return checkpoints.start(jax.random.key(0), settings, parts)


def folder_of(path, arrays, settings=BERT, file="model.safetensors", **changes):
    path.mkdir(parents=True, exist_ok=True)
    config = bert_settings.to_config(settings) | changes
    (path / "config.json").write_text(json.dumps(config))
    if file.endswith(".safetensors"):
        safetensors.write(path / file, arrays)
    elif file:
        (path / file).write_bytes(arrays)
    return path


def same(one, other):
    one, other = (traverse_util.flatten_dict(x.params, sep="/") for x in (one, other))
    assert one.keys() == other.keys()
    for path, value in one.items():
        np.testing.assert_array_equal(value, other[path], err_msg=path)


@pytest.mark.parametrize("settings", [BERT, ROBERTA], ids=lambda s: s.family)
def test_the_tree_is_what_the_model_has(settings):
    """`names` lists parameters; what the modules make is the same."""
    module = model.Bert(settings)
    pieces = model.Pieces(np.ones((1, 4), int), np.ones((1, 4), bool))

    def every(module, pieces):
        seq = module(pieces).seq
        return module.pool(seq), module.predict(seq), module.classify(seq)

    for tied in (True, False):
        module = model.Bert(dataclasses.replace(settings, is_tied=tied))
        tree = jax.eval_shape(
            lambda m=module: m.init(jax.random.key(0), pieces, method=every)
        )
        shapes = traverse_util.flatten_dict(tree["params"], sep="/")
        expected = names.shapes(module.settings, (*names.BODY, *PARTS[:3]))
        assert {path: leaf.shape for path, leaf in shapes.items()} == expected


@pytest.mark.parametrize("settings", [BERT, ROBERTA], ids=lambda s: s.family)
def test_what_is_written_is_read_under_hugging_face_s_names(settings, tmp_path):
    whole = start(settings)
    checkpoints.save(tmp_path, whole)
    back = checkpoints.load(tmp_path, needed=("mlm", "classifier", "pooler"))
    assert back.settings == settings and back.style == (f"{settings.family}.", False)
    same(back, whole)
    stored = safetensors.read(tmp_path / "model.safetensors")
    body, head = (
        f"{settings.family}.encoder.layer.0.",
        {
            "bert": "cls.predictions.transform.dense.weight",
            "roberta": "lm_head.dense.weight",
        },
    )
    kernel = whole.params["encoder"]["layer_00"]["output"]["kernel"]
    np.testing.assert_array_equal(stored[f"{body}output.dense.weight"], kernel.T)
    assert stored[f"{body}attention.self.query.weight"].shape == (6, 6)
    assert {head[settings.family], f"{settings.family}.{WORDS}"} <= stored.keys()
    again = tmp_path / "again"
    checkpoints.save(again, back)
    for file in ("model.safetensors", "config.json"):
        assert (again / file).read_bytes() == (tmp_path / file).read_bytes()


def test_names_without_a_prefix_stay_so(tmp_path):
    body = dataclasses.replace(start(BERT, ("pooler",)), style=names.Style())
    checkpoints.save(tmp_path, body)
    assert WORDS in safetensors.read(tmp_path / "model.safetensors")
    back = checkpoints.load(tmp_path)
    assert back.style == ("", False) and "mlm" not in back.params
    same(back, body)


@pytest.mark.parametrize("form", torch_pickles.FORMS)
def test_torch_s_forms(form, tmp_path):
    whole = start(ROBERTA)
    content = torch_pickles.FORMS[form](checkpoints.arrays_of(whole))
    folder_of(tmp_path, content, ROBERTA, "pytorch_model.bin")
    same(checkpoints.load(tmp_path), whole)


@pytest.fixture
def shards(tmp_path):
    """A folder with two shards."""
    arrays = checkpoints.arrays_of(start(BERT))
    first, second = "a-1-of-2.safetensors", "a-2-of-2.safetensors"
    file_of = {n: first if i % 2 else second for i, n in enumerate(arrays)}
    folder_of(tmp_path, arrays, file="")
    for file in (first, second):
        part = {n: x for n, x in arrays.items() if file_of[n] == file}
        safetensors.write(tmp_path / file, part)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": file_of}))
    return tmp_path


def test_shards(shards):
    same(checkpoints.load(shards), start(BERT))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: None, "has no weight_map"),
        (lambda m: m | {"x": "other.safetensors"}, "names a file other.safetensors"),
        (lambda m: m | {"x": "../a-1-of-2.safetensors"}, "which is not beside it"),
        (lambda m: m | {"x": "a-1-of-2.safetensors"}, "the first that differs is x"),
    ],
)
def test_shards_that_do_not_fit_their_index(shards, change, reason):
    path = shards / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    path.write_text(json.dumps({"weight_map": change(index["weight_map"])}))
    with pytest.raises(ValueError, match=reason):
        checkpoints.load(shards)


def test_the_hub_s_cache(tmp_path, monkeypatch):
    hub = tmp_path / "hub"
    cached = hub / "models--some--model"
    arrays = checkpoints.arrays_of(start(BERT))
    folder_of(cached / "snapshots" / "0a1b", arrays)
    monkeypatch.setenv("HF_HUB_CACHE", str(hub))
    for name in (cached, cached / "snapshots" / "0a1b", "some/model"):
        same(checkpoints.load(name), start(BERT))
    (cached / "snapshots" / "2c3d").mkdir()
    with pytest.raises(ValueError, match="2 snapshots and no usable refs/main"):
        checkpoints.load("some/model")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("0a1b")
    same(checkpoints.load("some/model"), start(BERT))
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    same(checkpoints.load("some/model"), start(BERT))
    with pytest.raises(ValueError, match="no model of that name in .*nothing is fetch"):
        checkpoints.load("other/model")


def test_old_names_counters_and_repeated_decoders(tmp_path):
    whole = start(BERT)
    arrays = checkpoints.arrays_of(whole)
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): value
        for name, value in arrays.items()
    }
    assert "bert.embeddings.LayerNorm.gamma" in old
    old["bert.embeddings.position_ids"] = np.arange(9)[None]
    old["cls.predictions.decoder.weight"] = old[f"bert.{WORDS}"]
    old["cls.predictions.decoder.bias"] = old["cls.predictions.bias"]
    same(checkpoints.load(folder_of(tmp_path, old)), whole)


def test_untied_decoders(tmp_path):
    untied = dataclasses.replace(BERT, is_tied=False)
    arrays = checkpoints.arrays_of(start(untied))
    back = checkpoints.load(folder_of(tmp_path / "a", arrays, untied))
    assert not back.settings.is_tied
    same(back, start(untied))
    folder = folder_of(tmp_path / "b", arrays, BERT)
    with pytest.raises(ValueError, match="says tie_word_embeddings; set that to false"):
        checkpoints.load(folder)
    config = json.loads((folder / "config.json").read_text())
    del config["tie_word_embeddings"]
    (folder / "config.json").write_text(json.dumps(config))
    assert not checkpoints.load(folder).settings.is_tied


@pytest.mark.parametrize("settings", [BERT, ROBERTA], ids=lambda s: s.family)
def test_the_bias_of_an_untied_decoder_is_the_one_that_is_read(settings, tmp_path):
    untied = dataclasses.replace(settings, is_tied=False)
    arrays, name = checkpoints.arrays_of(start(untied)), names.mlm(settings)
    arrays[name.decoder_bias] = np.arange(11, dtype=np.float32)
    back = checkpoints.load(folder_of(tmp_path, arrays, untied))
    assert back.params["mlm"]["bias"].tolist() == list(range(11))
    assert not back.params["mlm"]["unread_bias"].any()
    seq = np.zeros((1, 1, 6), np.float32)
    params = {"params": back.params}
    logits = model.Bert(untied).apply(params, seq, method="predict")
    np.testing.assert_allclose(logits[0, 0], np.arange(11), atol=1e-5)
    checkpoints.save(tmp_path / "again", back)
    again = safetensors.read(tmp_path / "again" / "model.safetensors")
    assert again.keys() == arrays.keys()
    np.testing.assert_array_equal(again[name.decoder_bias], arrays[name.decoder_bias])
    with pytest.raises(ValueError, match=f"1 extra: {name.decoder_bias}"):
        del arrays[name.kernel]
        checkpoints.load(folder_of(tmp_path / "tied", arrays, settings))


@pytest.mark.parametrize("settings", [BERT, ROBERTA], ids=lambda s: s.family)
def test_where_config_is_silent_the_classifier_says_how_many_labels(settings, tmp_path):
    folder_of(tmp_path, checkpoints.arrays_of(start(settings)), settings)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["num_labels"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert checkpoints.load(tmp_path).settings.labels == 3
    names_of_two = {"id2label": {"0": "a", "1": "b"}}
    (tmp_path / "config.json").write_text(json.dumps(config | names_of_two))
    with pytest.raises(ValueError, match=r"2 of another shape: classifier.*\[3"):
        checkpoints.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_type": "gpt2"}, "model_type is 'gpt2', but only bert and roberta"),
        ({"model_type": None}, "model_type is None"),
        ({"hidden_size": "6"}, "hidden_size is '6', not a whole number"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        ({"num_attention_heads": 4}, "4 attention heads do not divide"),
        ({"hidden_act": "gleu"}, "hidden_act: activation 'gleu' is not known"),
        ({"layer_norm_eps": None}, "layer_norm_eps is None, no number"),
        ({"position_embedding_type": "relative_key"}, "'relative_key', and such a"),
        ({"is_decoder": True}, "is_decoder is True"),
    ],
)
def test_configs_of_other_models_are_refused(tmp_path, changes, reason):
    folder_of(tmp_path, {}, **changes)
    with pytest.raises(ValueError, match=reason) as error:
        checkpoints.load(tmp_path)
    assert str(error.value).startswith(str(tmp_path / "config.json"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda a: a.pop("bert.pooler.dense.bias"),
            "1 of 32 arrays missing: bert.pool",
        ),
        (lambda a: a.update(more=np.zeros(2)), "1 extra: more$"),
        (
            lambda a: a.update({"classifier.bias": np.zeros(2, np.float32)}),
            r"1 of another shape: classifier.bias \[2\] instead of \[3\]",
        ),
        (lambda a: a["classifier.bias"].fill(np.nan), "classifier.bias holds NaN"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, change, reason):
    arrays = {n: np.array(x) for n, x in checkpoints.arrays_of(start(BERT)).items()}
    change(arrays)
    with pytest.raises(ValueError, match=reason) as error:
        checkpoints.load(folder_of(tmp_path, arrays))
    assert "\n" not in str(error.value)


def test_folders_without_a_model_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"config\.json: cannot be read"):
        checkpoints.load(tmp_path)
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(ValueError, match="no object of names and values"):
        checkpoints.load(tmp_path)
    folder_of(tmp_path, {}, file="")
    with pytest.raises(ValueError, match="holds no weights: model.safetensors"):
        checkpoints.load(tmp_path)
    with pytest.raises(ValueError, match="a model is a folder with config.json"):
        checkpoints.load(tmp_path / "config.json")
    arrays = checkpoints.arrays_of(start(BERT, ("pooler",)))
    with pytest.raises(
        ValueError, match="5 of 28 arrays missing: cls.predictions.bias"
    ):
        checkpoints.load(folder_of(tmp_path, arrays), needed=("mlm",))
    assert weight_folder.find(tmp_path) == tmp_path / "model.safetensors"


def test_a_tied_head_for_an_encoder_without_one(tmp_path):
    bare = dataclasses.replace(start(BERT, ("pooler",)), style=names.Style())
    whole = checkpoints.with_mlm(bare)
    assert checkpoints.with_mlm(whole) is whole and "mlm" not in bare.params
    seq = np.random.default_rng(0).normal(size=(1, 2, 6)).astype(np.float32)
    call = model.Bert(whole.settings).apply
    logits = call({"params": whole.params}, seq, method="predict")
    wide = np.asarray(jax.nn.gelu(seq, approximate=False))
    unit = (wide - wide.mean(-1, keepdims=True)) / wide.std(-1, keepdims=True)
    table = whole.params["embeddings"]["word"]
    np.testing.assert_allclose(logits, unit @ table.T, atol=1e-5)
    checkpoints.save(tmp_path, whole)
    assert f"bert.{WORDS}" in safetensors.read(tmp_path / "model.safetensors")
    same(checkpoints.load(tmp_path, needed=("mlm",)), whole)
