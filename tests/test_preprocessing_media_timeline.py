"""Time within a file: stamps that start anew, and single ones that are damaged."""

import av
import pytest
from helpers import films

from preprocessing import files
from preprocessing.media import timeline

TONES = (2, 9, 14, 20)
LENGTHS = (5, 7, 6, 6)
FORMS = {
    "ts h264": (".ts", {"codec": "libx264"}),
    "ts mpeg2": (".ts", {"codec": "mpeg2video", "fps": 25, "options": {"bf": "2"}}),
    "vob": (
        ".vob",
        {
            "codec": "mpeg2video",
            "fps": 25,
            "options": {"bf": "2"},
            "sound_codec": "mp2",
        },
    ),
    "mpg": (".mpg", {"codec": "mpeg2video", "fps": 25, "sound_codec": "mp2"}),
}


def shown(path):
    """(time, second that the picture tells) of all frames, and the timeline."""
    with files.open_container(path) as container:
        line = timeline.Timeline(container)
        stream = container.streams.video[0]
        found = [
            (time_s, films.second_of(frame.to_ndarray(format="rgb24")))
            for time_s, frame in line.frames(stream)
        ]
        return found, line


def loud(path):
    """Seconds at which tones begin and end."""
    with files.open_container(path) as container:
        line = timeline.Timeline(container)
        edges, was_loud = [], False
        for time_s, frame in line.frames(container.streams.audio[0]):
            level = abs(frame.to_ndarray().astype(float)).max()
            is_loud = level > (1000 if frame.format.name.startswith("s16") else 0.05)
            if is_loud != was_loud:
                edges.append(time_s)
            was_loud = is_loud
        return edges, line


@pytest.mark.parametrize("name", FORMS)
def test_cases_stamps_that_start_anew(tmp_path, name):
    ending, how = FORMS[name]
    path = films.write_parts(tmp_path / f"a{ending}", LENGTHS, TONES, **how)
    found, line = shown(path)
    wrong = [(t, second) for t, second in found if not -0.2 < t - second < 1.2]
    assert not wrong
    assert len({second for _, second in found}) == sum(LENGTHS)
    edges, other = loud(path)
    assert edges == pytest.approx([t for at in TONES for t in (at, at + 1)], abs=0.2)
    assert line.restarts_s == other.restarts_s == pytest.approx([5, 12, 18], abs=0.3)
    assert line.start_s == other.start_s
    assert line.damaged == other.damaged == 0
    assert line.end_s == other.end_s == pytest.approx(24, abs=0.3)


def test_cases_two_parts_of_matroska(tmp_path):
    """FFmpeg's reader does not go on to a third."""
    path = films.write_parts(tmp_path / "a.mkv", (5, 7), (2, 9), codec="libx264")
    found, line = shown(path)
    assert not [(t, second) for t, second in found if not -0.2 < t - second < 1.2]
    assert loud(path)[0] == pytest.approx([2, 3, 9, 10], abs=0.2)
    assert line.end_s == pytest.approx(12, abs=0.1)


# 33 bits at 90 kHz wrap at 95443.7 s.
STAMPS = {
    "another clock, later": (0.0, 40_000.0, 0.0, 500.0),
    "another clock, earlier": (5000.0, 300.0, 4000.0, 2.0),
    "a wrap in the third": (0.0, 100.0, 95_439.2, 0.0),
    "a wrap in the first": (95_439.2, 0.4, 0.0, 0.0),
}


@pytest.mark.parametrize("name", STAMPS)
def test_cases_clocks_of_parts_that_jump(tmp_path, name):
    how = {"codec": "libx264", "muxing": {"avoid_negative_ts": "disabled"}}
    path = tmp_path / "a.ts"
    films.write_parts(path, LENGTHS, TONES, STAMPS[name], **how)
    found, line = shown(path)
    assert not [(t, second) for t, second in found if not -0.2 < t - second < 1.2]
    edges, other = loud(path)
    assert edges == pytest.approx([t for at in TONES for t in (at, at + 1)], abs=0.2)
    assert line.restarts_s == other.restarts_s
    assert line.end_s == pytest.approx(24, abs=0.4)


