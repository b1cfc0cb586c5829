"""Checkpoints against the model: what fits comes back exactly, the rest is named."""

import dataclasses
import re
import shutil

import jax
import numpy as np
import pytest
from helpers.checkpoints import SETTINGS, STEP, assert_same, finetuned, params

from mmdiffmask import config
from mmdiffmask.grid import PatchGrid
from mmdiffmask.models.reserve import (
    checkpoints,
    official_file,
    official_writer,
    orbax_folder,
    sizes,
)
from mmdiffmask.models.reserve import model as reserve


@pytest.fixture
def path(tmp_path):
    official_writer.write(tmp_path / "made", params(), STEP)
    return tmp_path / "made"


def complaint(tree, settings=SETTINGS, *args, **kwargs) -> str:
    with pytest.raises(ValueError) as error:
        checkpoints.fit(tree, "FILE", settings, *args, **kwargs)
    text = str(error.value)
    assert text.startswith("FILE: ") and len(text) < 2000 and "\n" not in text
    return text


def without(tree, path):
    leaves = official_file.flatten(tree)
    del leaves[path]
    return official_file.unflatten(leaves)


def test_a_file_comes_back_as_its_float16_rounding(path):
    found = checkpoints.load(path, SETTINGS, tokens=128)
    rounded = jax.tree.map(lambda x: x.astype(np.float16).astype(np.float32), params())
    assert_same(found, rounded)
    official_writer.write(path, found, STEP)
    assert_same(checkpoints.load(path, SETTINGS), rounded)


def test_the_references_file_fits_the_model_of_its_sizes(shared):
    golden = shared / "golden/reserve/tiny"
    stored = checkpoints.read(golden)
    found = sizes.of_params(stored.params)
    settings = sizes.to_settings(found)
    assert (
        found
        == sizes.of_settings(settings)
        == {
            **sizes.of_settings(config.MODELS["small"]),
            "vocabulary": 32768,
        }
    )
    loaded = checkpoints.load(golden, settings, tokens=32768)
    assert_same(loaded, jax.tree.map(lambda x: x.astype(np.float32), stored.params))


def test_missing_extra_and_wrong_are_told_together():
    tree = without(params(), "vision_encoder/transformer/final_ln/bias")
    tree["head"]["new"] = np.zeros(3, np.float16)
    tree["joint_transformer"]["pre_ln"]["scale"] = np.zeros(7, np.float16)
    text = complaint(tree)
    total = len(sizes.shapes(SETTINGS))
    assert f"1 of {total} arrays missing: vision_encoder/transformer/final_ln/b" in text
    assert "1 extra: head/new" in text
    assert (
        "1 of another shape: joint_transformer/pre_ln/scale [7] instead of [32]" in text
    )


def test_another_size_is_named_with_the_settings_it_needs():
    text = complaint(params(), config.MODELS["tiny"])
    assert "expected tiny (hidden 64), found what looks like tiny, but with" in text
    assert "hidden 32 instead of 64" in text
    assert (
        "which needs model.hidden=32 model.vocabulary=128 model.head_size=32 model.vis"
        in text
    )
    assert re.search(r"\d+ of another shape: .*, \.\.\.$", text)


def test_another_vocabulary_is_its_own_sentence():
    other = dataclasses.replace(SETTINGS, vocabulary=200)
    text = complaint(params(), other)
    assert "vocabulary of 128 tokens, the model one of 200; use --set model.voc" in text
    text = complaint(params(), SETTINGS, tokens=64)
    assert "vocabulary of 128 tokens, but the tokenizer has 64" in text
    assert "tokenizer has 129" in complaint(params(), SETTINGS, tokens=129)
    checkpoints.fit(params(), "FILE", SETTINGS, tokens=100)  # a table padded to 64s


def test_parts_are_dropped_and_kept_on_purpose():
    whole = params()
    body = checkpoints.fit(whole, "FILE", SETTINGS, checkpoints.BODY)
    assert sorted(body) == sorted(checkpoints.BODY)
    tree = finetuned()
    assert sorted(checkpoints.fit(tree, "F", SETTINGS, checkpoints.BODY)) == sorted(
        body
    )
    with_proj = checkpoints.fit(tree, "FILE", SETTINGS, checkpoints.FINETUNED)
    assert with_proj["proj"]["kernel"].shape == (32, 1)
    text = complaint(tree)
    assert "has lost head and span_encoder: ask for the body only" in text
    assert "arrays missing: head/bias, head/kernel, span_encoder/" in text
    assert "proj/kernel" in complaint(whole, SETTINGS, checkpoints.FINETUNED)
    assert "1 extra: stem" in complaint(body | {"stem": np.ones(2)}, SETTINGS, [*body])


