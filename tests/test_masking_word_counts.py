"""Counts of words in parts: as the expression has them, each distinct text once."""

import collections
import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mmdiffmask.masking import word_counts

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
RUNS = re.compile(r"[^\W_]+")


@given(TEXT)
def test_words_are_lower_case_runs(text):
    assert word_counts.words(text) == RUNS.findall(text.lower())


@given(st.lists(TEXT, max_size=12), st.integers(1, 5))
def test_parts_and_order_do_not_count(texts, size):
    whole, parts = word_counts.WordCounts(True), word_counts.WordCounts(True)
    whole.add(texts)
    for first in range(0, len(texts), size):
        parts.add(texts[::-1][first : first + size])
        saved = parts.state()
        parts = word_counts.WordCounts(True)  # as after a kill
        parts.restore(saved)
    distinct = {tuple(RUNS.findall(text.lower())) for text in texts} - {()}
    assert dict(parts.counts) == dict(whole.counts)
    assert dict(parts.texts_with) == dict(whole.texts_with)
    assert parts.distinct == whole.distinct == len(distinct)
    words = [word for of_text in distinct for word in of_text]
    assert all(whole.counts[word] == words.count(word) for word in words)


def test_texts_of_the_same_words_count_once(monkeypatch):
    monkeypatch.setattr(word_counts, "MERGED", 2)
    counted = word_counts.WordCounts()
    added = counted.add(["The cell", "[[ the ]] CELL!", "", "a", "b", "c"])
    assert added.is_new.tolist() == [True, False, False, True, True, True]
    assert added.key[0] == added.key[1]
    assert not counted.add(["c", "the cell"]).is_new.any()
    assert counted.distinct == 4 and counted.counts["cell"] == 1
    np.testing.assert_array_equal(np.sort(added.key[[0, 3, 4, 5]]), counted._old)


def test_a_full_table_drops_the_rarest(monkeypatch):
    """Frequent words keep their counts up to `short`; a kill changes nothing."""
    monkeypatch.setattr(word_counts, "MOST", 64)
    rng = np.random.default_rng(0)
    texts = [
        f"new{i} common {'often' if i % 2 else ''} r{rng.integers(400)}"
        for i in range(2000)
    ]
    exact = collections.Counter(" ".join(texts).split())
    whole, killed = word_counts.WordCounts(True), word_counts.WordCounts(True)
    for first in range(0, len(texts), 50):
        whole.add(texts[first : first + 50])
        killed.add(texts[first : first + 50])
        saved = killed.state()
        killed = word_counts.WordCounts(True)
        killed.restore(saved)
        assert len(whole.counts) <= 64 and len(whole.texts_with) <= 64
    assert dict(killed.counts) == dict(whole.counts)
    assert dict(killed.texts_with) == dict(whole.texts_with)
    assert killed.short == whole.short > 0
    assert whole.counts["common"] == 2000 and whole.counts["often"] == 1000
    for word, count in exact.items():
        assert count - whole.short <= whole.counts[word] <= count
    assert whole.distinct == 2000
