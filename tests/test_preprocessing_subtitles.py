import pytest

from preprocessing import segments, subtitles

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
    assert subtitles.load(path) == (subtitles.Line(1.5, "hello"),)


def test_an_empty_file_says_nothing(tmp_path):
    path = tmp_path / "a.srt"
    path.write_text(" \n")
    assert subtitles.load(path) == ()


def test_nonsense_is_an_error(tmp_path):
    path = tmp_path / "a.srt"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(ValueError, match="no subtitles"):
        subtitles.load(path)
