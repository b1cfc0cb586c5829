"""Lists as strings: answers as they were, other numbers rounded, damage seen."""

import json

import numpy as np
import pytest

from mmdiffmask.experiment import packed


def trip(values, per_unit=1000):
    content = json.loads(json.dumps(packed.pack(values, per_unit)))
    assert packed.is_packed(content)
    return content, packed.unpack(content)


@pytest.mark.parametrize(
    "values",
    [
        [],
        [1],
        [0, 0, 1, 0, 1, 1, 0, 1, 1],
        [1, 0.5, 0, 1 / 3, 1 / 65535],
        [0.25] * 9,
    ],
)
def test_answers_come_back_as_they_were(values):
    _, back = trip(values)
    assert back == values and list(map(type, back)) == list(map(type, values))


@pytest.mark.parametrize("per_unit", [1, 10, 1000])
def test_other_numbers_are_rounded(per_unit):
    values = [-0.12345, -7.0, None, 3.3, 0.0, -123.456, None]
    content, back = trip(values, per_unit)
    assert content["per_unit"] == per_unit
    for old, new in zip(values, back, strict=True):
        assert (old is None) == (new is None)
        assert old is None or abs(old - new) <= 0.5000001 / per_unit


def test_whole_numbers_of_any_size():
    rng = np.random.default_rng(0)
    for limit in (1, 200, 70_000, 2**40):
        values = rng.integers(-limit, limit, 50)
        text = packed.pack_ints(values)
        np.testing.assert_array_equal(packed.unpack_ints(text, 50), values)
    assert packed.unpack_ints(packed.pack_ints(np.zeros(0, np.int64)), 0).size == 0


def test_thousands_are_short():
    rng = np.random.default_rng(0)
    right = (rng.random(3000) < 0.5).astype(int).tolist()
    assert len(packed.pack(right)["bits"]) < 500
    logs = np.log(rng.random(3000)).tolist()
    assert len(packed.pack(logs)["values"]) < 7000
    assert len(packed.pack_ints(np.arange(3000) // 3 % 2)) < 60


def test_damage_is_seen():
    content = packed.pack([1, 0] * 40)
    for wrong in ("", content["bits"][:-5], "0" * len(content["bits"])):
        with pytest.raises(ValueError):
            packed.unpack(content | {"bits": wrong})
    with pytest.raises(ValueError, match="80 bits where 100 are due"):
        packed.unpack(content | {"n": 100})
    numbers = packed.pack([0.3, 1.7, 2.9])
    with pytest.raises(ValueError):
        packed.unpack(numbers | {"n": 4})


def test_other_dictionaries_are_not_packed():
    assert not packed.is_packed({"n": 3}) and not packed.is_packed([1])
    assert not packed.is_packed({"n": 3, "bits": "", "more": 1})
