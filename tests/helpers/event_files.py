"""Reads the event files of a folder as TensorBoard does."""

import struct

from tensorboardX import record_writer
from tensorboardX.proto import event_pb2


def records(path):
    """The bytes of each record of a file; their checksums are right."""
    data, place = path.read_bytes(), 0
    while place < len(data):
        head = data[place : place + 8]
        (length,) = struct.unpack("<Q", head)
        (of_head,) = struct.unpack_from("<I", data, place + 8)
        body = data[place + 12 : place + 12 + length]
        (of_body,) = struct.unpack_from("<I", data, place + 12 + length)
        assert of_head == record_writer.masked_crc32c(head)
        assert of_body == record_writer.masked_crc32c(body)
        yield body
        place += 16 + length


def scalars(folder):
    """(curves: tag -> [(step, value)], how many points were void)."""
    curves, voided = {}, 0
    for path in sorted(folder.iterdir()):
        for body in records(path):
            event = event_pb2.Event.FromString(body)
            if event.session_log.status == event_pb2.SessionLog.START:
                for tag, points in curves.items():
                    kept = [point for point in points if point[0] < event.step]
                    voided += len(points) - len(kept)
                    curves[tag] = kept
            for value in event.summary.value:
                point = event.step, value.simple_value
                curves.setdefault(value.tag, []).append(point)
    return curves, voided
