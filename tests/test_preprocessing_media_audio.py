"""Sound files to samples and log-mel pictures, against the reference's numbers."""

import fractions

import av
import numpy as np
import pytest
from helpers import raw_trees

from preprocessing.media import audio, sound, sound_clock


def golden_wave(length: int) -> np.ndarray:
    t = np.arange(length) / 22_050
    rising = np.sin(2 * np.pi * (200 + 300 * t) * t)
    wave = 0.5 * np.sin(2 * np.pi * 440 * t) + 0.3 * rising
    return (wave + 0.1 * np.sign(np.sin(2 * np.pi * 3 * t))).astype(np.float32)


def test_log_mel_equals_the_reference(shared):
    golden = np.load(shared / "golden/reserve/spectrogram.npz")
    np.testing.assert_allclose(
        audio.mel_filterbank(), golden["mel_filterbank"], rtol=0, atol=1e-7
    )
    mel = audio.log_mel(golden_wave(int(golden["wave_len_tvqa"])))
    assert mel.shape == (180, 64)
    expected = golden["spec_tvqa"]
    np.testing.assert_allclose(
        mel.reshape(3, 60, 64), expected[..., :64], rtol=0, atol=2e-5
    )
    assert (expected[..., 64] == 1).all()
    mel = audio.log_mel(golden_wave(int(golden["wave_len_video"])))
    pieces = np.stack([mel[2:62], mel[64:124], mel[126:186]])
    expected = golden["spec_video"][..., :64]
    np.testing.assert_allclose(pieces, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("subs", [1, 2, 3])
def test_a_segment_is_its_stretch_of_the_track(subs):
    rng = np.random.default_rng(0)
    samples = rng.integers(-20_000, 20_000, 10 * audio.DECODED_HZ).astype(np.int16)
    track = audio.Track(samples, 20_000.0)
    picture = audio.spectrogram(track, 2.0, subs)
    assert picture.shape == (subs, 60, 65)
    assert (picture[..., 64] == 1).all()
    length = round(subs * 14 / 9 * audio.DECODED_HZ)
    stretch = samples[2 * audio.DECODED_HZ :][:length] / 20_000
    expected = audio.log_mel(stretch.astype(np.float32))[: 60 * subs]
    np.testing.assert_allclose(picture[..., :64].reshape(-1, 64), expected, atol=1e-5)


def test_outside_the_track_is_silence():
    track = audio.Track(raw_trees.tone(2.0, rate=audio.DECODED_HZ), 16_000.0)
    before = audio.spectrogram(track, -5.0, 1)
    np.testing.assert_array_equal(before, audio.silence(1))
    half = audio.spectrogram(track, -0.7, 1)
    assert half[0, :20, :64].max() < 1e-5
    assert half[0, 40:, :64].max() > 0.5


def test_load_resamples_a_tone_to_its_place(tmp_path):
    raw_trees.write_wav(tmp_path / "a.wav", raw_trees.tone(2.0, 1000.0))
    track = sound.load(tmp_path / "a.wav")
    assert track.duration_s == pytest.approx(2.0, abs=0.01)
    assert track.peak == pytest.approx(16_000, rel=0.02)
    spectrum = np.abs(np.fft.rfft(track.samples[: audio.DECODED_HZ]))
    assert spectrum.argmax() == pytest.approx(1000, abs=1)


def test_sound_in_a_video(tmp_path):
    raw_trees.write_video(tmp_path / "a.mp4", 3.0, has_sound=True)
    assert sound.load(tmp_path / "a.mp4").duration_s == pytest.approx(3.0, abs=0.1)
    raw_trees.write_video(tmp_path / "b.mp4", 1.0)
    assert sound.load(tmp_path / "b.mp4") is None


@pytest.mark.parametrize("content", [b"", b"no sound at all" * 50])
def test_a_bad_file_is_an_error(tmp_path, content):
    (tmp_path / "a.mp3").write_bytes(content)
    with pytest.raises(ValueError, match="cannot be decoded"):
        sound.load(tmp_path / "a.mp3")


def write_late_sound(path, start_s: float, seconds: float) -> None:
    """A Matroska file with pictures from 0 and a tone from `start_s`."""
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("mpeg4", rate=5)
        pictures.width, pictures.height, pictures.pix_fmt = 160, 90, "yuv420p"
        sound = container.add_stream("aac", rate=16_000)
        for number in range(round((start_s + seconds) * 5)):
            image = raw_trees.picture(number, 160, 90)
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode(None))
        samples = raw_trees.tone(seconds)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.rate, frame.pts = 16_000, round(start_s * 16_000)
        frame.time_base = fractions.Fraction(1, 16_000)
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))


def test_sound_that_starts_late_has_silence_before_it(tmp_path):
    write_late_sound(tmp_path / "a.mkv", 8.0, 2.0)
    track = sound.load(tmp_path / "a.mkv")
    assert track.duration_s == pytest.approx(10.0, abs=0.1)
    loud = np.abs(track.samples) > 4_000
    assert loud.argmax() / audio.DECODED_HZ == pytest.approx(8.0, abs=0.1)


def frames_of(*pieces):
    """Frames of 0.1 s of tones of (start in s, length in s)."""
    for start_s, seconds in pieces:
        for part in np.split(raw_trees.tone(seconds), round(seconds * 10)):
            frame = av.AudioFrame.from_ndarray(part[None], "s16", "mono")
            frame.rate, frame.pts = 16_000, round(start_s * 16_000)
            frame.time_base = fractions.Fraction(1, 16_000)
            yield frame
            start_s += len(part) / 16_000


def test_missing_sound_is_silence(tmp_path):
    with av.open(str(tmp_path / "a.mka"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16_000)
        for frame in [*frames_of((0.0, 2.0), (5.0, 1.0)), None]:
            container.mux(stream.encode(frame))
    track = sound.load(tmp_path / "a.mka")
    assert track.duration_s == pytest.approx(6.0, abs=0.02)
    seconds = np.flatnonzero(np.abs(track.samples) > 4_000) / audio.DECODED_HZ
    is_first = seconds < 3.5
    assert seconds[is_first].max() == pytest.approx(2.0, abs=0.02)
    assert seconds[~is_first].min() == pytest.approx(5.0, abs=0.02)


def test_one_frame_whose_time_is_wrong_moves_nothing():
    """Its neighbours agree with each other, not with it."""
    frames = frames_of((0.0, 1.0), (9.0, 0.1), (1.1, 1.0))
    times, lengths = np.array([(f.time, f.samples / f.rate) for f in frames]).T
    length = round(lengths.sum() * audio.DECODED_HZ)
    samples = np.ones(length, np.int16)
    placed = sound_clock.place(samples, times, lengths, audio.DECODED_HZ, 99.0)
    np.testing.assert_array_equal(placed.samples, samples)
    assert placed.note == ""
