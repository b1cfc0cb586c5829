"""Features of labelled texts: by windows of all widths, and by equal texts once."""

import dataclasses

import numpy as np
import pytest
from helpers import labelled_texts, tiny_text

from mmdiffmask.models.bert import checkpoints
from mmdiffmask.probe import feature_parts, frozen, texts

ROWS = labelled_texts.rows(labelled_texts.files())
LENGTHS = (1, 5, 12, 40)  # words; the last makes two windows of `tiny_text.TOKENS`


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A tiny encoder, frozen."""
    folder = tiny_text.make(tmp_path_factory.mktemp("encoder"))
    experiment = tiny_text.experiment(folder)
    params = checkpoints.load(folder / tiny_text.MODEL).params
    return frozen.Frozen(experiment, "texts", None, "weights", lambda: params)


def test_features_do_not_depend_on_the_texts_beside(encoder, monkeypatch):
    words = tiny_text.WORDS
    each = [" ".join(words[i % len(words)] for i in range(n)) for n in LENGTHS]
    rows = ROWS.some(np.arange(len(ROWS)) < 5)
    rows = dataclasses.replace(
        rows, texts=(each[3], each[0], each[2], each[1], each[0])
    )
    # Parts end within a width, and widths within a part.
    monkeypatch.setattr(feature_parts, "PART", 2)
    together = texts.encode(encoder, rows)
    assert together.clip == rows.names
    monkeypatch.setattr(texts, "WIDTH", tiny_text.TOKENS)
    for i in range(5):
        alone = texts.encode(encoder, rows.some(np.arange(5) == i))
        for name in ("mean", "cls"):
            np.testing.assert_allclose(
                together.vectors[name][i], alone.vectors[name][0], atol=1e-5
            )
    mean = together.vectors["mean"]
    np.testing.assert_array_equal(mean[1], mean[4])
    assert np.abs(mean[0] - mean[2]).max() > 0.01 < np.abs(mean[1] - mean[2]).max()
