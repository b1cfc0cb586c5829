"""The web's counts of words, from the package that carries them."""

import sys
import types

import pytest

from mmdiffmask.masking import web_counts


@pytest.fixture(autouse=True)
def _forget():
    web_counts.load.cache_clear()
    yield
    web_counts.load.cache_clear()


def test_counts_are_those_that_were_checked():
    counts = web_counts.load()
    assert len(counts) == 333_213 and min(counts.values()) == 12_711
    assert sum(counts.values()) == 588_117_981_387
    assert counts["the"] == 23_135_851_162 and "2001" not in counts
    assert all(word.isalpha() and word == word.lower() for word in counts)


def test_a_missing_package_or_another_file_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "wordsegment", None)
    with pytest.raises(ValueError, match=r"pip install .* wordsegment==1\.3\.1"):
        web_counts.load()
    other = types.ModuleType("wordsegment")
    other.__file__ = str(tmp_path / "__init__.py")
    monkeypatch.setitem(sys.modules, "wordsegment", other)
    with pytest.raises(ValueError, match=r"unigrams\.txt does not hold"):
        web_counts.load()
    (tmp_path / "unigrams.txt").write_text("the\t5\n")
    with pytest.raises(ValueError, match=r"unigrams\.txt does not hold"):
        web_counts.load()
