"""Subtitle files to the text of each segment and to lines with their times."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.media import segments, subtitles

SRT = """1
00:00:00,500 --> 00:00:02,500
(Ann:)It\u2019s a <i>caf\u00e9</i>,
isn't it?

2
00:00:04,000 --> 00:00:05,400
schÃ¶n

3
00:00:04,200 --> 00:00:05,600
late
"""


def test_text_is_cleaned_and_put_into_the_segment_of_its_middle(tmp_path):
    path = tmp_path / "a.srt"
    path.write_text(SRT, encoding="utf-8")
    lines = subtitles.load(path)
    assert [line.middle_s for line in lines] == [1.5, 4.7, 4.9]
    (window,) = segments.consecutive(10.0, 7, 3)
    texts = subtitles.by_segment(lines, window, 7)
    # 4.7 s lies past the first segment's end, 4.667 s.
    assert texts[0] == "(Ann:)It's a cafe, isn't it?"
    assert texts[1] == "schon late"
    assert texts[2:] == ("",) * 5


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_other_encodings(tmp_path, encoding):
    path = tmp_path / "a.srt"
    path.write_bytes("1\n00:00:01,000 --> 00:00:02,000\ncaf\u00e9\n".encode(encoding))
    assert [line.text for line in subtitles.load(path)] == ["cafe"]


def test_vtt(tmp_path):
    path = tmp_path / "a.vtt"
    path.write_text("WEBVTT\n\n00:01.000 --> 00:02.000\nhello\n")
    assert subtitles.load(path) == (subtitles.Line(1000, 2000, "hello"),)


NAMED_VTT = """WEBVTT
Kind: captions

STYLE
::cue { color: red }

first
00:01.000 --> 00:02.000
<v Bob Smith>Hi <i.loud>there</i> &amp; you</v>

NOTE not said

second
00:02.000 --> 00:03.000
again
"""
# As YouTube writes automatic captions, empty lines of one blank included.
ROLLING_VTT = """WEBVTT

00:00:00.000 --> 00:00:02.070 align:start position:0%
 
hello<00:00:00.500><c> big</c><00:00:01.000><c> world</c>

00:00:02.070 --> 00:00:02.080 align:start position:0%
hello big world
 

00:00:02.080 --> 00:00:04.000 align:start position:0%
hello big world
this<00:00:02.500><c> is</c>
"""


def test_names_styles_and_notes_of_a_vtt_file_are_not_said(tmp_path):
    path = tmp_path / "a.vtt"
    path.write_text(NAMED_VTT)
    said = [(line.start_ms, line.text) for line in subtitles.load(path)]
    assert said == [(1000, "Hi there & you"), (2000, "again")]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_automatic_captions_are_said_once_and_without_times(tmp_path, end):
    path = tmp_path / "a.vtt"
    path.write_bytes(ROLLING_VTT.replace("\n", end).encode())
    lines = [line for line in subtitles.load(path) if line.text]
    assert lines == [
        subtitles.Line(0, 2070, "hello big world"),
        subtitles.Line(2080, 4000, "this is"),
    ]


def test_an_empty_file_says_nothing(tmp_path):
    path = tmp_path / "a.srt"
    path.write_text(" \n")
    assert subtitles.load(path) == ()


def test_nonsense_is_an_error(tmp_path):
    path = tmp_path / "a.srt"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(ValueError, match="no subtitles"):
        subtitles.load(path)


def window_of(start_s, places=2, length_s=10.0):
    found = (start_s + length_s * i for i in range(places))
    return segments.Window(
        tuple(segments.Segment(s, s + length_s / 2) for s in found), length_s
    )


def test_lines_that_overlap_the_window_keep_their_times():
    lines = (
        subtitles.Line(0, 4000, "before"),
        subtitles.Line(0, 5000, "ends where it starts"),
        subtitles.Line(9000, 9500, "second"),
        subtitles.Line(3000, 6500, "first"),
        subtitles.Line(7000, 8000, ""),
        subtitles.Line(24000, 31000, "last"),
        subtitles.Line(25000, 26000, "after"),
    )
    found = subtitles.in_window(lines, window_of(5.0))
    assert found["line_text"] == ("first", "second", "last")
    assert found["line_start_s"].tolist() == [-2.0, 4.0, 19.0]
    assert found["line_end_s"].tolist() == [1.5, 4.5, 26.0]
    assert found["line_start_s"].dtype == found["line_end_s"].dtype == np.float32


def test_reversed_and_missing_times():
    lines = (
        subtitles.Line(7000, 6000, "reversed"),
        subtitles.Line(8000, math.nan, "no end"),
        subtitles.Line(math.nan, 9000, "no start"),
        subtitles.Line(5000, 5000, "no length, at the start"),
        subtitles.Line(25000, 25000, "no length, at the end"),
        subtitles.Line(26000, 9000, "reversed, starts after"),
    )
    found = subtitles.in_window(lines, window_of(5.0))
    assert found["line_text"] == ("no length, at the start", "reversed", "no end")
    assert found["line_start_s"].tolist() == [0.0, 2.0, 3.0]
    assert found["line_end_s"].tolist() == [0.0, 2.0, 3.0]


def test_a_reversed_line_keeps_its_place_in_the_text():
    lines = (subtitles.Line(17000, 6000, "odd"),)  # its middle is 11.5 s
    assert subtitles.by_segment(lines, window_of(0.0), 2) == ("", "odd")


def test_no_lines():
    found = subtitles.in_window((), window_of(0.0))
    assert found["line_text"] == ()
    assert found["line_start_s"].shape == found["line_end_s"].shape == (0,)


millis = st.one_of(st.integers(-5000, 40000), st.just(math.nan))


@settings(deadline=None)  # machines under load stall
@given(st.lists(st.tuples(millis, millis), max_size=20), st.floats(-5.0, 20.0))
def test_laws_of_lines(times, start_s):
    lines = tuple(subtitles.Line(a, b, f"<{i}>") for i, (a, b) in enumerate(times))
    found = subtitles.in_window(lines, window_of(start_s))
    start, end = found["line_start_s"], found["line_end_s"]
    assert len(found["line_text"]) == len(set(found["line_text"])) == len(start)
    assert (np.diff(start) >= 0).all() and (start <= end).all()
    assert (start <= 20.0).all() and (end >= 0.0).all()
    for i, (a, b) in enumerate(times):
        if 1000 * start_s <= a < 1000 * (start_s + 20) - 1e-6:
            assert f"<{i}>" in found["line_text"]
        if not math.isnan(a) and max(a, b) < 1000 * start_s - 1e-6:
            assert f"<{i}>" not in found["line_text"]


@pytest.mark.parametrize(
    ("colour", "start"), [("", "0:00:01.00"), ("&H0", "soon"), ("&Hx", "0:00:01.00")]
)
def test_what_the_parser_stumbles_over_is_told_in_our_words(tmp_path, colour, start):
    path = tmp_path / "a.ass"
    styles = "Style: Default,Arial,20," + colour + "\n"
    path.write_text(f"[V4+ Styles]\n{styles}[Events]\nDialogue: 0,{start},0:02,,,,,,,x")
    with pytest.raises(ValueError, match="^no subtitles can be read from it$"):
        subtitles.load(path)
