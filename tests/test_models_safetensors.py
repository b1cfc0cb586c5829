"""Files of arrays: read, written, and files that are none."""

import json

import numpy as np
import pytest

from mmdiffmask.models import safetensors


def write(path, header, values):
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + values)
    return path


def test_a_safetensors_file(tmp_path):
    entry = {"dtype": "F32", "shape": [2, 1], "data_offsets": [4, 12]}
    header = {"__metadata__": {"format": "pt"}, "a": entry}
    values = np.array([9, 1, 2], "<f4").tobytes()
    read = safetensors.read(write(tmp_path / "a.safetensors", header, values))
    assert list(read) == ["a"] and read["a"].tolist() == [[1], [2]]


@pytest.mark.parametrize(
    "change, size",
    [({"data_offsets": [4, 16]}, 12), ({}, 8), ({"dtype": "BF16"}, 12), (None, 12)],
)
def test_a_damaged_safetensors_file_is_named(tmp_path, change, size):
    entry = {"dtype": "F32", "shape": [2, 1], "data_offsets": [4, 12]}
    header = {"a": 3 if change is None else entry | change}
    path = write(tmp_path / "a.safetensors", header, bytes(size))
    with pytest.raises(ValueError, match=r"a\.safetensors: no usable safetensors"):
        safetensors.read(path)
    path.write_bytes(b"no such file")
    with pytest.raises(ValueError, match="no usable"):
        safetensors.read(path)


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "a.safetensors"
    arrays = {
        "odd": np.arange(3, dtype=np.int8),
        "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "number": np.array(2.5),
        "ids": np.arange(2),
    }
    safetensors.write(path, arrays)
    result = safetensors.read(path)
    assert list(result) == list(arrays)
    for name, value in arrays.items():
        assert result[name].dtype == value.dtype
        np.testing.assert_array_equal(result[name], value)
    size = int.from_bytes(path.read_bytes()[:8], "little")
    assert size % 8 == 0
    with pytest.raises(ValueError, match="a is complex64, which it cannot hold"):
        safetensors.write(path, {"a": np.zeros(2, np.complex64)})
    assert list(safetensors.read(path)) == list(arrays)


def test_bfloat16_is_read_as_float32(tmp_path):
    values = np.array([1.5, -2.0, 3e38], np.float32)
    entry = {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]}
    content = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    path = write(tmp_path / "a.safetensors", {"a": entry}, content)
    (result,) = safetensors.read(path).values()
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, values, rtol=2**-8)
