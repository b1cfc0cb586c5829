"""Sound tracks and channels that are easily taken wrongly."""

import json
import struct

import av
import numpy as np
import pytest
from av.stream import Disposition
from helpers import films

from mmdiffmask.data.records import shards
from preprocessing import __main__ as command
from preprocessing import build, items
from preprocessing.media import audio, languages, sound
from preprocessing.media.audio import DECODED_HZ

SILENT, FIVE, SEVEN = (films.tones(10, at_s) for at_s in ([], [5], [7]))
AT_SEVEN = [[1, 1], [1, 2]]  # segment, sub-segment
OPTIONS = {"finder": None, "worker_count": 0, "bar": False}


def loud_s(track: audio.Track) -> list[float]:
    """Where each tone starts, to a tenth of a second."""
    size = DECODED_HZ // 10
    parts = np.abs(track.samples[: len(track.samples) // size * size].astype(int))
    is_loud = parts.reshape(-1, size).max(1) > track.peak / 4
    starts = np.flatnonzero(is_loud & ~np.roll(is_loud, 1)) if track.peak > 1 else []
    return [place / 10 for place in starts]


def made(raw, out, **settings):
    """Clip -> (where it is loud by segment and sub-segment); file -> reasons."""
    build.build_video(raw, out, items.Settings(**settings), **OPTIONS)
    loud = {}
    for split in shards.splits(out):
        for record in shards.open_split(out, split):
            mel = record.spectrogram[..., :-1].max(axis=(2, 3))
            loud[record.example_id.split("~w")[0]] = np.argwhere(mel > 1).tolist()
    told = {}
    for line in (out / "repaired.jsonl").read_text().splitlines():
        row = json.loads(line)
        told.setdefault(row["file"], []).append(row["reason"])
    return loud, told


def rename_codec(path, old, new):
    """The first sample entry of that name becomes another codec's, without its esds."""
    data = bytearray(path.read_bytes())
    at = data.index(old, data.index(b"stsd"))
    esds = data.index(b"esds", at)
    data[at : at + 4], data[esds : esds + 4] = new, b"free"
    path.write_bytes(data)


def write_sound(path, wave, codec="pcm_s16le", layout="mono", options=None):
    """A file of sound alone: (channels, n) at 48 kHz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        more = {"layout": layout, "options": options or {}}
        track = container.add_stream(codec, films.HZ, **more)
        for packet in films.encode_sound(track, np.atleast_2d(wave), layout):
            container.mux(packet)
    return path


# --- tracks ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dub.mkv", "dub.mp4"])
def test_the_default_track_is_heard(tmp_path, name):
    path = films.write(tmp_path / name, 10, [SILENT, FIVE], default=1)
    track = sound.load(path)
    assert loud_s(track) == [5.0]
    assert track.notes == ("its sound track 2 of 2 is used: it is the default one",)


def marked(**marks):
    """Gives sound tracks languages and flags before the header is written."""

    def settle(container):
        pairs = zip(container.streams.audio, marks["languages"], strict=True)
        for stream, language in pairs:
            stream.metadata["language"] = language
        for number, flags in marks.get("flags", {}).items():
            container.streams.audio[number].disposition = flags

    return settle


def test_a_commentary_is_passed_over_even_if_it_is_the_first_or_default(tmp_path):
    flags = {0: Disposition.comment | Disposition.default, 1: Disposition(0)}
    settle = marked(languages=["eng", "eng"], flags=flags)
    path = films.write(tmp_path / "a.mkv", 10, [SILENT, FIVE], settle=settle)
    track = sound.load(path)
    assert loud_s(track) == [5.0]
    assert "track 2 (eng) of 2 is used: it is no commentary" in track.notes[0]
    assert loud_s(sound.load(path, wanted="1")) == []


def test_several_or_no_defaults_are_the_first(tmp_path):
    for number, flag in enumerate([Disposition(0), Disposition.default]):
        settle = marked(languages=["eng", "fra"], flags={0: flag, 1: flag})
        path = tmp_path / f"{number}.mkv"
        films.write(path, 10, [FIVE, SILENT], settle=settle)
        assert loud_s(sound.load(path)) == [5.0]


@pytest.mark.parametrize(
    "wanted, at_s, note",
    [
        ("2", 7.0, "sound track 2 (ger) of 2 is used: it is the one that was chosen"),
        ("de", 7.0, "sound track 2 (ger) of 2 is used: it is the one that was chosen"),
        ("eng", 5.0, "sound track 1 (eng) of 2 is used: it is the one that was"),
        ("3", 5.0, "holds no sound track 3: its sound track 1 (eng) is used"),
        ("fr", 5.0, "holds no sound in fr: its sound track 1 (eng) is used"),
    ],
)
def test_a_track_is_chosen_by_number_or_language(tmp_path, wanted, at_s, note):
    settle = marked(languages=["eng", "ger"])
    path = films.write(tmp_path / "a.mkv", 10, [FIVE, SEVEN], settle=settle)
    track = sound.load(path, wanted=wanted)
    assert loud_s(track) == [at_s]
    assert note in track.notes[0]


def test_languages():
    assert languages.is_same("en", "eng") and languages.is_same("ger", "de-AT")
    assert languages.is_same("pt_BR", "pt-br") and not languages.is_same("en", "")
    assert not languages.is_same("pt-BR", "pt-PT") and not languages.is_same("en", None)
    known = ["en", "eng", "de-AT", "nah", "zh-Hant-TW"]
    assert all(map(languages.is_known, known))
    assert not any(map(languages.is_known, ["", "xx", "english", "e", "0", "-1"]))


def test_the_choice_is_a_flag_that_records_depend_on(tmp_path, capsys):
    settle = marked(languages=["eng", "ger"])
    films.write(tmp_path / "raw/a.mkv", 10, [FIVE, SEVEN], settle=settle)
    loud, _ = made(tmp_path / "raw", tmp_path / "chosen", sound_track="2")
    assert loud == {"a": AT_SEVEN}
    args = ["video", "--raw", str(tmp_path / "raw"), "--out", str(tmp_path / "out")]
    args += ["--bodies", "none", "--faces", "none", "--sound-track", "2"]
    assert command.main(args) == 0
    args[-1] = "1"
    assert command.main(args) == 2
    assert 'made with sound_track "2", not "1"' in capsys.readouterr().err
    for text in ("0", "english", "-1"):
        with pytest.raises(SystemExit) as stopped:
            command.main([*args[:-1], text])
        assert stopped.value.code == 2


def test_cases_unknown_codecs_of_sound(tmp_path):
    raw = tmp_path / "raw"
    films.write(raw / "good.mp4", 10, [FIVE])
    films.write(raw / "only.mp4", 10, [FIVE])
    films.write(raw / "first.mp4", 10, [SILENT, FIVE])
    rename_codec(raw / "only.mp4", b"mp4a", b"ac-4")
    rename_codec(raw / "first.mp4", b"mp4a", b"ac-4")
    loud, told = made(raw, tmp_path / "out")
    assert loud == {"first": [[1, 0]], "good": [[1, 0]], "only": []}
    assert set(told) == {"first.mp4", "only.mp4"}
    assert "there is no decoder for it: the clip is silent" in told["only.mp4"][0]
    passed, used = sorted(told["first.mp4"])
    assert "sound track 1 is passed over" in passed or "track 1" in passed
    assert "track 2 of 2 is used: it is the next that can be decoded" in used
    (record,) = [
        r for r in shards.open_split(tmp_path / "out", "train") if r.clip == "only"
    ]
    assert not record.is_audio_valid.any() and record.is_frame_valid.any()


def test_a_track_without_packets_is_passed_over(tmp_path):
    def settle(container):
        container.streams.audio[0].disposition = Disposition(0)
        container.add_stream("aac", films.HZ).disposition = Disposition.default

    path = films.write(tmp_path / "a.mkv", 10, [FIVE], settle=settle)
    track = sound.load(path)
    assert loud_s(track) == [5.0]
    assert track.notes[0] == "its sound track 2 is passed over: it is empty"


# --- channels --------------------------------------------------------------------


def described(labels):
    """The body of a `chan` atom that names each channel."""
    rows = b"".join(struct.pack(">II3f", label, 0, 0, 0, 0) for label in labels)
    return struct.pack(">IIII", 0, 0, 0, len(labels)) + rows


def with_chan(data, body):
    """The same file with another `chan` atom (moov lies last: no offset moves)."""
    data = bytearray(data)
    at = data.find(b"chan") - 4
    more = 8 + len(body) - struct.unpack(">I", data[at : at + 4])[0]
    stsd = data.rfind(b"stsd", 0, at) - 4
    names = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
    parents = [data.rfind(name, 0, at) - 4 for name in names]
    for place in [*parents, stsd, stsd + 16]:
        size = struct.unpack(">I", data[place : place + 4])[0]
        data[place : place + 4] = struct.pack(">I", size + more)
    end = at + 8 + len(body) - more
    data[at:end] = struct.pack(">I", 8 + len(body)) + b"chan" + body
    return bytes(data)


@pytest.mark.parametrize(
    "layout, count, body",
    [
        ("7.1", 8, struct.pack(">IIII", 0, 128 << 16 | 8, 0, 0)),
        ("4.0", 4, described([0] * 4)),
        ("stereo", 2, described([2, 1])),
    ],
)
def test_cases_custom_layouts(tmp_path, layout, count, body):
    path, wave = tmp_path / "a.mov", np.repeat(FIVE[None], count, 0)
    films.write(path, 10, [wave], sound_codec="pcm_s16le", layout=layout)
    path.write_bytes(with_chan(path.read_bytes(), body))
    assert loud_s(sound.load(path)) == [5.0]


@pytest.mark.parametrize("count", [3, 6, 9, 70])
def test_channels_without_names_are_averaged(tmp_path, count):
    """The last one counts as the others; as a name it may be a subwoofer's."""
    wave = np.zeros((count, 8 * films.HZ), np.int16)
    wave[-1] = FIVE[: 8 * films.HZ]
    if count > 3:
        wave[3] = SEVEN[: 8 * films.HZ]
    name = f"{count} channels"
    paths = [write_sound(tmp_path / "a.wav", wave, layout=name)]
    if count in (3, 9):
        opus = {"codec": "libopus", "options": {"mapping_family": "255"}}
        paths.append(write_sound(tmp_path / "a.mka", wave, layout=name, **opus))
    for path in paths:
        track = sound.load(path)
        assert track.peak == pytest.approx(16_000 / count, rel=0.2)
        assert loud_s(track) == ([5.0, 7.0] if count > 3 else [5.0])


def test_of_an_ambisonic_recording_the_channel_without_direction_is_heard(tmp_path):
    wave = np.stack([FIVE, -FIVE, SILENT, SILENT])
    options = {"codec": "libopus", "options": {"mapping_family": "2"}}
    path = write_sound(tmp_path / "a.mka", wave, layout="ambisonic 1", **options)
    assert loud_s(sound.load(path)) == [5.0]


@pytest.mark.parametrize("gain", [-1.0, -0.8])
@pytest.mark.parametrize("ending, codec", [("wav", "pcm_s16le"), ("m4a", "aac")])
def test_channels_that_cancel_give_way_to_the_loudest(tmp_path, gain, ending, codec):
    wave = np.stack([FIVE * gain, FIVE]).astype(np.int16)
    path = write_sound(tmp_path / f"a.{ending}", wave, codec, "stereo")
    track = sound.load(path)
    assert loud_s(track) == [5.0] and track.peak > 12_000
    assert "cancel each other: channel" in track.notes[0]


def test_ordinary_stereo_is_the_mean_and_nothing_is_told(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 300, len(FIVE)).astype(np.int16)
    for number, pair in enumerate([(FIVE, SILENT), (FIVE, noise), (FIVE, FIVE)]):
        wave = np.stack(pair)
        path = write_sound(tmp_path / f"{number}.wav", wave, layout="stereo")
        track = sound.load(path)
        assert track.notes == () and loud_s(track)[-1] == 5.0
        assert track.peak == pytest.approx(wave.mean(0).max(), rel=0.1)
