"""Subtitles that are easily read wrongly: forms of times, of files, tracks, clocks."""

import json
from fractions import Fraction

import av
import pytest
from helpers import raw_trees

from mmdiffmask.data.records import shards
from preprocessing import build, items
from preprocessing.media import cues, subtitle_tracks, subtitles
from preprocessing.work import out_folder

SETTINGS = items.Settings(raw_trees.GRID)
OPTIONS = {"finder": None, "worker_count": 0, "bar": False}


def load(folder, name, content):
    """(start, end, text) of the lines of a file, in seconds, and what was told."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    told = []
    lines = subtitles.load(path, told.append)
    return [(*line.span_s, line.text) for line in lines if line.text], told


DELTA = """1
0:00:01.250000 --> 0:00:02
hi

2
0:00:03 --> 0:00:04.500000
bye

3
0:00:05 --> 0:00:06
again

4
0:00:07.100000 --> 0:00:08.900000
last
"""
COMMA = """WEBVTT

00:00:01.250 --> 00:00:02.500
hi

00:00:13,250 --> 00:00:14,500
bye

00:00:25.000 --> 00:00:26.000
last
"""


def test_some_timing_lines_are_of_another_form_than_the_rest(tmp_path):
    said = [(1.25, 2, "hi"), (3, 4.5, "bye"), (5, 6, "again"), (7.1, 8.9, "last")]
    assert load(tmp_path, "delta.srt", DELTA) == (said, [])
    said = [(1.25, 2.5, "hi"), (13.25, 14.5, "bye"), (25, 26, "last")]
    assert load(tmp_path, "comma.vtt", COMMA) == (said, [])


FORMS = [  # of 1.25 s to 2.5 s
    "00:00:01,250 --> 00:00:02,500",
    "00:00:01.250 --> 00:00:02.500",
    "0:0:1.250 --> 0:0:2.500",
    "00:00:01:250 --> 00:00:02:500",
    "00:01,250 --> 00:02,500",
    "0:01.25 --> 0:02.5",
    "0:00:01.250000 --> 0:00:02.500000",
    "00.00.01,250 --> 00.00.02,500",
    "1.25 --> 2.5",
    "00:00:01,250-->00:00:02,500",
    "00:00:01,250 -> 00:00:02,500",
    "00:00:01,250 \u2192 00:00:02,500",
    "00:00:01,250 --&gt; 00:00:02,500",
    "  00:00:01,250  -->  00:00:02,500  ",
    "00: 00: 01, 250 --> 00: 00: 02, 500",
    "00:00:01 250 --> 00:00:02 500",
    "00\uff1a00\uff1a01\uff0c250 --> 00\uff1a00\uff1a02\uff0c500",
    "00h00m01.250s --> 00h00m02.500s",
    "00:00:01,250 --> 00:00:02,500 X1:100 X2:200 Y1:10 Y2:20",
    "00:00:01.250 --> 00:00:02.500 align:start position:0%",
    "1 00:00:01,250 --> 00:00:02,500",
    "\ufeff\u200e00:00:01,250 --> 00:00:02,500\u200f",
    "0:00:01.250,0:00:02.500",
    "00:00:01,250 - 00:00:02,500",
]


@pytest.mark.parametrize("name", ["a.srt", "a.vtt"])
@pytest.mark.parametrize("form", FORMS)
def test_times_of_every_form(tmp_path, form, name):
    head = "WEBVTT\n\n" if name == "a.vtt" else "1\n"
    text = f"{head}{form}\nhi\n\n3\n00:00:05.000 --> 00:00:06.000\nbye\n"
    said, told = load(tmp_path, name, text)
    assert said == [(1.25, 2.5, "hi"), (5.0, 6.0, "bye")]
    assert told == []


def test_times_without_milliseconds_and_with_frames(tmp_path):
    text = "1\n00:00:01 --> 00:00:02\nhi\n"
    assert load(tmp_path, "a.srt", text) == ([(1.0, 2.0, "hi")], [])
    text = "1\n00:00:01:12 --> 00:00:02:00\nhi\n"
    said, told = load(tmp_path, "a.srt", text)
    assert said == [(1.48, 2.0, "hi")]
    assert told == ["its times count frames after the seconds: read as 25 a second"]
    text = "1\n00:00:01;29 --> 00:00:02;15\nhi\n"
    (said,), told = load(tmp_path, "a.srt", text)
    assert said == (pytest.approx(1.967, abs=1e-3), 2.5, "hi")
    assert "30 a second" in told[0]


def test_what_whisper_prints_is_read(tmp_path):
    text = "[00:01.250 --> 00:02.500]  hi\n[00:03.000 --> 00:04.000]  at 5:30 sharp\n"
    said, told = load(tmp_path, "a.srt", text)
    assert said == [(1.25, 2.5, "hi"), (3.0, 4.0, "at 5:30 sharp")]
    assert told == []


STRANGE = [
    "soon --> 00:00:04,000",
    "00:00:03,000 -->",
    "0O:00:O3,000 --> 00:00:04,000",
    "3 --> 4",
    "00:00:03,000",
    "-1 day, 23:59:59 --> 0:00:04",
]


@pytest.mark.parametrize("name", ["a.srt", "a.vtt"])
@pytest.mark.parametrize("line", STRANGE)
def test_a_timing_line_that_is_not_understood_is_told_and_nothing_said(
    tmp_path, line, name
):
    head = "WEBVTT\n\n" if name == "a.vtt" else ""
    text = f"1\n00:00:01.000 --> 00:00:02.000\nhi\n\n2\n{line}\nlost\nwords\n\n"
    text += "3\n00:00:05.000 --> 00:00:06.000\nbye\n"
    said, (told,) = load(tmp_path, name, head + text)
    assert said == [(1.0, 2.0, "hi"), (5.0, 6.0, "bye")]
    assert told == (
        f"1 of its 3 lines with times is not understood, such as {line!r}: what it"
        " times is left out"
    )


def test_words_on_the_line_of_their_times(tmp_path):
    text = "00:00:01.000 --> 00:00:02.000 hi there\n"
    assert load(tmp_path, "a.srt", text) == ([(1.0, 2.0, "hi there")], [])
    text = "WEBVTT\n\n00:01.000 --> 00:02.000 middle\nhi\n"  # a setting that is none
    assert load(tmp_path, "a.vtt", text) == ([(1.0, 2.0, "hi")], [])


def test_speech_about_times_and_arrows_is_speech(tmp_path):
    said = "we meet 12:30 -> 13:00\nA --> B\nstep 1 --> step 2\n2001\n12:30\n<i>ok</i>"
    text = f"1\n00:00:01,000 --> 00:00:02,000\n{said}\n"
    lines, told = load(tmp_path, "a.srt", text)
    assert lines == [(1.0, 2.0, " ".join(said.split()).replace("<i>ok</i>", "ok"))]
    assert told == []


YEAR = """WEBVTT

