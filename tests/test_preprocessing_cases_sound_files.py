"""Files of sound beside videos, and those that stand in for damaged ones."""

import json
import shutil

import numpy as np
import pytest
from helpers import films
from test_preprocessing_cases_sound import (
    AT_SEVEN,
    FIVE,
    OPTIONS,
    SEVEN,
    made,
    rename_codec,
    write_sound,
)

from mmdiffmask.data.records import shards
from preprocessing import build, items, toy
from preprocessing.readers import social_iq, sound_files, tvqa, video
from preprocessing.toy import social_layout


def test_cases_sound_beside(tmp_path):
    raw = tmp_path / "raw"
    films.write(raw / "talk.f137.mp4", 10)
    films.write(raw / "talk.mp4", 10)
    films.write(raw / "own.mp4", 10, [SEVEN])
    films.write(raw / "web.f137.mp4", 10)
    write_sound(raw / "talk.f140.m4a", FIVE, "aac")
    write_sound(raw / "web.f251.webm", FIVE, "libopus")
    for name in ("talk.wav", "own.wav", "stray.wav", "more/stray.wav"):
        write_sound(raw / name, FIVE)
    loud, told = made(raw, tmp_path / "out")
    names = ["talk", "talk.f137", "web.f137"]
    assert loud == {"own": AT_SEVEN} | dict.fromkeys(names, [[1, 0]])
    used = {f for f, reasons in told.items() if "is used as the sound" in reasons[0]}
    assert used == {"talk.wav", "talk.f140.m4a", "web.f251.webm"}
    assert told["own.wav"] == ["is not used: own.mp4 has sound of its own"]
    reason = "is not used: it is sound, and no video has its name; nor are 1 more"
    assert told["more/stray.wav"][0].startswith(reason)
    before = video.Extras().fingerprint(raw)
    write_sound(raw / "talk.wav", SEVEN[: len(SEVEN) // 2])
    assert video.Extras().fingerprint(raw) != before


def test_a_film_whose_own_sound_cannot_be_decoded_takes_the_file_beside(tmp_path):
    films.write(tmp_path / "raw/a.mp4", 10, [SEVEN])
    rename_codec(tmp_path / "raw/a.mp4", b"mp4a", b"ac-4")
    write_sound(tmp_path / "raw/a.WAV", FIVE)
    loud, told = made(tmp_path / "raw", tmp_path / "out")
    assert loud == {"a": [[1, 0]]}
    assert "no decoder for it: a.WAV is used in its place" in told["a.mp4"][0]


def test_names_of_parts():
    videos = ["a.f137.mp4", "b.mp4", "c.final.mp4", "d.fdash-video=1.mp4", "e/f.mkv"]
    sounds = ["a.f140-drc.m4a", "a.mp3", "b.f140.m4a", "c.first.wav", "f.wav"]
    sounds += ["d.fdash-audio=2.m4a", "b.en.mp3"]
    assert sound_files.beside(videos, sounds) == {
        "a.f137.mp4": ["a.f140-drc.m4a"],
        "b.mp4": ["b.f140.m4a"],
        "d.fdash-video=1.mp4": ["d.fdash-audio=2.m4a"],
    }


@pytest.fixture(scope="module")
def layouts(tmp_path_factory):
    """A toy tree in TVQA's layout and in Social-IQ's."""
    folder = tmp_path_factory.mktemp("layouts")
    sizes = {"train_clips": 1, "val_clips": 0, "seed": 5, "workers": 1}
    toy.render(folder / "tvqa", domain="people", **sizes)
    social_layout.write(folder / "tvqa", folder / "siq")
    return folder


def test_of_several_files_the_next_that_can_be_decoded_is_heard(layouts, tmp_path):
    """As an mp3 that was cut while it was downloaded, beside a whole wav."""
    for name, reader in {"tvqa": tvqa, "social_iq": social_iq}.items():
        source = layouts / ("tvqa" if name == "tvqa" else "siq")
        raw, out = tmp_path / name, tmp_path / f"{name}.out"
        shutil.copytree(source, raw)
        clip = reader.plan(raw).clips["train"][0]
        before = reader.fingerprint(raw)
        damaged = (raw / clip.sound).with_suffix(".aac")
        damaged.write_bytes(b"no sound" * 99)
        assert reader.fingerprint(raw) != before
        again = reader.plan(raw).clips["train"][0]
        assert again.more_sound[0] == clip.sound
        getattr(build, f"build_{name}")(raw, out, items.Settings(), **OPTIONS)
        assert shards.open_split(out, "train")[0].is_audio_valid.any()
        lines = (out / "repaired.jsonl").read_text().splitlines()
        (row,) = [r for r in map(json.loads, lines) if r["file"] == again.sound]
        assert f"{clip.sound} is used in its place" in row["reason"]


def test_a_file_beside_a_silent_video_of_social_iq_is_its_sound(layouts, tmp_path):
    raw = tmp_path / "raw"
    shutil.copytree(layouts / "siq", raw)
    clip = social_iq.plan(raw).clips["train"][0]
    shutil.rmtree(raw / "audio")
    shutil.rmtree(raw / clip.footage)
    films.write(raw / f"video/{clip.name}.mp4", 10)
    before = social_iq.fingerprint(raw)
    write_sound(raw / f"video/{clip.name}.f140.m4a", np.tile(FIVE, 2), "aac")
    assert social_iq.fingerprint(raw) != before
    build.build_social_iq(raw, tmp_path / "out", items.Settings(), **OPTIONS)
    found = shards.open_split(tmp_path / "out", "train")
    of_clip = next(record for record in found if record.clip == clip.name)
    assert of_clip.spectrogram[..., :-1].max() > 1
    assert "is used as the sound of" in (tmp_path / "out/repaired.jsonl").read_text()
