"""Masks of corpora: whole words, a quarter of the pieces, no order or file in them."""

import dataclasses

import numpy as np
import pytest
from helpers import wordpieces

from mmdiffmask.data import texts as corpora
from mmdiffmask.data import tokenizer_files
from mmdiffmask.masking import text_strategies
from mmdiffmask.text import masks

TEXTS = [
    "Inhibition of the kinase, and of cells (EGFR).",
    "We parse sentences; grammar is lexical.",
    "...",
    "one",
    " ".join(f"word{i}" for i in range(60)),
]
NAMES = sorted(text_strategies.REGISTRY)


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    words = ["the", "of", "cells", "sentences", "lexical", "word", "is", "we"]
    return tokenizer_files.load(wordpieces.vocab_txt(folder, words))


def recipe(name, **more):
    return masks.Recipe(text_strategies.find(name), SETTINGS, **more)


def by_word(passages):
    """A number of each word that follows from the word alone."""
    return [np.array([len(word) / 9 for word in p.words]) for p in passages]


def by_piece(passages):
    """The same of each piece."""
    return [(1.0 + p.ids % 7) / (1.0 + p.ids % 7).sum() for p in passages]


def by_entity(passages):
    """Two words in a row that begin with c, k or w are an entity."""
    return [
        np.array([i // 2 if w[0] in "ckw" else -1 for i, w in enumerate(p.words)], int)
        for p in passages
    ]


SETTINGS = text_strategies.Settings(
    similarity=lambda words: np.array([len(word) / 9 for word in words]),
    n_texts=9,
    texts_with={"of": 9, "is": 3},
    attention=by_piece,
    likeness=by_word,
    entities=by_entity,
    importance=by_piece,
    gain=by_piece,
    excess=by_word,
)


def drawn(pieces, texts, how, length=64):
    windows = pieces.windows(texts, length)
    choice = masks.vocabulary(pieces, how.replacement)
    return list(masks.of_texts(texts, windows, how, choice))


def by_text(rows, texts):
    return {
        (texts[row.place.text], row.place.window, row.place.draw): (
            row.is_masked.tolist(),
            row.ids.tolist(),
        )
        for row in rows
    }


@pytest.mark.parametrize("name", NAMES)
def test_masks_depend_on_seed_strategy_and_text_alone(pieces, name):
    how = recipe(name, draws=2)
    all_rows = by_text(drawn(pieces, TEXTS, how), TEXTS)
    turned = TEXTS[3:] + TEXTS[:3]
    assert by_text(drawn(pieces, turned, how), turned) == all_rows
    for text in TEXTS:  # alone, as a file of one line
        alone = by_text(drawn(pieces, [text], how), [text])
        assert alone.items() <= all_rows.items()
    again = dataclasses.replace(how, seed=1)
    assert by_text(drawn(pieces, TEXTS, again), TEXTS) != all_rows
    first = {key: row for key, row in all_rows.items() if key[2] == 0}
    assert {key: row for key, row in all_rows.items() if key[2]} != first
    once = dataclasses.replace(how, draws=1)
    assert by_text(drawn(pieces, TEXTS, once), TEXTS) == first


@pytest.mark.parametrize("name", NAMES)
def test_labels_fit_what_is_hidden(pieces, name):
    how = recipe(name, replacement="mask")
    for row in drawn(pieces, TEXTS, how):
        ids = row.window.ids
        assert (row.ids[~row.is_masked] == ids[~row.is_masked]).all()
        assert (row.ids[row.is_masked] == pieces.mask).all()
        passages = masks.passages(TEXTS[row.place.text], [row.window])
        unit = how.strategy.units_of(passages, SETTINGS)[0].unit_of_piece
        for u in set(unit[unit >= 0].tolist()):
            assert len({*row.is_masked[unit == u].tolist()}) == 1
        assert not row.is_masked[unit < 0].any()
        assert row.is_masked.any() == (unit >= 0).any()


def test_windows_are_masked_one_by_one(pieces):
    rows = drawn(pieces, TEXTS[-1:], recipe("random-word"), length=20)
    assert [row.place.window for row in rows] == list(range(len(rows)))
    assert len(rows) > 3 and len({tuple(row.is_masked) for row in rows}) > 1


def test_only_a_kind_of_replacement_that_there_is(pieces):
    with pytest.raises(ValueError, match="must be one of bert, mask, random"):
        masks.vocabulary(pieces, "noise")


@pytest.mark.parametrize("corpus", ["chemprot", "acl_arc"])
def test_a_quarter_of_the_pieces_of_real_corpora(corpus, shared, tmp_path):
    rows = corpora.Texts([shared / "data" / corpus / "train.jsonl"])
    texts = [rows[i].text for i in range(0, len(rows), 4)]
    pieces = tokenizer_files.load(wordpieces.byte_level(tmp_path, texts, size=4000))
    windows = pieces.windows(texts, 256)
    for name in NAMES:
        how = recipe(name)
        choice = masks.vocabulary(pieces, how.replacement)
        found = list(masks.of_texts(texts, windows, how, choice))
        hidden = sum(int(row.is_masked.sum()) for row in found)
        share = hidden / sum(len(row.is_masked) for row in found)
        if how.strategy.limit is None:
            assert abs(share - 0.25) < 0.005, (name, share)
        else:
            assert share < 0.2, (name, share)
