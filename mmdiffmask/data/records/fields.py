"""What every field of a record must be: yields what is wrong, field by field."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from mmdiffmask.data.records import frames as frames_lib
from mmdiffmask.data.records import schema
from mmdiffmask.data.records.schema import Record
from mmdiffmask.grid import PatchGrid

KINDS = ("body", "face", "object")


class Fault(NamedTuple):
    """A field of a record and what is wrong with it."""

    field: str
    problem: str


class Shape(NamedTuple):
    """What the manifest says of all records: grid, t and s."""

    grid: PatchGrid
    segments: int
    sub_segments: int

    @property
    def window_s(self) -> float:
        """Seconds from the first segment's start to the last one's end."""
        return self.segments * self.sub_segments * schema.SUB_SEGMENT_S


def of_lengths(example: dict[str, Any], shape: Shape) -> Iterator[Fault]:
    """Lists of the raw example (as TFDS reads it) that must be of one length.

    A record can only be made of an example that passes.
    """
    boxes, count = example["boxes"], len(example["covered_share"])
    for name in schema.BOX_FIELDS:
        if len(boxes[name]) != count:
            yield Fault(
                f"boxes.{name}",
                f"has {len(boxes[name])} values, but covered_share {count} rows",
            )
    for name in ("frames", "subtitles"):
        if len(example[name]) != shape.segments:
            yield Fault(name, f"has {len(example[name])}, not {shape.segments}")
    n_lines = len(example["line_text"])
    for name in ("line_start_s", "line_end_s"):
        if len(example[name]) != n_lines:
            yield Fault(
                name, f"has {len(example[name])} values for {n_lines} subtitle lines"
            )
    if len(example["label_names"]) != len(example["label_values"]):
        yield Fault("labels", "have not as many names as values")


def of_record(record: Record, shape: Shape) -> Iterator[Fault]:
    """All that is wrong with a record's values; the patch map is made again."""
    yield from _texts(record)
    yield from _lines(record, shape)
    stored, faults = _stored_sizes(record)
    yield from faults
    yield from _frame_times(record, shape)
    yield from _sound(record)
    of_boxes = list(_boxes(record))
    yield from of_boxes
    if of_boxes or faults:
        return  # a map of such boxes or frames says nothing
    share = frames_lib.covered_share(
        shape.grid, record.boxes, record.source_size_px, stored
    )
    if not np.array_equal(share, record.covered_share):
        yield Fault("covered_share", f"is not what grid {shape.grid} gives")
    elif not share.any(1).all():
        yield Fault("boxes.xyxy_px", "holds a box that lies outside its frame")


def _texts(record: Record) -> Iterator[Fault]:
    for name in ("example_id", "clip", "group"):
        if not getattr(record, name):
            yield Fault(name, "is empty")
    index, count = record.answer_index, len(record.answers)
    if index != -1 and not 0 <= index < count:
        yield Fault("answer_index", f"is {index}, but there are {count} answers")
    start, end = record.span_percent
    if not 0 <= start <= end <= 100:
        yield Fault("span_percent", f"is {start} to {end}: not ordered within 0..100")
    if list(record.labels) != sorted(record.labels):
        yield Fault("labels", "are not sorted by column")


def _lines(record: Record, shape: Shape) -> Iterator[Fault]:
    start, end = record.line_start_s, record.line_end_s
    for name, times in (("line_start_s", start), ("line_end_s", end)):
        if not np.isfinite(times).all():
            yield Fault(name, "is not finite")
            return
    if (np.diff(start) < 0).any():
        yield Fault("line_start_s", "is out of order")
    if (start > shape.window_s).any():
        yield Fault("line_start_s", "lies after the last segment")
    if (end < start).any():
        yield Fault("line_end_s", "lies before its start")
    if (end < 0).any():
        yield Fault("line_end_s", "lies before the first segment")


