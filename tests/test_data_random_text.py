"""Paragraphs of a file, and words hidden in them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdiffmask.data import random_text


def encode(text):
    """As many tokens as a word has letters, all different over the words w0, w1, .."""
    return [10 + 4 * int(w[1:]) + i for w in text.split() for i in range(len(w) - 1)]


def words(count):
    return " ".join(f"w{i}" for i in range(count))


def test_paragraphs(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("One  line.\n\n \t\nCaf\u00e9, two.\r\n", encoding="utf-8-sig")
    assert random_text.paragraphs(str(path)) == ("One line.", "Caf\u00e9, two.")
    path.write_text("another")  # read once
    assert random_text.paragraphs(str(path)) == ("One line.", "Caf\u00e9, two.")


def test_files_that_say_nothing(tmp_path):
    missing = str(tmp_path / "none.txt")
    with pytest.raises(ValueError, match="none.txt: cannot be read .*paragraph a"):
        random_text.paragraphs(missing)
    with pytest.raises(ValueError, match="cannot be read"):
        random_text.paragraphs(str(tmp_path))
    (tmp_path / "empty.txt").write_text(" \n\n")
    with pytest.raises(ValueError, match="empty.txt: is empty; give a text file"):
        random_text.paragraphs(str(tmp_path / "empty.txt"))
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(ValueError, match="is not UTF-8 text"):
        random_text.paragraphs(str(tmp_path / "bytes.txt"))


@settings(deadline=None)  # machines under load stall
@given(
    st.integers(1, 120),
    st.integers(8, 100),
    st.floats(0.0, 0.5),
    st.integers(1, 40),
    st.integers(0, 9),
)
def test_laws_of_hiding(count, length, share, spans, seed):
    rng = np.random.default_rng(seed)
    pieces = random_text.hide(rng, words(count), encode, length, share, spans)
    runs = [piece.hidden for piece in pieces if piece.hidden]
    whole = [t for piece in pieces for t in piece.hidden or piece.tokens]
    # A stretch of the paragraph, word for word, that fits.
    everything = encode(words(count))
    first = everything.index(whole[0])
    assert whole == everything[first : first + len(whole)] and len(whole) <= length
    assert all(piece.tokens == (3,) for piece in pieces if piece.hidden)
    n_words = len({(t - 10) // 4 for t in whole})
    n_hidden = len({(t - 10) // 4 for run in runs for t in run})
    assert len(runs) == (
        0 if n_words == 1 else min(spans, max(1, round(share * n_words)))
    )
    # Rounding in each stretch may shift the share, but not by half a word a run.
    assert abs(n_hidden - share * n_words) <= max(1.0, 0.5 * len(runs)) + 1e-9
    assert n_hidden < n_words or n_words == 1


def test_long_paragraphs_are_entered_anywhere():
    firsts = set()
    for seed in range(30):
        rng = np.random.default_rng(seed)
        pieces = random_text.hide(rng, words(500), encode, 16, 0.25, 4)
        firsts.add((pieces[0].hidden or pieces[0].tokens)[0])
    assert len(firsts) > 20


def test_lengths_of_runs_as_in_reserve():
    rng = np.random.default_rng(0)
    text = words(320)  # one to three tokens a word: about 640
    pieces = random_text.hide(rng, text, encode, 640, 0.25, 38)
    sizes = [len(p.hidden) for p in pieces if p.hidden]
    assert len(sizes) == 38 and 3 < np.mean(sizes) < 6
