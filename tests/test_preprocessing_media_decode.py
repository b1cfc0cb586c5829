"""Folders of frames and video files to the picture that is shown at a time."""

import av
import numpy as np
import pytest
from helpers import raw_trees

from mmdiffmask.data.records import frames as frames_lib
from preprocessing.media import decode


def left_of_red(image: np.ndarray) -> float:
    """The number of the picture, read off its red box (see raw_trees.red_box)."""
    boxes = raw_trees.find_red([image])
    return (boxes.xyxy_px[0, 0] - 10) / 3


def test_frames_of_a_video_are_those_shown_at_the_times(tmp_path):
    raw_trees.write_video(tmp_path / "a.mp4", 3.0, fps=5)
    footage = decode.open_footage(tmp_path / "a.mp4")
    assert footage.duration_s == pytest.approx(3.0, abs=0.05)
    shown = footage.frames([0.0, 0.5, 1.01, 2.9])
    assert [left_of_red(f.image) for f in shown] == pytest.approx([0, 2, 5, 14], abs=1)
    assert [f.time_s for f in shown] == pytest.approx([0.0, 0.4, 1.0, 2.8])
    assert footage.frames([9.0]) == [None]
    footage.close()


def test_frames_of_a_folder(tmp_path):
    for number in (1, 2, 3, 5):
        path = tmp_path / f"{number:05d}.jpg"
        path.write_bytes(raw_trees.jpeg(raw_trees.picture(number)))
    (tmp_path / "00006.jpg").write_bytes(b"")
    (tmp_path / "Thumbs.db").write_bytes(b"x")
    # macOS's note on a file whose name, such as "-id_00002.jpg", sorts before it.
    (tmp_path / "._00002.jpg").write_bytes(b"x")
    (tmp_path / "00002.jpg").rename(tmp_path / "-id_00002.jpg")
    footage = decode.open_footage(tmp_path)
    assert footage.duration_s == 2.0
    shown = footage.frames([0.0, 0.4, 1.0, 4 / 3, 5 / 3])
    assert [f and round(f.time_s * 3) + 1 for f in shown] == [1, 2, None, 5, None]
    assert shown[0].jpeg == (tmp_path / "00001.jpg").read_bytes()
    assert footage.problems == [
        ("", "its frame 4 is missing"),
        ("00006.jpg", "the picture is empty (0 bytes)"),
    ]


@pytest.mark.parametrize(
    ("size", "stored"),
    [((160, 90), (160, 90)), ((800, 450), (800, 450)), ((1000, 500), (900, 450))],
)
def test_stored_size_and_bytes(size, stored):
    image = raw_trees.picture(0, *size)
    data = raw_trees.jpeg(image)
    frame = decode.Frame(0.0, image, data)
    assert frame.source_size_px == size
    assert frame.stored_size_px == stored
    assert (frame.jpeg == data) == (size == stored)
    assert frames_lib.decode_jpeg(frame.jpeg).shape == (stored[1], stored[0], 3)


@pytest.mark.parametrize("name", ["zero.mp4", "text.mp4", "sound.mp4"])
def test_no_video(tmp_path, name):
    raw_trees.write_wav(tmp_path / "sound.mp4", raw_trees.tone(0.5))
    (tmp_path / "zero.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_bytes(b"not a video " * 500)
    with pytest.raises(ValueError, match=r"no video that opens|no pictures"):
        decode.open_footage(tmp_path / name)


def test_a_cut_video_shows_what_is_left(tmp_path):
    raw_trees.write_video(tmp_path / "whole.mkv", 8.0)
    data = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    footage = decode.open_footage(tmp_path / "cut.mkv")
    first, last = footage.frames([1.0, 7.5])
    assert first is not None
    assert last is None
    (tmp_path / "cut.mp4").write_bytes(data[:30])
    with pytest.raises(ValueError, match="no video that opens"):
        decode.open_footage(tmp_path / "cut.mp4")


def test_a_cover_before_the_pictures_is_not_shown(tmp_path):
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        film = container.add_stream("mpeg4", rate=5)
        film.width, film.height, film.pix_fmt = 160, 90, "yuv420p"
        for stream, numbers in ((cover, range(1)), (film, range(20))):
            size = stream.width, stream.height
            for number in numbers:
                image = raw_trees.picture(number, *size)
                frame = av.VideoFrame.from_ndarray(image, "rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    footage = decode.open_footage(tmp_path / "a.mkv")
    shown = footage.frames([0.0, 3.0])
    assert [frame and frame.source_size_px for frame in shown] == [(160, 90)] * 2
    footage.close()