def _stored_sizes(record: Record) -> tuple[np.ndarray, list[Fault]]:
    """Width and height of each stored frame (t, 2), and what is wrong with them."""
    stored = np.zeros((len(record.frames), 2), np.int32)
    faults = []
    for i, data in enumerate(record.frames):
        if bool(data) != record.is_frame_valid[i]:
            says = "a frame" if record.is_frame_valid[i] else "no frame"
            held = "none" if not data else "one"
            faults.append(Fault("frames", f"segment {i} has {says}, but holds {held}"))
            continue
        try:
            stored[i : i + 1] = frames_lib.sizes((data,))
        except ValueError as error:
            faults.append(Fault("frames", f"segment {i}: {error}"))
            continue
        problem = _size_problem(record.source_size_px[i], stored[i])
        if problem:
            faults.append(Fault("source_size_px", f"segment {i}: {problem}"))
    return stored, faults


def _size_problem(source: np.ndarray, stored: np.ndarray) -> str | None:
    """None if the stored picture is the source, or it made smaller."""
    if not stored.any():
        return "is not 0 without a frame" if source.any() else None
    sizes = f"{source[0]}x{source[1]}, but the stored frame is {stored[0]}x{stored[1]}"
    if (source < stored).any():
        return sizes
    # One side rounds to a whole pixel, which the other shows larger.
    slack = max(source) / min(stored) + 1
    return sizes if np.ptp(source / stored * stored.max()) > slack else None


def _frame_times(record: Record, shape: Shape) -> Iterator[Fault]:
    times, is_valid = record.frame_time_s, record.is_frame_valid
    shown = times[is_valid]
    if not is_valid.any():
        yield Fault("is_frame_valid", "is false everywhere")
    if not np.isfinite(times).all() or (times < 0).any():
        yield Fault("frame_time_s", "is not finite and at least 0")
    elif times[~is_valid].any():
        yield Fault("frame_time_s", "is not 0 without a frame")
    elif (np.diff(shown) <= 0).any():
        yield Fault("frame_time_s", "does not ascend")
    elif len(shown) and np.ptp(shown) > shape.window_s:
        yield Fault("frame_time_s", f"spans more than {shape.window_s:.2f} s")


def _sound(record: Record) -> Iterator[Fault]:
    """log(mel + 0.1) - log(0.1) is never negative; the last value is the speed."""
    heard = record.spectrogram
    if not np.isfinite(heard).all():
        yield Fault("spectrogram", "is not finite")
    elif (heard[..., :-1] < 0).any():
        yield Fault("spectrogram", "is negative, below silence")
    elif (heard[..., -1] != 1).any():
        yield Fault("spectrogram", "has another playback speed than 1")
    elif heard[~record.is_audio_valid][..., :-1].any():
        yield Fault("is_audio_valid", "says silence where the spectrogram has sound")


def _boxes(record: Record) -> Iterator[Fault]:
    boxes, t = record.boxes, len(record.frames)
    xyxy, frame = boxes.xyxy_px, boxes.frame
    if not record.is_boxed and len(boxes):
        yield Fault("is_boxed", f"is false, but there are {len(boxes)} boxes")
    if ((frame < 0) | (frame >= t)).any():
        yield Fault("boxes.frame", f"is not within 0..{t - 1}")
    elif not record.is_frame_valid[frame].all():
        yield Fault("boxes.frame", "names a segment without a frame")
    elif (np.diff(frame) < 0).any():
        yield Fault("boxes.frame", "is out of order")
    if not np.isfinite(xyxy).all():
        yield Fault("boxes.xyxy_px", "is not finite")
    elif (xyxy[:, :2] >= xyxy[:, 2:]).any():
        yield Fault("boxes.xyxy_px", "is not left, top, right, bottom of an area")
    if not ((boxes.score >= 0) & (boxes.score <= 1)).all():  # NaN is neither
        yield Fault("boxes.score", "is not within 0..1")
    if (boxes.track < -1).any():
        yield Fault("boxes.track", "is less than -1")
    for kind in sorted(set(boxes.kind) - set(KINDS)):
        yield Fault("boxes.kind", f"is {kind!r}, not one of {', '.join(KINDS)}")
    for name in ("label", "source"):
        if not all(getattr(boxes, name)):
            yield Fault(f"boxes.{name}", "is empty")