00:00:01.250 --> 00:00:02.500
the year
2001

00:00:03.250 --> 00:00:04.500
bye
"""


@pytest.mark.parametrize("name", ["year.vtt", "year.srt"])
def test_the_last_line_of_a_cue_may_be_a_number(tmp_path, name):
    text = YEAR if name == "year.vtt" else YEAR.removeprefix("WEBVTT\n\n")
    said = [(1.25, 2.5, "the year 2001"), (3.25, 4.5, "bye")]
    assert load(tmp_path, name, text) == (said, [])
    assert load(tmp_path, name, text.replace("\nbye", "\n12"))[0][1][2] == "12"


def srt(*texts, gap="\n\n", first=1):
    times = "00:00:0{0},000 --> 00:00:0{0},500"
    blocks = (f"{first + i}\n{times.format(i)}\n{t}" for i, t in enumerate(texts))
    return gap.join(blocks) + "\n"


@pytest.mark.parametrize("gap", ["\n\n", "\n", "\n\n\n", "\r\n\r\n", "\r\r\n\r\r\n"])
@pytest.mark.parametrize("first", [1, 7])
def test_numbers_of_cues_are_not_said(tmp_path, gap, first):
    text = srt("a", "in\n2001", "7", "", "b", gap=gap, first=first)
    if gap == "\n":  # nothing parts a number of its own from an empty cue's
        text = srt("a", "in\n2001", "7", "b", gap=gap, first=first)
    said, told = load(tmp_path, "a.srt", text)
    assert [words for *_, words in said] == ["a", "in 2001", "7", "b"]
    assert told == []


def test_a_file_that_was_cut_off_after_a_number(tmp_path):
    said, _ = load(tmp_path, "a.srt", srt("a", "b") + "\n3\n")
    assert [words for *_, words in said] == ["a", "b"]


SRT = "1\n00:00:01,250 --> 00:00:02,500\nhi\n\n2\n00:00:03,250 --> 00:00:04,500\nbye\n"
SAID = [(1.25, 2.5, "hi"), (3.25, 4.5, "bye")]
ASS = """[Script Info]
ScriptType: v4.00+

