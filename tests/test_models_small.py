"""The shipped start: what it belongs to, its size, and that it looks at pictures."""

import dataclasses

import jax
import numpy as np
import pytest

from benchmarks import start_card
from mmdiffmask import config, demo
from mmdiffmask.models.reserve import checkpoints, official_file

FOLDER = checkpoints.SHIPPED["small"].parent


@pytest.fixture(scope="module")
def params():
    return checkpoints.load("small", demo.get_config().model, tokens=512)


def test_card_tells_of_this_very_file_tokenizer_and_toy_set():
    card = (FOLDER / "curves.txt").read_text().splitlines()
    assert card[: len(list(start_card.identity(FOLDER / "small")))] == list(
        start_card.identity(FOLDER / "small")
    )


def test_at_most_8_megabytes_in_half_precision():
    path = FOLDER / "small"
    assert path.stat().st_size <= 8_000_000
    stored = official_file.read(str(path))
    assert {leaf.dtype for leaf in jax.tree.leaves(stored.params)} == {
        np.dtype(np.float16)
    }


def test_it_is_small_with_the_toy_vocabulary(params):
    model = dataclasses.replace(config.MODELS["small"], vocabulary=512)
    assert demo.get_config().model == dataclasses.replace(model, checkpoint="small")
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert count == 1_766_019 - (2048 - 512) * 128


def test_another_vocabulary_is_refused():
    with pytest.raises(ValueError, match="vocabulary of 512"):
        checkpoints.load("small", config.MODELS["small"])