class Changed:
    """A container whose packets get other stamps before they are seen."""

    def __init__(self, container, change):
        self._container, self._change = container, change

    def __getattr__(self, name):
        return getattr(self._container, name)

    def demux(self):
        for place, packet in enumerate(self._container.demux()):
            if packet.dts is not None:
                self._change(place, packet)
            yield packet


def moved(places, by_s):
    def change(place, packet):
        if place in places:
            packet.pts += round(by_s / packet.time_base)
            packet.dts += round(by_s / packet.time_base)

    return change


def require_damage_alone(path, places, by_s):
    """Of a film of 10 s the moved stamps are damaged, and nothing else changes."""
    with files.open_container(path) as container:
        line = timeline.Timeline(Changed(container, moved(places, by_s)))
        for _ in line.packets():
            pass
    assert line.restarts_s == []
    assert line.damaged == len(places)
    assert line.start_s == 0.0
    assert line.end_s == pytest.approx(10, abs=0.1)


@pytest.mark.parametrize("by_s", [-4.0, 20.0, 1e9, -1e9])
@pytest.mark.parametrize("places", [[300], [300, 340], [301], [-2]])
def test_a_damaged_stamp_starts_nothing_anew(tmp_path, places, by_s):
    path = films.write(tmp_path / "a.mkv", 10, [films.tones(10, [5])])
    with files.open_container(path) as container:
        count = sum(packet.dts is not None for packet in container.demux())
    require_damage_alone(path, [place % count for place in places], by_s)


@pytest.mark.parametrize("by_s", [7e3, 1e9, -1e9])
@pytest.mark.parametrize("places", [[0], [1], [0, 1]])
def test_a_damaged_first_stamp(tmp_path, places, by_s):
    path = films.write(tmp_path / "a.mkv", 10, [films.tones(10, [5])])
    require_damage_alone(path, places, by_s)


def test_stamps_of_an_ordinary_film_stay(tmp_path):
    how = {"codec": "libx264", "options": {"bf": "3"}}
    for ending in (".mp4", ".mkv", ".ts", ".avi", ".mov"):
        path = films.write(tmp_path / f"a{ending}", 6, [films.tones(6, [3])], **how)
        with files.open_container(path) as container:
            plain = [
                (packet.stream.index, packet.pts, packet.dts)
                for packet in container.demux()
            ]
        with files.open_container(path) as container:
            line = timeline.Timeline(container)
            found = [(p.stream.index, p.pts, p.dts) for p in line.packets()]
            start_s = (container.start_time or 0) / av.time_base
        assert found == plain
        assert line.start_s == start_s
        assert line.end_s == pytest.approx(6, abs=0.5)
        assert line.restarts_s == []
        assert line.damaged == 0


def test_a_file_starts_with_its_earliest_stamp(tmp_path):
    """The header of a Matroska file that was cut out of a stream says 0."""
    path = films.write(tmp_path / "a.mkv", 6, [films.tones(6, [3])], stamp_s=5000.0)
    found, line = shown(path)
    assert line.start_s == pytest.approx(5000, abs=0.1)
    assert [round(time_s, 1) for time_s, _ in found][:3] == [0.0, 0.2, 0.4]


def test_pictures_that_begin_late_and_pause_do_not_start_anew(tmp_path):
    how = {"codec": "libx264", "form": "mpegts"}
    sound = [films.tones(40, [30])]
    path = films.write(tmp_path / "a.ts", 40, sound, begin_s=25, **how)
    found, line = shown(path)
    assert found[0][0] == pytest.approx(25, abs=0.1)
    assert line.restarts_s == []
    assert line.end_s == pytest.approx(40, abs=0.1)
