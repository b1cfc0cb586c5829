"""Masks of texts by hand and by law: whole units, the budget, what stands there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdiffmask.masking import text_strategies, words
from mmdiffmask.types import MaskInputs

KEY = jax.random.key(0)


def drawn(units, weight, budget, keys):
    """(k, n) True where hidden, one row a key."""
    units, weight = jnp.array(units), jnp.array(weight, jnp.float32)
    return np.asarray(jax.vmap(lambda k: words.draw(k, weight, units, budget))(keys))


def test_a_word_that_does_not_fit_is_skipped_and_the_first_is_always_taken():
    units = [0, 0, 0, 1, -1, 2, 2]
    rows = drawn(units, [0, 1, 1, 0, 0, 0, 0], 2, jax.random.split(KEY, 50))
    shapes = {tuple(row.astype(int)) for row in rows}
    # The words of one and of two pieces have weight; the other one does not fit.
    assert shapes == {(0, 0, 0, 1, 0, 0, 0), (0, 0, 0, 0, 0, 1, 1)}
    alone = drawn(units, [1, 0, 0, 0, 0, 0, 0], 2, jax.random.split(KEY, 20))
    assert all(row.tolist() == [1, 1, 1, 0, 0, 0, 0] for row in alone)


def test_words_of_weight_0_come_last_and_all_0_is_uniform():
    keys = jax.random.split(KEY, 4000)
    units = [0, 1, 2, 3, -1]
    both = drawn(units, [0, 1, 0, 0, 0], 2, keys)
    assert both[:, 1].all() and both.sum(1).tolist() == [2] * 4000
    np.testing.assert_allclose(both.mean(0), [1 / 3, 1, 1 / 3, 1 / 3, 0], atol=0.03)
    alike = drawn(units, [0, 0, 0, 0, 0], 1, keys).mean(0)
    np.testing.assert_allclose(alike, [0.25] * 4 + [0], atol=0.03)


def test_the_first_word_follows_eq_4():
    weight = np.array([0.1, 0.2, 0.3, 0.4, 0])
    keys = jax.random.split(KEY, 20_000)
    share = drawn([0, 1, 2, 3, -1], weight, 1, keys).mean(0)
    np.testing.assert_allclose(share, weight, atol=4 * np.sqrt(0.25 / 20_000))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.integers(0, 99))
def test_words_are_whole_and_the_budget_holds(sizes, seed):
    """A size of 0 stands for a piece of punctuation."""
    units, number = [], 0
    for size in sizes:
        units += [number] * size or [-1]
        number += size > 0
    n = 48
    padded = np.array(units + [-1] * (n - len(units)))
    weight = jax.random.uniform(jax.random.key(seed), (n,))
    budget = max(1, round(0.25 * len(units)))
    hidden = _draw_48(jax.random.key(seed + 1), weight, padded, budget)
    hidden = np.asarray(hidden)
    assert not hidden[padded < 0].any()
    taken = [hidden[padded == u] for u in range(number)]
    assert all(t.all() or not t.any() for t in taken)
    assert hidden.sum() <= budget or sum(t.any() for t in taken) == 1
    assert hidden.any() == (number > 0)
    left = budget - hidden.sum()
    assert all(t.any() or len(t) > left for t in taken)  # no word still fits


_draw_48 = jax.jit(words.draw)


@pytest.mark.parametrize(
    "how, mask, drawn_at_random", [("bert", 0.8, 0.1), ("mask", 1, 0), ("random", 0, 1)]
)
def test_what_stands_in_place_of_hidden_pieces(how, mask, drawn_at_random):
    ids, n = jnp.full(20_000, 7), 20_000
    hidden = jnp.arange(n) % 2 == 0
    vocabulary = words.Vocabulary(jnp.int32(4), jnp.array([10, 11, 12, 13]))
    shares = np.array(words.REPLACEMENTS[how], np.float32)
    new = np.asarray(words.replace(KEY, ids, hidden, vocabulary, shares))
    assert (new[1::2] == 7).all()
    share = [np.mean(new[::2] == i) for i in (4, 10, 11, 12, 13, 7)]
    kept = 1 - mask - drawn_at_random
    expected = [mask, *[drawn_at_random / 4] * 4, kept]
    np.testing.assert_allclose(share, expected, atol=0.02)
    assert sum(share) == pytest.approx(1)


def test_scores_of_the_registry():
    scores = text_strategies.Settings(
        similarity=lambda names: np.array([float(len(name)) for name in names]),
        n_texts=8,
        texts_with={"a": 8, "bb": 2},
    )
    names, unit = ["a", "bb", "bb", "new"], np.array([0, -1, 1, 1, 2, 3])
    passage = text_strategies.Passage("a, bb bb new", 0, unit, unit, names)
    by_word = {row.name: row for row in text_strategies.REGISTRY.values()}
    (tfidf,) = by_word["tfidf"].units_of([passage], scores)
    np.testing.assert_allclose(tfidf.score, np.log([1, 16, 16, 8]))
    (piece,) = by_word["difference-piece"].units_of([passage], scores)
    assert piece.unit_of_piece.tolist() == [0, 1, 2, 3, 4, 5]
    assert piece.score.tolist() == [1, 0, 2, 2, 2, 3]
    word = by_word["difference-word"]
    assert word.units_of([passage], scores)[0].unit_of_piece is unit
    inputs = MaskInputs(unit, np.float32([1, 2, 2, 3, 0, 0]))
    assert word.weight(inputs).tolist() == [1, 2, 2, 3, 0, 0]
    assert text_strategies.pair() == (by_word["random-word"], word)
    with pytest.raises(ValueError, match="did you mean difference-word"):
        text_strategies.find("difference-wrd")
