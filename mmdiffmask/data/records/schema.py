"""The fields of a record, and their TFDS features."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from mmdiffmask.types import Boxes

SUB_SEGMENT_S = 14.0 / 9.0  # of sound: 60 spectrogram frames (design.md section 3)
TEXTS = ("answers", "subtitles", "line_text")
BOX_FIELDS = tuple(field.name for field in dataclasses.fields(Boxes))


@dataclasses.dataclass(frozen=True)
class Record:
    """One question on one window of a clip; or one window of a loose video.

    Attributes:
      example_id: unique; masks and noise are keyed by it.
      clip: name of the clip.
      group: what splits into train and dev go by (clip or episode).
      question: "" for loose videos.
      answers: the candidates; () for loose videos.
      answer_index: the right one, -1 = unknown.
      span_percent: start and end of the question's time span within the window.
      subtitles: of each segment, "" where none.
      line_text: every subtitle line that overlaps the window, in order of start.
      line_start_s: of each line, 0 = start of the record's first segment; may be < 0.
      line_end_s: likewise, never before the start; may lie past the last segment.
      frames: JPEG bytes of each segment's middle, b"" where absent.
      frame_time_s: of each frame in its clip; 0 where absent.
      source_size_px: width and height before storing; 0 where absent.
      is_frame_valid: False = no such segment or frame; never in a loss.
      is_audio_valid: False = no sound there.
      spectrogram: 64 log-mel values and the playback speed, float16.
      is_boxed: detectors ran (they may have found nothing).
      boxes: in pixels of the source frames; `frame` counts the record's segments.
      covered_share: of each patch of its frame by each box, on the manifest's grid.
      labels: of the clip, column of labels.csv to value.
    """

    example_id: str
    clip: str
    group: str
    question: str
    answers: tuple[str, ...]
    answer_index: int
    span_percent: tuple[int, int]
    subtitles: tuple[str, ...]
    line_text: tuple[str, ...]
    line_start_s: Float[np.ndarray, " lines"]
    line_end_s: Float[np.ndarray, " lines"]
    frames: tuple[bytes, ...]
    frame_time_s: Float[np.ndarray, " t"]
    source_size_px: Int[np.ndarray, "t 2"]
    is_frame_valid: Bool[np.ndarray, " t"]
    is_audio_valid: Bool[np.ndarray, " t"]
    spectrogram: Float[np.ndarray, "t s 60 65"]
    is_boxed: bool
    boxes: Boxes
    covered_share: Float[np.ndarray, "m n"]
    labels: dict[str, str]


def features(segments: int, sub_segments: int, n_patches: int) -> Any:
    """The TFDS features of a record."""
    # Half a second of import that settings and plans do without.
    import tensorflow_datasets as tfds

    kind, raw = tfds.features, tfds.features.Encoding.BYTES
    texts, t = kind.Sequence(kind.Text()), segments

    def tensor(dtype: type[np.generic], *shape: int | None, **kw: Any) -> Any:
        return kind.Tensor(shape=shape, dtype=dtype, **kw)

    boxes = {"frame": tensor(np.int32, None), "xyxy_px": tensor(np.float32, None, 4)}
    boxes |= {"kind": texts, "label": texts, "source": texts}
    boxes |= {"score": tensor(np.float32, None), "track": tensor(np.int32, None)}
    words = dict.fromkeys(("example_id", "clip", "group", "question"), kind.Text())
    lists = dict.fromkeys((*TEXTS, "label_names", "label_values"))
    return kind.FeaturesDict(
        words
        | dict.fromkeys(lists, texts)
        | {
            "answer_index": np.int32,
            "span_percent": tensor(np.int32, 2),
            "line_start_s": tensor(np.float32, None),
            "line_end_s": tensor(np.float32, None),
            "frames": kind.Sequence(kind.Scalar(dtype=np.object_)),
            "frame_time_s": tensor(np.float32, t),
            "source_size_px": tensor(np.int32, t, 2),
            "is_frame_valid": tensor(np.bool_, t),
            "is_audio_valid": tensor(np.bool_, t),
            "spectrogram": tensor(np.float16, t, sub_segments, 60, 65, encoding=raw),
            "is_boxed": np.bool_,
            "boxes": kind.FeaturesDict(boxes),
            "covered_share": tensor(np.float16, None, n_patches, encoding=raw),
        }
    )


def to_example(record: Record) -> dict[str, Any]:
    """The record as TFDS takes it."""
    example = {f.name: getattr(record, f.name) for f in dataclasses.fields(Record)}
    labels = sorted(example.pop("labels").items())
    example |= {"label_names": [name for name, _ in labels]}
    example |= {"label_values": [value for _, value in labels]}
    for name in (*TEXTS, "frames"):
        example[name] = list(example[name])
    example["span_percent"] = np.array(record.span_percent, np.int32)
    boxes = {name: getattr(record.boxes, name) for name in BOX_FIELDS}
    for name in ("kind", "label", "source"):
        boxes[name] = list(boxes[name])
    for name, dtype in {
        "frame": np.int32,
        "track": np.int32,
        "score": np.float32,
        "xyxy_px": np.float32,
    }.items():
        boxes[name] = boxes[name].astype(dtype)
    return example | {"boxes": boxes}


def from_example(example: dict[str, Any]) -> Record:
    """The record that TFDS read."""
    values = {f.name: example.get(f.name) for f in dataclasses.fields(Record)}
    for name in ("example_id", "clip", "group", "question"):
        values[name] = values[name].decode()
    for name in TEXTS:
        values[name] = _texts(values[name])
    values["frames"] = tuple(values["frames"])
    values["answer_index"] = int(values["answer_index"])
    values["span_percent"] = tuple(int(x) for x in values["span_percent"])
    values["is_boxed"] = bool(values["is_boxed"])
    names, label_values = (
        _texts(example["label_names"]),
        _texts(example["label_values"]),
    )
    values["labels"] = dict(zip(names, label_values, strict=True))
    boxes = dict(example["boxes"])
    for name in ("kind", "label", "source"):
        boxes[name] = _texts(boxes[name])
    values["boxes"] = Boxes(**boxes)
    return Record(**values)


def _texts(items: Iterable[bytes]) -> tuple[str, ...]:
    return tuple(item.decode() for item in items)
