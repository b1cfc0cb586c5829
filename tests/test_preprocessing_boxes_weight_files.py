"""Weight files that are missing or damaged; the messages of a graph."""

import dataclasses
import io
import struct
import sys

import numpy as np
import pytest

from mmdiffmask.models import torch_file
from preprocessing.boxes import protobuf, weight_files

FILES = [weight_files.PNET, weight_files.RNET, weight_files.ONET, weight_files.SSDLITE]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.path)
def test_installed_files_are_read_without_importing_their_packages(file):
    assert len(weight_files.read(file)) > 20_000
    assert file.package not in sys.modules


def test_missing_package_names_file_and_command():
    file = dataclasses.replace(weight_files.PNET, package="no_such_package")
    with pytest.raises(
        ValueError, match="no_such_package/data/pnet.pt is missing"
    ) as e:
        weight_files.read(file)
    assert "pip install --no-deps facenet-pytorch==2.5.3" in str(e.value)


def test_missing_file_of_an_installed_package():
    file = dataclasses.replace(weight_files.SSDLITE, path="other.pb")
    with pytest.raises(ValueError, match="other.pb is missing"):
        weight_files.read(file)


def test_other_bytes_are_refused():
    file = dataclasses.replace(weight_files.PNET, sha256="0" * 64)
    with pytest.raises(ValueError, match="pnet.pt has sha256 a2a71925e0b9") as e:
        weight_files.read(file)
    assert "--force-reinstall" in str(e.value)


def test_state_dicts_have_the_shapes_and_sizes_of_the_networks():
    counts = {}
    for file in (weight_files.PNET, weight_files.RNET, weight_files.ONET):
        state = torch_file.read(io.BytesIO(weight_files.read(file)))
        counts[file.path] = sum(value.size for value in state.values())
        assert all(value.dtype == np.float32 for value in state.values())
        assert all(np.isfinite(value).all() for value in state.values())
    # Sums of the layers' sizes: in x out x taps + biases + slopes.
    assert counts == {
        "data/pnet.pt": 6632,
        "data/rnet.pt": 100178,
        "data/onet.pt": 389040,
    }


def test_state_dict_values_lie_in_the_file_as_floats():
    content = weight_files.read(weight_files.PNET)
    kernel = torch_file.read(io.BytesIO(content))["conv1.weight"]
    assert kernel.shape == (10, 3, 3, 3)
    stored = kernel.transpose(3, 2, 1, 0)  # this one was saved with its axes reversed
    assert struct.pack("<q", 270) + stored.astype("<f4").tobytes() in content


def test_fields_of_every_wire_type():
    message = (
        b"\x08\xac\x02"  # field 1, varint 300
        + b"\x11"  # field 2, 64 bit
        + struct.pack("<d", 2.5)
        + b"\x1a\x03abc"  # field 3, bytes
        + b"\x25"  # field 4, 32 bit
        + struct.pack("<f", -0.5)
        + b"\x80\x01\x07"  # field 16, varint 7: a tag of two bytes
    )
    expected = [(1, 300), (2, 2.5), (3, b"abc"), (4, -0.5), (16, 7)]
    assert list(protobuf.fields(message)) == expected


@pytest.mark.parametrize("message", [b"\x1a\x05abc", b"\x08\x80", b"\x25\x00"])
def test_fields_of_a_message_that_breaks_off(message):
    with pytest.raises(ValueError, match="breaks off"):
        list(protobuf.fields(message))


def _piece(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2, len(value)]) + value


def _constant(*fields: bytes, shape: tuple[int, ...], dtype: int = 1) -> bytes:
    dims = b"".join(_piece(2, bytes([8, size])) for size in shape)
    tensor = bytes([8, dtype]) + _piece(2, dims) + b"".join(fields)
    entry = _piece(1, b"value") + _piece(2, _piece(8, tensor))
    return _piece(1, _piece(1, b"w") + _piece(2, b"Const") + _piece(5, entry))


@pytest.mark.parametrize(
    ("fields", "shape", "expected"),
    [
        ([_piece(4, struct.pack("<4f", 1, 2, 3, 4))], (2, 2), [[1, 2], [3, 4]]),
        ([_piece(5, struct.pack("<3f", 1, 2, 3))], (3,), [1, 2, 3]),
        ([b"\x2d" + struct.pack("<f", 7)], (2,), [7, 7]),
        ([b"\x2d" + struct.pack("<f", 0.001)], (), 0.001),
    ],
    ids=["raw bytes", "packed", "one value repeated", "scalar"],
)
def test_float_constants_in_each_form(fields, shape, expected):
    graph = protobuf.read_graph(_constant(*fields, shape=shape))
    found = graph["w"].tensor()
    assert graph["w"].op == "Const"
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array(expected, np.float32))


def test_constants_of_other_types_are_refused():
    content = _constant(_piece(4, b"\x00" * 4), shape=(1,), dtype=3)
    with pytest.raises(ValueError, match="not float32"):
        protobuf.read_graph(content)["w"].tensor()


def test_attributes_of_a_node():
    strides = _piece(1, b"strides") + _piece(
        2, _piece(1, _piece(3, b"\x01\x02\x02\x01"))
    )
    epsilon = _piece(1, b"epsilon") + _piece(2, b"\x25" + struct.pack("<f", 0.25))
    content = b"".join(
        [_piece(1, b"n"), _piece(2, b"Conv2D"), _piece(3, b"a"), _piece(3, b"b:1")]
        + [_piece(5, strides), _piece(5, epsilon)]
    )
    node = protobuf.read_graph(_piece(1, content))["n"]
    assert (node.op, node.inputs) == ("Conv2D", ("a", "b:1"))
    assert node.numbers("strides") == (1, 2, 2, 1)
    assert node.number("epsilon") == 0.25