def test_values_that_are_not_finite_are_noticed():
    tree = params()
    tree["head"]["bias"][3] = np.nan
    assert "head/bias holds NaN or infinity" in complaint(tree)


def test_official_sizes():
    """reserve.md sections 1 and 5."""
    for name, count, leaves, plain, with_state in (
        ("base", 316_412_163, 449, 632_841_376, 1898.5e6),
        ("large", 853_117_955, 689, 1_706_262_154, 5118.8e6),
    ):
        shapes = sizes.shapes(config.MODELS[name])
        assert sum(int(np.prod(s)) for s in shapes.values()) == count
        assert len(shapes) == leaves
        assert sizes.official_bytes(config.MODELS[name]) == plain
        found = sizes.official_bytes(config.MODELS[name], has_optimizer=True)
        assert abs(found - with_state) < 0.05e6


def test_a_cut_file_of_an_official_width_names_the_whole_size(tmp_path):
    tree = {"audio_encoder": {"embedding": {"bias": np.zeros(768, np.float16)}}}
    tree["head"] = {"kernel": np.zeros((768, 768), np.float16)}
    official_writer.write(tmp_path / "base", tree)
    data = (tmp_path / "base").read_bytes()
    (tmp_path / "base").write_bytes(data[:9000])
    with pytest.raises(ValueError) as error:
        checkpoints.read(tmp_path / "base")
    assert "breaks off in params/head/kernel" in str(error.value)
    assert "official base file without optimizer has 632,841,376" in str(error.value)


def test_shapes_are_those_of_the_model():
    size = (PatchGrid(2, 2), 1, 1, 16)
    tree = jax.eval_shape(
        lambda: reserve.init(jax.random.key(0), SETTINGS, *size, initialiser="lecun")
    )
    leaves = official_file.flatten(tree).items()
    assert sizes.shapes(SETTINGS) == {path: leaf.shape for path, leaf in leaves}


def test_named_sizes_are_recognised():
    assert sizes.describe(sizes.of_settings(config.MODELS["large"])) == (
        "large (hidden 1024)"
    )
    other = sizes.of_settings(config.MODELS["base"]) | {"joint_layers": 3}
    assert sizes.nearest(other) == ("base", {"joint_layers": 12})
    assert sizes.of_params({"a": np.zeros(3)}) == {}
    with pytest.raises(ValueError, match="multiple of"):
        sizes.to_settings({"hidden": 48, "head_size": 32})


def test_a_folder_gives_back_the_bits(tmp_path):
    for dtype in (np.float16, np.float32):
        folder = tmp_path / np.dtype(dtype).name
        orbax_folder.write(folder, params(dtype=dtype), STEP)
        found = checkpoints.read(folder)
        assert_same(found.params, params(dtype=dtype))
        assert found.step == STEP
    with pytest.raises(ValueError, match="exists already"):
        orbax_folder.write(tmp_path, params())


def test_damaged_and_foreign_folders_are_named(tmp_path):
    with pytest.raises(ValueError, match="found a folder of something else"):
        checkpoints.read(tmp_path)
    tree = {"head": {"bias": np.ones(4, np.float32)}}
    for name in ("_METADATA", "manifest.ocdbt", "d"):
        folder = tmp_path / name
        orbax_folder.write(folder, tree)
        lost = folder / name
        shutil.rmtree(lost) if lost.is_dir() else lost.unlink()
        with pytest.raises(ValueError, match="cannot be read; is it complete") as error:
            checkpoints.read(folder)
        assert str(folder) in str(error.value) and len(str(error.value)) < 400


def test_shipped_names(monkeypatch, tmp_path, path):
    monkeypatch.setitem(checkpoints.SHIPPED, "small", tmp_path / "none" / "small")
    with pytest.raises(ValueError, match="shipped file .*none/small is missing"):
        checkpoints.load("small", SETTINGS)
    monkeypatch.setitem(checkpoints.SHIPPED, "small", path)
    assert checkpoints.resolve("small") == str(path)
    assert checkpoints.read("small").step == STEP
    assert checkpoints.resolve("./small") == "./small"


def test_a_bucket_without_its_package_is_a_sentence(monkeypatch):
    def refuse(self):
        raise ImportError("Please install gcsfs to access Google Storage")

    monkeypatch.setattr(type(checkpoints.epath.Path("gs://b/x")), "is_dir", refuse)
    with pytest.raises(ValueError, match="gs://b/x: cannot be reached: Please inst"):
        checkpoints.read("gs://b/x")
