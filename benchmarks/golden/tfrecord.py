"""Reads the reference's TFRecord files: framing and tf.train.Example."""

import pathlib
import struct
from collections.abc import Iterator

from preprocessing.boxes import protobuf

Feature = list[int] | list[float] | list[bytes]

_BYTES, _FLOATS = 1, 2  # fields of tf.train.Feature; 3 are integers


def examples(path: pathlib.Path) -> Iterator[dict[str, Feature]]:
    """Name -> values of each example. The checksums are not looked at.

    Raises:
      ValueError: if the file breaks off or holds something else.
    """
    data, at = path.read_bytes(), 0
    while at < len(data):
        # Length (8 bytes) and its checksum (4), the record, its checksum (4).
        (size,) = struct.unpack_from("<Q", data.ljust(at + 8, b"\0"), at)
        record, at = data[at + 12 : at + 12 + size], at + size + 16
        if at > len(data):
            raise ValueError(f"{path}: breaks off at byte {len(data)}")
        try:
            yield dict(_features(record))
        except (KeyError, AttributeError, TypeError) as error:
            raise ValueError(f"{path}: holds no tf.train.Example") from error


def _features(record: bytes) -> Iterator[tuple[str, Feature]]:
    for _, features in protobuf.fields(record):
        for _, entry in protobuf.fields(features):
            pair = dict(protobuf.fields(entry))
            yield pair[1].decode(), _values(pair[2])


def _values(feature: bytes) -> Feature:
    decoded = []
    for kind, values in protobuf.fields(feature):
        for _, value in protobuf.fields(values):
            if kind == _BYTES or not isinstance(value, bytes):  # or not packed
                decoded.append(value)
            elif kind == _FLOATS:
                decoded += struct.unpack(f"<{len(value) // 4}f", value)
            else:
                decoded += _varints(value)
    return decoded


def _varints(packed: bytes) -> list[int]:
    """Non-negative integers of 7 bits a byte; the last byte of each is below 128."""
    integers, value, shift = [], 0, 0
    for byte in packed:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            integers.append(value)
            value = shift = 0
    return integers
