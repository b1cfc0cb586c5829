"""Laws of every strategy of texts: whole units, the budget, static, Eq. 4 to 8."""

import numpy as np
import pytest
from helpers import wordpieces
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdiffmask.data import tokenizer_files
from mmdiffmask.masking import text_strategies
from mmdiffmask.text import masks

ROWS = text_strategies.REGISTRY.values()
NAMES = sorted(text_strategies.REGISTRY)
WORDS = ["the", "of", "kinase", "cells", "inhibitor", "we", "parse", "x7", ",", ";"]


def by_word(passages):
    return [np.array([len(word) / 9 for word in p.words]) for p in passages]


def by_piece(passages):
    values = [1.0 + p.ids % 7 for p in passages]
    return [value / value.sum() for value in values]


def by_entity(passages):
    """Words that begin with k or c; neighbours are one entity."""
    result = []
    for p in passages:
        is_entity = [word[0] in "kc" for word in p.words]
        starts = np.diff([False, *is_entity], prepend=0)[1:] > 0
        result.append(np.where(is_entity, np.cumsum(starts) - 1, -1).astype(int))
    return result


SETTINGS = text_strategies.Settings(
    similarity=lambda words: np.array([len(word) / 9 for word in words]),
    n_texts=9,
    texts_with={"the": 9, "of": 3},
    attention=by_piece,
    likeness=by_word,
    entities=by_entity,
    importance=by_piece,
    gain=by_piece,
    excess=lambda passages: [value - 2 / 9 for value in by_word(passages)],
)


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    return tokenizer_files.load(
        wordpieces.vocab_txt(tmp_path_factory.mktemp("bert"), WORDS[:4])
    )


def drawn(pieces, texts, name, **more):
    how = masks.Recipe(text_strategies.find(name), SETTINGS, **more)
    choice = masks.vocabulary(pieces, "mask")
    return list(masks.of_texts(texts, pieces.windows(texts, 64), how, choice))


def by_text(rows, texts):
    return {
        (texts[row.place.text], row.place.window): row.is_masked.tolist()
        for row in rows
    }


TEXT = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join)
TEXTS = st.lists(TEXT, min_size=1, max_size=6, unique=True)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=12)
@given(texts=TEXTS, seed=st.integers(0, 9), data=st.data())
def test_masks_are_whole_static_and_within_the_budget(pieces, name, texts, seed, data):
    strategy = text_strategies.find(name)
    rows = drawn(pieces, texts, name, seed=seed)
    turned = data.draw(st.permutations(texts))
    whole = by_text(rows, texts)
    assert by_text(drawn(pieces, turned, name, seed=seed), turned) == whole
    part = turned[: data.draw(st.integers(1, len(turned)))]  # as another file
    assert by_text(drawn(pieces, part, name, seed=seed), part).items() <= whole.items()
    for row in rows:
        (passage,) = masks.passages(texts[row.place.text], [row.window])
        units = strategy.units_of([passage], SETTINGS)[0].unit_of_piece
        hidden = [row.is_masked[units == u] for u in set(units[units >= 0].tolist())]
        assert all(h.all() or not h.any() for h in hidden)
        if strategy.units != "piece":  # words too, and no punctuation
            word = passage.word_of_piece
            taken = [row.is_masked[word == w] for w in range(len(passage.words))]
            assert all(t.all() or not t.any() for t in taken)
            assert not row.is_masked[word < 0].any()
        budget = max(1, round(0.25 * len(units)))
        budget = min(budget, strategy.limit or budget)
        count = int(row.is_masked.sum())
        assert count <= budget or sum(h.any() for h in hidden) == 1
        assert bool(count) == bool(hidden)
        left = budget - count  # nothing that still fits is left out
        assert all(h.any() or len(h) > left for h in hidden)


TEXT_OF_FREQUENCIES = "the kinase, cells of we parse; the x7 kinase"


def expected(name, passage):
    """The weight of each unit as the paper has it; each formula once more."""
    words = [*passage.words]
    length = np.array([len(word) for word in words], float)
    of_piece = np.append(length, 0)[passage.word_of_piece]
    attention = (1.0 + passage.ids % 7) / (1.0 + passage.ids % 7).sum()
    is_entity = np.array([word[0] in "kc" for word in words], float)
    first_of_entity = is_entity * [1, 1, 0, 1, 1, 1, 1, 1, 1]  # "kinase, cells" are one
    count = np.array([words.count(word) for word in words])
    having = np.array([{"the": 9, "of": 3}.get(word, 1) for word in words])
    return {
        "random-piece": np.ones(len(passage.ids)),  # Eq. 5
        "random-word": np.ones(len(words)),
        "difference-word": length,  # Eq. 4
        "difference-piece": of_piece,
        "tfidf": count * np.log(9 / having),
        "keywords": length,
        "attnmask": attention,  # Eq. 6
        "mst": 1 / attention,  # Eq. 7
        "entitybert": is_entity,
        "salient-span": first_of_entity,
        "selective": (attention == attention.max()).astype(float),
        "selective-eq8": attention,
        "excess": np.maximum(length - 2, 0),  # "we", "of", "x7" have none
    }[name]


@pytest.mark.parametrize("name", NAMES)
def test_the_first_unit_follows_its_weight(pieces, name):
    n = 6000
    rows = drawn(pieces, [TEXT_OF_FREQUENCIES], name, draws=n, ratio=0.01)
    (passage,) = masks.passages(TEXT_OF_FREQUENCIES, [rows[0].window])
    units = text_strategies.find(name).units_of([passage], SETTINGS)[0].unit_of_piece
    weight = expected(name, passage)
    share = np.zeros(len(weight))
    for row in rows:  # a budget of one piece: the first unit alone
        (unit,) = {*units[row.is_masked].tolist()}
        share[unit] += 1 / n
    np.testing.assert_allclose(
        share, weight / weight.sum(), atol=4 * np.sqrt(0.25 / n), err_msg=name
    )


def test_every_row_says_what_it_needs():
    """Without what a row needs it has no scores, and with it alone it has them."""
    passage = masks.Passage("a b", 0, np.arange(2), np.arange(2), ("a", "b"))
    fields = {"anchors": ("similarity",), "counts": ("n_texts", "texts_with")}
    fields["reference"] = ("excess",)
    for row in ROWS:
        names = [f for need in row.needs for f in fields.get(need, (need,))]
        enough = {name: getattr(SETTINGS, name) for name in names}
        alone = text_strategies.Settings(**enough)
        assert len(row.units_of([passage], alone)[0].score) == 2, row.name
        if row.needs:
            with pytest.raises((TypeError, AttributeError)):
                row.units_of([passage], text_strategies.Settings())
