"""Training a tokenizer: the same texts give the same bytes, which can be loaded."""

import pytest

from mmdiffmask.data import tokenizers
from preprocessing import bpe

TEXTS = ["The ball is red.", "the cup is blue", "Where is the red ball?"] * 3


def test_training_twice_gives_the_same_bytes(tmp_path):
    for name in ("one.json", "two.json"):
        assert bpe.train(iter(TEXTS), 210, tmp_path / name) <= 210
    one, two = sorted(tmp_path.iterdir())  # nothing else is left behind
    assert one.read_bytes() == two.read_bytes()
    found = tokenizers.load(one)
    assert len(found.encode("the")) == 1
    assert found.decode(found.encode("The BALL")) == " the ball"


def test_too_small_a_vocabulary_is_named(tmp_path):
    with pytest.raises(ValueError, match="vocabulary of 100 is too small"):
        bpe.train(TEXTS, 100, tmp_path / "t.json")
