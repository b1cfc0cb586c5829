"""Records to rows: pictures, streams, hashes."""

import dataclasses
import hashlib

import cv2
import numpy as np
import pytest
from helpers import raw_trees

from mmdiffmask import config, grid
from mmdiffmask.data import video
from mmdiffmask.data.records import frames
from mmdiffmask.masking import strategies, units
from mmdiffmask.tokens import AUDIOSPAN, START, name_hash
from mmdiffmask.types import Boxes

GRID = grid.PatchGrid(6, 10)
SETTINGS = config.Data(rows=6, cols=10, segments=2, sub_segments=1, text_length=24)


@dataclasses.dataclass
class FakeRecord:
    """The fields of a record that a row is made of."""

    example_id: str = "q1"
    clip: str = "clip_a"
    question: str = "who sings"
    answers: tuple = ("NEVER", "THIS")
    answer_index: int = 0
    span_percent: tuple = (10, 55)
    subtitles: tuple = ("hello you", "")
    frames: tuple = ()
    source_size_px: np.ndarray = dataclasses.field(
        default_factory=lambda: np.array([[320, 160], [320, 160]])
    )
    is_frame_valid: np.ndarray = dataclasses.field(
        default_factory=lambda: np.array([True, False])
    )
    is_audio_valid: np.ndarray = dataclasses.field(
        default_factory=lambda: np.array([True, False])
    )
    spectrogram: np.ndarray = dataclasses.field(
        default_factory=lambda: np.full((2, 1, 60, 65), 0.5, np.float16)
    )
    boxes: Boxes = dataclasses.field(
        default_factory=lambda: Boxes(
            np.array([0]),
            np.array([[160.0, 0, 320, 160]]),
            ("body",),
            ("person",),
            np.ones(1),
            np.array([-1]),
            ("true",),
        )  # fmt: skip
    )
    covered_share: np.ndarray | None = None

    def __post_init__(self):
        if self.covered_share is None:
            fit = grid.fit_frame(GRID, 320, 160)
            fitted = grid.fit_boxes(fit, self.boxes.xyxy_px)
            self.covered_share = grid.covered_share(GRID, fitted).astype(np.float16)
        if not self.frames:
            self.frames = (jpeg(320, 160), b"")


