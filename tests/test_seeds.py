"""Seeds: all different up to 2^63 - 1, and below 2^32 what they always were."""

import itertools

import jax
import numpy as np
import pytest

from mmdiffmask import seeds
from mmdiffmask.data import loader
from mmdiffmask.masking import sampling
from preprocessing.toy import world

SMALL = (0, 1, 2**31 - 1, 2**31, 2**32 - 1)
LARGE = (2**32, 2**32 + 1, 2**33, 2**40 + 7, 2**62, 2**63 - 1)


def test_cases_of_seeds_that_32_bits_do_not_tell_apart():
    keys = [tuple(jax.random.key_data(sampling.seed_key(s)).tolist())
            for s in SMALL + LARGE]  # fmt: skip
    assert len(set(keys)) == len(keys)
    orders = [loader.order_at(s, 0, 40, 40).tolist() for s in SMALL + LARGE]
    toys = [world.generator(s, "people", "train", 3, 1).integers(2**62)
            for s in SMALL + LARGE]  # fmt: skip
    assert len(set(toys)) == len(toys)
    for one, other in itertools.combinations(orders, 2):
        assert one != other


def test_a_large_seed_is_not_another_epoch_of_a_small_one():
    # numpy writes [2**32, 0] and [0, 1, 0] alike, and drops zeros at the end.
    first = loader.order_at(2**32, 0, 40, 40).tolist()
    assert first != loader.order_at(0, 1, 40, 40).tolist()
    seen = {
        tuple(seeds.generator(seed, epoch).integers(2**62, size=2))
        for seed in (0, 1, 2**32, 2**32 + 1, 2**33)
        for epoch in range(4)
    }
    assert len(seen) == 20


@pytest.mark.parametrize("seed", SMALL)
def test_small_seeds_stay_what_they_were(seed):
    key = jax.random.key_data(sampling.seed_key(seed))
    np.testing.assert_array_equal(key, jax.random.key_data(jax.random.key(seed)))
    for purpose in ((), (3,), (3, 2**32 - 1, 5)):
        old = np.random.default_rng([seed, *purpose]).integers(2**62, size=3)
        new = seeds.generator(seed, *purpose).integers(2**62, size=3)
        np.testing.assert_array_equal(old, new)
    old = np.random.default_rng((9, seed, 1)).random()
    assert seeds.generator(seed, 1, before=(9,)).random() == old


def test_a_large_key_is_that_of_64_bits():
    with jax.enable_x64(True):
        wide = [jax.random.key_data(jax.random.key(seed)).tolist() for seed in LARGE]
    found = [jax.random.key_data(sampling.seed_key(seed)).tolist() for seed in LARGE]
    assert found == wide


@pytest.mark.parametrize("seed", [-1, 2**63, 2**70])
def test_cases_of_seeds_that_are_refused(seed):
    with pytest.raises(ValueError, match=r"--seed .* \(2\^63 - 1\)"):
        seeds.check("--seed", seed)
