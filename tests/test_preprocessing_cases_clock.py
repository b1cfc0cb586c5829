"""Sound whose packets are missing, overlap, or run at another clock."""

import av
import numpy as np
import pytest
from helpers import films
from test_preprocessing_cases_sound import loud_s, made

from preprocessing.media import sound, sound_clock
from preprocessing.media.audio import DECODED_HZ

TONES = (5, 15, 25, 35)
FRAME_S = 0.02


def is_said(time_s):
    return any(start - 0.1 < time_s < start + 1.1 for start in TONES)


def test_cases_small_gaps(tmp_path):
    films.write(
        tmp_path / "raw/call.mkv",
        40,
        [films.tones(40, TONES)],
        sound_codec="libopus",
        lost=lambda s: round(s / FRAME_S) % 4 == 3 and not is_said(s),
    )
    track = sound.load(tmp_path / "raw/call.mkv")
    np.testing.assert_allclose(loud_s(track), TONES, atol=0.11)
    assert track.duration_s == pytest.approx(40, abs=0.1)
    _, told = made(tmp_path / "raw", tmp_path / "out")
    (reason,) = told["call.mkv"]
    assert "s missing: silence there" in reason and "ends" not in reason


def restamped(path, source, stamp_s=lambda s: s, is_damaged=lambda s: False):
    """A copy whose packets of sound lie elsewhere, or hold what is no sound."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        streams = {s.index: new.add_stream_from_template(s) for s in old.streams}
        packets = []
        for packet in old.demux():
            if packet.dts is None:
                continue
            index = packet.stream.index
            if packet.stream.type == "audio":
                time_s = float(packet.pts * packet.time_base)
                if is_damaged(time_s):
                    unit, packet = packet.time_base, av.Packet(b"\x5a" * packet.size)
                    packet.time_base = unit
                packet.pts = packet.dts = round(stamp_s(time_s) / packet.time_base)
            packet.stream = streams[index]
            packets.append(packet)
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            new.mux(packet)
    return path


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("clock") / "film.mkv"
    return films.write(path, 40, [films.tones(40, TONES)])


@pytest.mark.parametrize("rate", [0.95, 0.995, 1.004, 1.01, 1.0884])
def test_another_clock_moves_nothing_out_of_its_place(film, tmp_path, rate):
    path = restamped(tmp_path / "a.mkv", film, lambda time_s: time_s * rate)
    track = sound.load(path)
    np.testing.assert_allclose(loud_s(track), np.array(TONES) * rate, atol=0.11)
    assert "its clock is off by" in track.notes[0]
    assert "missing" not in track.notes[0]


def test_a_pause_of_an_encoder_is_silence(film, tmp_path):
    """As a call's that sends nothing while nobody speaks."""
    path = restamped(tmp_path / "a.mkv", film, lambda s: s + 60 * (s > 20))
    track = sound.load(path)
    np.testing.assert_allclose(loud_s(track), [5, 15, 85, 95], atol=0.11)


@pytest.mark.parametrize("frame_s", [0.01, 0.0232, 0.064])
def test_trembling_stamps_of_ordinary_files_move_nothing(frame_s):
    lengths = np.full(2_000, frame_s)
    times = np.round(np.cumsum(lengths), 3) + np.tile([0, 0.02], 1_000)
    samples = np.arange(round(lengths.sum() * DECODED_HZ)).astype(np.int16)
    placed = sound_clock.place(samples, times, lengths, DECODED_HZ, 1e5)
    assert placed.samples is samples and placed.note == "" and placed.start_s == 0


def stamps(count=500):
    """Samples that number their frames, the frames' times and lengths, in 0.02 s."""
    size = round(FRAME_S * 16_000)
    samples = np.repeat(np.arange(1, count + 1), size).astype(np.int16)
    return samples, np.arange(count) * FRAME_S, np.full(count, FRAME_S)


def placed(samples, times, lengths, longest_s=1e5):
    return sound_clock.place(samples, times, lengths, 16_000, longest_s)


@pytest.mark.parametrize("place", [0, 1, 250, 498, 499])
@pytest.mark.parametrize("wrong", [3_600.0, -3_600.0, 1.0, np.nan])
def test_a_damaged_stamp_moves_nothing(place, wrong):
    samples, times, lengths = stamps()
    times[place] += wrong
    found = placed(samples, times, lengths)
    np.testing.assert_array_equal(found.samples, samples)
    assert found.note == ""
    if place == 0 and np.isfinite(wrong):  # the others say where the track starts
        assert times[0] + found.start_s == pytest.approx(0)


def test_frames_without_stamps_go_on_by_counting():
    samples, times, lengths = stamps()
    times[250:] += 10
    times[100:200] = times[260:400] = np.nan
    found = placed(samples, times, lengths)
    assert len(found.samples) == len(samples) + 160_000
    assert found.samples[250 * 320 + 160_000] == 251
    assert (found.samples[250 * 320 :][:160_000] == 0).all()


def test_what_overlaps_is_left_out():
    samples, times, lengths = stamps()
    times[250:] -= 2
    found = placed(samples, times, lengths)
    assert len(found.samples) == len(samples) - 32_000
    assert found.samples[249 * 320] == 250 and found.samples[250 * 320] == 351
    assert "2.0 s overlap: left out" in found.note


def test_every_second_frame_missing_is_silence_not_a_slow_clock():
    samples, times, lengths = stamps()
    found = placed(samples, times * 2, lengths)
    assert (found.samples[::640] == np.arange(1, 501)).all()
    assert (found.samples[320::640] == 0).all()


def test_stamps_that_are_no_times_are_not_believed():
    samples, times, lengths = stamps()
    found = placed(samples, times * 0, lengths)
    np.testing.assert_array_equal(found.samples, samples)
    assert "its time stamps are no times" in found.note


def test_what_is_placed_late_is_cut():
    samples, times, lengths = stamps()
    times[250:] += 1e6
    assert len(placed(samples, times, lengths, 100.0).samples) <= 1_600_000


@pytest.mark.parametrize(
    "name, how",
    [
        ("a.ts", {"codec": "libx264", "form": "mpegts"}),
        ("a.vob", {"codec": "mpeg2video", "sound_codec": "mp2", "fps": 25}),
    ],
)
def test_cases_joined_sound(tmp_path, name, how):
    path = films.write_parts(tmp_path / name, (12, 18), (5, 15, 25), **how)
    track = sound.load(path)
    np.testing.assert_allclose(loud_s(track), [5, 15, 25], atol=0.11)
    assert track.duration_s == pytest.approx(30, abs=0.2)


def test_packets_that_are_damaged_are_silence(film, tmp_path):
    """What follows them is heard, and in its place."""
    path = restamped(tmp_path / "a.mkv", film, is_damaged=lambda s: 18 < s < 22)
    track = sound.load(path)
    np.testing.assert_allclose(loud_s(track), TONES, atol=0.11)
    assert any("packets of its sound are damaged" in note for note in track.notes)


def test_a_track_of_damaged_packets_alone_is_passed_over(film, tmp_path):
    path = restamped(tmp_path / "a.mkv", film, is_damaged=lambda s: True)
    with pytest.raises(ValueError, match="its sound cannot be decoded to the end"):
        sound.load(path)