def jpeg(width, height):
    """A black picture whose right half is pure red."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, width // 2 :, 2] = 255  # OpenCV writes blue, green, red
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def encode(text):
    """One id per word from 10 on, by its length; <mask> is a special token."""
    return [3 if word == "<mask>" else 10 + len(word) for word in text.split()]


def make_units(record, is_patch_valid):
    settings = units.Settings(GRID, config.Masking(mask_unit="patch"), 0.0)
    bodies = strategies.find("difference")
    return bodies.clip_units(record, is_patch_valid, settings)


def make(record, settings=SETTINGS):
    return video.row(record, settings, GRID, encode, make_units)


def test_row_has_the_shapes_and_types_of_a_batch():
    row = make(FakeRecord())
    expected = {
        "patches": ((2, 60, 768), "float32"),
        "spectrogram": ((2, 1, 60, 65), "float32"),
        "text_tokens": ((24,), "int32"),
        "text_segment": ((24,), "int32"),
        "audio_tokens": ((24,), "int32"),
        "audio_segment": ((24,), "int32"),
        "is_frame_valid": ((2,), "bool"),
        "is_audio_valid": ((2,), "bool"),
        "is_patch_valid": ((2, 60), "bool"),
        "unit_of_token": ((120,), "int32"),
        "unit_score": ((120,), "float32"),
        "is_box_unit": ((120,), "bool"),
        "example_hash": ((), "uint32"),
        "clip_hash": ((), "uint32"),
        "is_real": ((), "bool"),
    }
    made = row._asdict()
    for name in ("reserve", "cloze", "label", "choices"):
        assert made.pop(name) is None
    assert set(expected) == set(made)
    for name, value in made.items():
        assert (value.shape, str(value.dtype)) == expected[name], name


def test_option_holds_time_and_question_but_no_answer():
    seen = []

    def spy(text):
        seen.append(text)
        return encode(text)

    tokens = video.option(FakeRecord(), spy)
    assert tokens == [12, 12, 12, START, 13, 15]
    video.row(FakeRecord(), SETTINGS, GRID, spy, make_units)
    assert not any(answer in text for text in seen for answer in ("NEVER", "THIS"))


def test_text_stream_numbers_segments_from_one():
    record = FakeRecord(subtitles=("hello you", "a"))
    tokens, segments = video.text_stream(record, encode, 10)
    assert tokens.tolist() == [12, 12, 12, 1, 13, 15, 15, 13, 11, 0]
    assert segments.tolist() == [0] * 6 + [1, 1, 2, 0]
    tokens, segments = video.text_stream(record, encode, 7)
    assert tokens.tolist() == [12, 12, 12, 1, 13, 15, 15]
    assert segments.tolist() == [0] * 6 + [1]


def test_audio_stream_has_six_tokens_per_piece_of_sound():
    record = FakeRecord(spectrogram=np.zeros((2, 3, 60, 65), np.float16))
    tokens, segments = video.audio_stream(record, encode, 44)
    assert tokens.tolist() == [12, 12, 12, 1, 13, 15] + [AUDIOSPAN] * 36 + [0] * 2
    assert segments.tolist() == [0] * 6 + [1] * 18 + [2] * 18 + [0] * 2


def test_special_tokens_spelt_out_in_text_are_no_tokens():
    record = FakeRecord(question="", subtitles=("a <mask> b", ""))
    tokens, _ = video.text_stream(record, encode, 8)
    assert tokens.tolist() == [12, 12, 12, 1, 11, 11, 0, 0]


def test_patches_are_bytes_where_no_frame_is_resized():
    """With the very values that the fitted floats have."""
    both = np.array([True, True])
    plain = FakeRecord(frames=(jpeg(160, 80), jpeg(160, 96)), is_frame_valid=both)
    patches, is_valid = video.pictures(plain, GRID)
    assert patches.dtype == np.uint8 and is_valid[0].sum() == 50 and is_valid[1].all()
    for i, data in enumerate(plain.frames):
        image = frames.decode_jpeg(data)
        fit = grid.fit_frame(GRID, image.shape[1], image.shape[0])
        fitted = grid.to_patches(GRID, grid.fit_image(GRID, fit, image))
        np.testing.assert_array_equal(grid.unit_values(patches[i]), fitted)
    mixed = dataclasses.replace(plain, frames=(jpeg(160, 80), jpeg(320, 160)))
    values, _ = video.pictures(mixed, GRID)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values[0], grid.unit_values(patches[0]))


def test_picture_is_rgb_in_patches_and_missing_frames_are_empty():
    row = make(FakeRecord())  # 320 x 160 fits as 160 x 80: five rows of six
    assert row.is_patch_valid[0].reshape(6, 10).sum(0).tolist() == [5] * 10
    assert not row.is_patch_valid[1].any()
    assert not row.patches[1].any()
    image = raw_trees.from_patches(GRID, row.patches[0])
    np.testing.assert_allclose(image[:80, 90:].mean((0, 1)), [1, 0, 0], atol=0.02)
    np.testing.assert_allclose(image[:80, :70], 0, atol=0.02)
    assert not image[80:].any()


def test_stored_frame_smaller_than_its_source_lies_where_its_boxes_do():
    sizes = np.array([[641, 318], [641, 318]])
    record = FakeRecord(frames=(jpeg(303, 150), b""), source_size_px=sizes)
    image = raw_trees.from_patches(GRID, make(record).patches[0])
    right_half = dataclasses.replace(
        record.boxes, xyxy_px=np.array([[641 * 151 / 303, 0, 641, 318]])
    )
    stored = frames.sizes(record.frames)
    (box,) = frames.fitted_boxes(GRID, right_half, sizes, stored)
    ys, xs = np.nonzero(image[..., 0] > 0.5)
    painted = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
    np.testing.assert_allclose(painted, box, atol=1.0)


def test_units_of_the_row_are_the_boxes():
    row = make(FakeRecord())
    unit = row.unit_of_token[:60].reshape(6, 10)
    assert (unit[:5, 5:] == 0).all()
    assert (unit[:5, :5] > 0).all()
    assert (unit[5] == -1).all()
    assert (row.unit_of_token[60:] == -1).all()
    assert row.unit_score[0] == 1
    assert row.is_box_unit.tolist() == [True] + [False] * 119


def test_hashes_are_those_of_the_masks():
    row = make(FakeRecord())
    digest = hashlib.sha256(b"q1").digest()
    assert row.example_hash == int.from_bytes(digest[:4], "big")
    assert row.clip_hash == name_hash("clip_a")


def test_dev_is_a_stable_share_of_groups():
    groups = [f"episode_{i}" for i in range(2000)]
    dev = {group for group in groups if video.is_dev(group, 0.1)}
    assert 150 < len(dev) < 250
    more = {group for group in groups if video.is_dev(group, 0.2)}
    assert dev < more
    assert not any(video.is_dev(group, 0.0) for group in groups)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"frames": (b"no picture", b"")}, "q1: frame 0: no picture"),
        ({"frames": (b"", b"")}, "q1: frame 0: the picture is empty"),
        ({"covered_share": np.zeros((1, 240), np.float16)}, "240 patches of a frame"),
        ({"spectrogram": np.zeros((2, 3, 60, 65), np.float16)}, "3 sub_segments"),
        ({"frames": (b"",) * 7}, "7 segments"),
    ],
)
def test_records_for_other_settings_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        make(FakeRecord(**change))
