"""Films that are easily read wrongly: which pictures are shown, and when."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from helpers import films, raw_trees

from mmdiffmask.data.records import shards
from preprocessing import build, items
from preprocessing.media import decode, video_file
from preprocessing.work import out_folder

MIDDLES = [(place + 0.5) * 14 / 3 for place in range(6)]


def shown(path, times_s=tuple(MIDDLES)):
    """The seconds that the pictures at the times tell (None = none), and problems."""
    footage = decode.open_footage(path)
    frames = footage.frames(times_s)
    footage.close()
    told = [reason for _, reason in footage.problems]
    return [frame and films.second_of(frame.image) for frame in frames], told


# --- time --------------------------------------------------------------------------


def test_cases_parts_joined_as_bytes(tmp_path):
    how = {"codec": "libx264", "form": "mpegts"}
    path = films.write_parts(tmp_path / "a.ts", (12, 18), (5, 15, 25), **how)
    footage = decode.open_footage(path)
    assert footage.duration_s == pytest.approx(30, abs=0.2)
    found, told = shown(path)
    assert found == [2, 7, 11, 16, 21, 25]
    assert [reason[:37] for reason in told] == ["its time stamps start anew at 12.0 s:"]


@pytest.mark.parametrize("ending", [".mp4", ".flv"])
def test_cases_joined_bytes_that_cannot_be_reached_are_told(tmp_path, ending):
    path = films.write_parts(tmp_path / f"a{ending}", (5, 7), (2,), codec="libx264")
    found, told = shown(path, [1.5, 4.5, 9.5])
    assert found == [1, 4, None]
    assert "another file's bytes follow it after 5.0 s: they are not used" in told


def film_that_says(path, duration_s, header_s):
    """A Matroska film whose header names another duration."""
    films.write(path, duration_s)
    data = bytearray(path.read_bytes())
    at = data.index(b"\x44\x89\x88") + 3
    data[at : at + 8] = struct.pack(">d", 1000.0 * header_s)
    path.write_bytes(data)
    return path


def test_cases_a_header_that_says_less(tmp_path):
    path = film_that_says(tmp_path / "a.mkv", 30, header_s=10)
    assert decode.open_footage(path).duration_s == pytest.approx(30, abs=0.1)
    found, told = shown(path)
    assert found == [2, 7, 11, 16, 21, 25]
    assert told == ["its header says 10.0 s, but it ends at 30.0 s: all of it is used"]


def test_cases_a_header_that_says_more(tmp_path):
    path = film_that_says(tmp_path / "a.mkv", 10, header_s=30)
    assert decode.open_footage(path).duration_s == 30.0
    assert shown(path, [9.5, 16])[1] == ["its pictures end at 9.8 of 30.0 s"]


@pytest.mark.parametrize("name", ["a.h264", "a.m4v", "live.mkv"])
def test_cases_no_length_in_the_header(tmp_path, name):
    """Nor stamps in a raw stream: then pictures are 25 a second."""
    codec = "mpeg4" if name == "a.m4v" else "libx264"
    muxing = {"live": "1"} if name == "live.mkv" else None
    how = {"codec": codec, "fps": 25, "muxing": muxing, "options": {"bf": "2"}}
    path = films.write(tmp_path / name, 8, **how)
    assert decode.open_footage(path).duration_s == pytest.approx(8, abs=0.2)
    assert shown(path, [0.5, 3.5, 7.5])[0] == [0, 3, 7]


@pytest.mark.parametrize("ending", [".mkv", ".ts", ".mp4"])
def test_cases_pictures_that_begin_late(tmp_path, ending):
    sound = [films.tones(30, [5])]
    path = films.write(tmp_path / f"a{ending}", 30, sound, codec="libx264", begin_s=12)
    found, told = shown(path, [time_s + 0.2 for time_s in MIDDLES])
    assert found == [None, None, 11, 16, 21, 25] or found[2:] == [12, 16, 21, 25]
    assert found[:2] == [None, None]
    assert told == ["its pictures begin at 12.0 of 30.0 s"]


def test_a_picture_that_is_late_by_an_encoders_delay_stands_for_the_start(tmp_path):
    path = films.write(tmp_path / "a.mkv", 5, [films.tones(5, [2])], begin_s=0.6)
    assert shown(path, [0.0, 1.5]) == ([0, 1], [])


@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "mpeg2video"])
def test_cases_b_frames_in_an_avi_file(tmp_path, codec):
    """Its stamps say when to decode: pictures come in order of time all the same."""
    how = {"codec": codec, "options": {"bf": "3"}, "fps": 25, "sound_codec": "mp3"}
    path = films.write(tmp_path / "a.avi", 12, [films.tones(12, [3])], **how)
    every = [0.5 + n / 25 for n in range(270)]
    found, told = shown(path, every)
    late = [t - second for t, second in zip(every, found, strict=True)]
    assert -0.1 < min(late) and max(late) < 1.2
    assert found == sorted(found)
    assert told == []


def test_what_is_too_large_to_keep_is_read_twice(tmp_path, monkeypatch):
    how = {"codec": "libx264", "form": "mpegts", "options": {"bf": "2"}}
    path = films.write_parts(tmp_path / "a.ts", (12, 18), (5, 15, 25), **how)
    once = shown(path)
    monkeypatch.setattr(video_file, "MAX_KEPT", 1000)
    assert shown(path) == once


# --- what can be decoded --------------------------------------------------------------


def without_decoder(path, name=b"mp4v", times=1):
    """Gives the first sample entries of that name to another codec."""
    data = bytearray(path.read_bytes())
    at = 0
    for _ in range(times):
        at = data.index(name, data.index(b"stsd", at))
        data[at : at + 4] = b"zzzz"
        esds = data.find(b"esds", at)
        data[esds : esds + 4] = b"free"
    path.write_bytes(data)
    return path


def write_two(path):
    """A film of 160x96 and one of 80x48 in one file."""
    with av.open(str(path), "w") as container:
        streams = []
        for size in (films.SIZE, (80, 48)):
            stream = container.add_stream("mpeg4", rate=films.FPS)
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            streams.append(stream)
        for number in range(20):
            for stream in streams:
                image = films.grey(number // films.FPS, (stream.width, stream.height))
                frame = av.VideoFrame.from_ndarray(image, "rgb24")
                frame.pts, frame.time_base = number, Fraction(1, films.FPS)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    return path


def test_cases_pictures_without_a_decoder_cost_their_clip(tmp_path):
    raw = tmp_path / "raw"
    films.write(raw / "good.mp4", 4)
    without_decoder(films.write(raw / "odd.mp4", 4))
    without_decoder(write_two(raw / "both.mp4"), times=2)
    options = {"worker_count": 0, "bar": False, "finder": raw_trees.EachFrame(no_boxes)}
    manifest = build.build_video(raw, tmp_path / "out", items.Settings(), **options)
    source = shards.open_split(tmp_path / "out", "train")
    assert [source[i].clip for i in range(len(source))] == ["good"]
    skipped = (tmp_path / "out" / out_folder.SKIPPED).read_text()
    assert skipped.count("no decoder is known for them") == 2
    assert manifest.counts["skipped"] == 2


def no_boxes(images):
    from preprocessing.boxes import patch_groups

    return patch_groups.no_boxes()


def test_cases_the_best_film_that_can_be_decoded_is_used(tmp_path):
    path = write_two(tmp_path / "a.mp4")
    footage = decode.open_footage(path)
    (frame,) = footage.frames([2.5])
    assert frame.source_size_px == (160, 96)
    assert footage.problems == [("", "has 2 films: that of stream 0 is used")]
    footage = decode.open_footage(without_decoder(path))
    (frame,) = footage.frames([2.5])
    assert frame.source_size_px == (80, 48)
    assert films.second_of(frame.image) == 2
    ((_, told),) = footage.problems
    assert told == (
        "has 2 films: that of stream 1 is used (its pictures cannot be decoded: no"
        " decoder is known for them in stream 0)"
    )


def cover(container):
    """A stream whose only picture is no film."""
    stream = container.add_stream("mjpeg", rate=1)
    stream.width, stream.height, stream.pix_fmt = 64, 64, "yuvj420p"
    stream.disposition = av.stream.Disposition.attached_pic
    frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")
    frame.pts, frame.time_base = 0, Fraction(1, 1)
    return stream, frame.reformat(format="yuvj420p")


def test_cases_a_cover_is_no_film(tmp_path):
    path = tmp_path / "a.m4v"
    with av.open(str(path), "w", format="mp4") as container:
        sound = container.add_stream("aac", films.HZ, layout="mono")
        stream, frame = cover(container)
        packets = [*stream.encode(frame), *stream.encode(None)]
        packets += films.encode_sound(sound, films.tones(3, [1])[None])
        for packet in packets:
            container.mux(packet)
    with pytest.raises(ValueError, match="holds no pictures but a cover"):
        decode.open_footage(path)