[V4+ Styles]
[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:01.25,0:00:02.50,Default,,0,0,0,,{\\i1}hi{\\i0}
Dialogue: 0,0:00:03.25,0:00:04.50,Default,,0,0,0,,bye
"""
TTML = """<?xml version="1.0" encoding="utf-8"?>
<tt xmlns="http://www.w3.org/ns/ttml"><body><div>
<p begin="00:00:01.250" end="00:00:02.500">hi</p>
<p begin="00:00:03.250" end="00:00:04.500">bye</p></div></body></tt>
"""
TEAMS = (
    "WEBVTT\n\n0:0:1.250 --> 0:0:2.500\n<v Ann>hi</v>\n\n"
    "0:0:3.250 --> 0:0:4.500\n<v Bob>bye</v>\n"
)
CONTENTS = {
    "teams.vtt": (TEAMS, ""),
    "srt_named.vtt": (SRT, ""),
    "vtt.srt": (TEAMS, "WebVTT"),
    "srt.ass": (SRT, "SubRip"),
    "ass.srt": (ASS, "SubStation Alpha"),
    "ttml.vtt": (TTML, "TTML"),
    "microdvd.srt": ("{1}{1}20\n{25}{50}hi\n{65}{90}bye\n", "MicroDVD"),
    "sbv.srt": ("0:00:01.250,0:00:02.500\nhi\n\n0:00:03.250,0:00:04.500\nbye\n", ""),
    "mpl2.srt": ("[12][25]hi\n[32][45]/bye\n", "MPL2"),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_the_form_of_a_file_is_told_by_its_content(tmp_path, name):
    content, form = CONTENTS[name]
    said, told = load(tmp_path, name, content)
    rounded = [(round(a, 1), round(b, 1), text) for a, b, text in SAID]
    assert said == (rounded if form == "MPL2" else SAID)
    ending = name[name.index(".") :]
    assert told == (
        [f"is {form} by its content, not {ending}: read as such"] if form else []
    )


def test_breaks_of_subviewer_are_no_words(tmp_path):
    text = "[INFORMATION]\n[END INFORMATION]\n00:00:01.25,00:00:02.50\nhi[br]you\n"
    assert load(tmp_path, "a.srt", text) == ([(1.25, 2.5, "hi you")], [])


def test_a_whole_file_without_milliseconds(tmp_path):
    text = SRT.replace(",250", "").replace(",500", "")
    assert load(tmp_path, "noms.srt", text)[0] == [(1, 2, "hi"), (3, 4, "bye")]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("<transcript><text start='1'>hi</text></transcript>", "is XML of a form that"),
        ('{"events": [{"segs": []}]}', "is JSON, no form of subtitles"),
        ("{25}{50}hi\n{65}{90}bye\n", "counts frames .MicroDVD. and does not say"),
        ("just words\n", "no subtitles can be read from it$"),
        ("1\nsoon --> later 3:10\nhi\n", "no subtitles can be read from it$"),
    ],
)
def test_what_is_not_read_says_why(tmp_path, content, why):
    with pytest.raises(ValueError, match=why):
        load(tmp_path, "a.srt", content)


def test_drawings_are_no_words_and_other_times_of_substation(tmp_path):
    lines = (
        "0:00:01.00,0:00:02.00,Default,,0,0,0,,{\\p1}m 0 0 l 100 0 100 100{\\p0}",
        "0:00:03.00,0:00:04.00,Default,,0,0,0,,{\\an8\\p1}m 0 0{\\p0}{\\i1}hi",
        "00:05.00,00:06.00,Default,,0,0,0,,short",
        "soon,0:00:08.00,Default,,0,0,0,,lost",
    )
    head = ASS[: ASS.index("Dialogue")]
    text = head + "".join(f"Dialogue: 0,{line}\n" for line in lines)
    said, (told,) = load(tmp_path, "a.ass", text)
    assert said == [(3.0, 4.0, "hi"), (5.0, 6.0, "short")]
    assert told.startswith("1 of its 4 lines with times is not understood, such as")
    text = "[Script Info]\n[Events]\nFormat: Start, End, Text\n"
    text += "Dialogue: 0:00:01.00,0:00:02.00,hi, you\n"
    assert load(tmp_path, "a.ass", text)[0] == [(1.0, 2.0, "hi, you")]


def test_parts_of_streams_and_word_times_are_not_said(tmp_path):
    text = "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:900000,LOCAL:00:00:00.000\n\n"
    text += "00:01.000 --> 00:02.000\nhi <00:01.500>you\n\n"
    more = text.replace("00:0", "00:1").replace("hi", "ho")
    said, told = load(tmp_path, "a.vtt", text + more)
    assert said == [(1.0, 2.0, "hi you"), (11.0, 12.0, "ho you")]
    assert told == []
    text = "1\n00:00:01,000 --> 00:00:02,000\nhi <00:01.500>you\n"
    assert load(tmp_path, "a.srt", text)[0] == [(1.0, 2.0, "hi you")]


def test_a_stamp_is_read_or_none():
    texts = ["12", "", "a", "1:2:3:4:5", "00:00:01,5oo", "\u0661:\u0662\u0663"]
    assert [cues.stamp(text) for text in texts] == [None] * len(texts)
    assert cues.stamp("1 day, 0:00:01.5").ms == 86_401_500
    assert cues.stamp("-00:00:01,500").ms == -1_500


def line(start_s, end_s, text="x"):
    return subtitles.Line(1000 * start_s, 1000 * end_s, text)


@pytest.mark.parametrize("hours", [1, 10])
def test_times_of_a_tape_are_moved_to_the_films_start(hours):
    off = 3600 * hours
    lines = line(off, off + 2), line(off + 8, off + 31)
    moved, told = subtitles.in_film(lines, 30.0)
    assert moved == (line(0, 2), line(8, 31))
    assert told == f"its times count from {hours:02}:00:00: that is taken off"


def test_lines_outside_the_film_are_told():
    inside, late = (line(1, 2), line(28, 40), line(-1, 1)), line(3600, 3601)
    assert subtitles.in_film(inside, 30.0) == (inside, "")
    kept, told = subtitles.in_film((*inside, late, line(-3, -2)), 30.0)
    assert kept == inside
    assert told == (
        "2 of its 5 lines are left out: outside the film of 30.0 s, the first at -3.0 s"
    )
    assert subtitles.in_film((late, line(3640, 3641)), 30.0)[0] == ()  # does not fit
    assert subtitles.in_film((line(50, 51),), 30.0)[0] == ()
    assert subtitles.in_film((), 30.0) == ((), "")


TRACKS = {"talk.mkv": "subrip", "talk.mp4": "mov_text", "talk.webm": "webvtt"}


def film(path, tracks, codec="subrip", seconds=4, stamp_s=0):
    """A film with tracks of subtitles: (flag, language, words) each; 1.25 to 2.5 s.

    Its stamps begin at `stamp_s`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        picture = "libvpx" if path.suffix == ".webm" else "mpeg4"
        video = container.add_stream(picture, rate=5)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        streams = []
        for flag, language, _ in tracks:
            stream = container.add_mux_stream(codec)
            stream.disposition, stream.metadata["language"] = flag, language
            streams.append(stream)
        packets = []
        for number in range(5 * seconds):
            frame = av.VideoFrame.from_ndarray(raw_trees.picture(number, 64, 48))
            frame.pts, frame.time_base = number + 5 * stamp_s, Fraction(1, 5)
            packets += video.encode(frame)
        packets += video.encode(None)
        for stream, (*_, words) in zip(streams, tracks, strict=True):
            data = words.encode()
            if codec == "mov_text":
                data = len(data).to_bytes(2) + data
            packet = av.Packet(data)
            packet.stream, packet.time_base = stream, Fraction(1, 1000)
            packet.pts = packet.dts = 1250 + 1000 * stamp_s
            packet.duration = 1250
            packets.append(packet)
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            container.mux(packet)
    return path


DEFAULT, FORCED = subtitle_tracks.DEFAULT, subtitle_tracks.FORCED
NONE = av.stream.Disposition(0)


def own(path, beside=None):
    told = []
    lines = subtitle_tracks.load(path, beside, told.append)
    return [(*found.span_s, found.text) for found in lines], told


@pytest.mark.parametrize("name", TRACKS)
def test_a_track_in_the_file_is_used(tmp_path, name):
    path = film(tmp_path / name, [(DEFAULT, "eng", "<i>hi</i> there")], TRACKS[name])
    (said,), (told,) = own(path)
    assert said[2] == "hi there"
    assert said[:2] == pytest.approx((1.25, 2.5), abs=0.002)
    assert told.startswith("its own subtitles are used, track 1 (")
    assert told.endswith("eng): 1 with words")


def test_a_tracks_times_are_those_from_the_films_start(tmp_path):
    path = film(tmp_path / "a.mkv", [(DEFAULT, "eng", "hi")], stamp_s=100)
    assert own(path)[0] == [(1.25, 2.5, "hi")]


def test_of_several_tracks_it_is_the_default_one(tmp_path):
    tracks = [(FORCED, "ger", "nein"), (NONE, "fre", "non"), (DEFAULT, "eng", "no")]
    (said,), (told,) = own(film(tmp_path / "a.mkv", tracks))
    assert said[2] == "no"
    assert "track 1 (srt, ger), track 2 (srt, fre) not" in told
    (said,), _ = own(film(tmp_path / "b.mkv", tracks[:2]))
    assert said[2] == "non"


def test_a_track_of_pictures_and_one_beside_a_file_are_told(tmp_path):
    path = film(tmp_path / "a.mkv", [(DEFAULT, "eng", "x" * 9)], "dvd_subtitle")
    said, (told,) = own(path)
    assert said == []
    assert told.startswith("its own subtitles are not used, track 1 (dvdsub, eng)")
    path = film(tmp_path / "b.mkv", [(DEFAULT, "eng", "hi")])
    said, told = own(path, "b.srt")
    assert said == []
    assert told == ["its own subtitles are not used, track 1 (srt, eng): b.srt is used"]
    assert own(tmp_path / "none.mkv") == own(tmp_path) == ([], [])


def test_records_of_a_track_in_the_file_and_of_a_tapes_clock(tmp_path):
    film(tmp_path / "raw/talk.mkv", [(DEFAULT, "eng", "hi")])
    film(tmp_path / "raw/tape.mkv", [(DEFAULT, "eng", "not this")])
    text = "1\n10:00:01,000 --> 10:00:02,000\nhello\n"
    (tmp_path / "raw/tape.srt").write_text(text)
    build.build_video(tmp_path / "raw", tmp_path / "out", SETTINGS, **OPTIONS)
    source = shards.open_split(tmp_path / "out", "train")
    made = {source[i].clip: source[i] for i in range(len(source))}
    assert made["talk"].line_text == ("hi",)
    assert made["talk"].line_start_s.tolist() == [1.25]
    assert made["tape"].line_text == ("hello",)
    assert made["tape"].line_start_s.tolist() == [1.0]
    text = (tmp_path / "out" / out_folder.REPAIRED).read_text()
    told = [json.loads(row) for row in text.splitlines()]
    assert [row["file"] for row in told] == ["talk.mkv", "tape.mkv", "tape.srt"]
    assert "tape.srt is used" in told[1]["reason"]
    assert "from 10:00:00" in told[2]["reason"]
