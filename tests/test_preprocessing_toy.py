"""The raw tree of the toy set: layout, true boxes, resuming, what stays untouched."""

import csv
import dataclasses
import hashlib
import json
import pathlib
import signal
import subprocess
import sys
import time

import av
import cv2
import numpy as np
import pysubs2
import pytest

from preprocessing import toy
from preprocessing.toy import draw, words, world

ROOT = pathlib.Path(__file__).resolve().parents[1]


def make(folder, train=2, val=1, **settings):
    settings = {"domain": "people", "workers": 1} | settings
    toy.render(folder, train_clips=train, val_clips=val, **settings)
    return folder


def digest(folder):
    """Hash of every file by its path in the folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return make(tmp_path_factory.mktemp("toy") / "raw")


def test_the_tree_is_a_tvqa_download(raw):
    names = [words.video_name("people", *x) for x in (("train", 0), ("train", 1))]
    names.append(words.video_name("people", "val", 0))
    for name in names:
        frames = sorted((raw / f"tvqa_frames/frames_hq/people_frames/{name}").iterdir())
        assert [f.name for f in frames] == [f"{i:05d}.jpg" for i in range(1, 35)]
        assert cv2.imread(str(frames[-1])).shape == (192, 320, 3)
        subtitles = pysubs2.load(str(raw / f"tvqa_subtitles/{name}.srt"))
        assert len(subtitles) == 4 and subtitles[-1].end < 1000 * words.DURATION_S
        sound = raw / f"tvqa_frames/audios/people/people_audios/{name}.mp3"
        with av.open(str(sound)) as container:
            samples = [f.to_ndarray() for f in container.decode(audio=0)]
            rate = container.streams.audio[0].rate
        assert sum(s.shape[1] for s in samples) / rate == pytest.approx(34 / 3, abs=0.1)
        assert np.concatenate(samples, 1).std() > 0.01
    labels = list(csv.DictReader((raw / "labels.csv").open()))
    assert [row["video"] for row in labels] == names
    assert set(labels[0]) == {"video", "action", "object", "shirt"}


def test_questions_have_tvqas_fields(raw):
    qids = []
    for split, count in (("train", 6), ("val", 3)):
        path = raw / f"tvqa_qa_release/tvqa_{split}.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert rows == list(toy.questions("people", split, count // 3, 0))
        for row in rows:
            assert set(row) == {
                *("qid", "q", "a0", "a1", "a2", "a3", "a4"),
                *("answer_idx", "ts", "vid_name", "show_name"),
            }
            assert row["show_name"] == "people"
        qids += [row["qid"] for row in rows]
    assert len(set(qids)) == 9


def test_boxes_lie_in_the_frame_and_name_what_is_there(raw):
    rows = [json.loads(line) for line in (raw / "boxes.jsonl").read_text().splitlines()]
    labels = {"person", "face", *words.PLAIN_CLASSES}
    for row in rows:
        x0, y0, x1, y1 = row["xyxy"]
        assert 0 <= x0 < x1 <= 320 and 0 <= y0 < y1 <= 192
        assert 1 <= row["frame"] <= 34 and row["score"] == 1
        assert row["label"] in labels and 0 < row["visible"] <= 1
    assert len({row["video"] for row in rows}) == 3


def test_a_finished_tree_is_not_touched(raw):
    before = {path: path.stat().st_mtime_ns for path in raw.rglob("*")}
    make(raw)
    make(raw, train=1, val=0)
    assert before == {path: path.stat().st_mtime_ns for path in raw.rglob("*")}


def test_workers_and_order_of_growth_change_nothing(raw, tmp_path):
    make(tmp_path / "raw", train=1, val=0)
    seen = []
    progress = lambda *numbers: seen.append(numbers)  # noqa: E731
    make(tmp_path / "raw", workers=2, progress=progress)
    assert digest(tmp_path / "raw") == digest(raw)
    assert seen == [(2, 3), (3, 3)]


def test_lost_files_come_back(raw, tmp_path):
    make(tmp_path / "raw", train=1, val=0)
    whole = digest(tmp_path / "raw")
    name = words.video_name("people", "train", 0)
    (tmp_path / f"raw/.boxes/{name}.jsonl").unlink()
    (tmp_path / "raw/labels.csv").unlink()
    make(tmp_path / "raw", train=1, val=0)
    assert digest(tmp_path / "raw") == whole


@pytest.mark.parametrize("finished", [0, 1])
def test_a_killed_run_goes_on(raw, tmp_path, finished):
    """Killed as soon as so many of its three clips are finished."""
    code = (
        "from preprocessing import toy\n"
        "if __name__ == '__main__':\n"
        f"    toy.render({str(tmp_path / 'raw')!r}, domain='people', train_clips=2,"
        " val_clips=1, workers=1)\n"
    )
    run = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    boxes = tmp_path / "raw" / ".boxes"
    while not (tmp_path / "raw").exists() or len(list(boxes.glob("*"))) < finished:
        time.sleep(0.005)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    make(tmp_path / "raw")
    assert digest(tmp_path / "raw") == digest(raw)


def test_other_settings_or_a_foreign_folder_are_refused(raw, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="made with seed 0, not 1"):
        make(raw, seed=1)
    with pytest.raises(ValueError, match="made with domain people, not objects"):
        make(raw, domain="objects")
    monkeypatch.setattr(words, "VERSION", 10_000)
    with pytest.raises(ValueError, match="made with version .*name another folder"):
        make(raw)
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(ValueError, match="not made by the toy set"):
        make(tmp_path)
    with pytest.raises(ValueError, match="must be one of general, people, objects"):
        make(tmp_path, domain="cooking")
    with pytest.raises(ValueError, match="workers=0"):
        make(tmp_path, workers=0)


def one_person(action):
    """A clip in which one person does one thing, alone."""
    clip = world.script("people", "train", 0, 0)
    person = dataclasses.replace(
        clip.people[0],
        actions=(action,) * words.FRAMES,
        x=np.full(words.FRAMES, 160.0),
    )
    return dataclasses.replace(clip, people=(person,), things=())


@pytest.mark.parametrize("action", sorted(words.ACTION_PHRASES))
def test_a_box_holds_exactly_the_person(action):
    clip = one_person(action)
    nobody = dataclasses.replace(clip, people=())
    pairs = zip(draw.frames(clip, 0), draw.frames(nobody, 0), strict=True)
    (with_person, boxes), (without, none) = list(pairs)[5]
    assert none == []
    (body,) = [box for box in boxes if box.label == "person"]
    changed = np.abs(with_person.astype(int) - without).max(2) > 30
    x0, y0, x1, y1 = body.xyxy
    above_ground = int(clip.people[0].ground_y) - 18  # shadow and stool lie below
    rows, cols = np.nonzero(changed[:above_ground])
    assert body.visible == 1.0
    assert abs(rows.min() - y0) <= 3
    assert x0 - 3 <= cols.min() and cols.max() < x1 + 3
    assert changed[y0:y1, x0:x1].mean() > 0.2
    has_face = any(box.label == "face" for box in boxes)
    assert has_face == (action != "turned")


def test_what_stands_behind_is_less_visible():
    clip = one_person("pointing")
    front = clip.people[0]
    behind = dataclasses.replace(
        front, track=1, height_px=0.8 * front.height_px, ground_y=front.ground_y - 20
    )
    clip = dataclasses.replace(clip, people=(front, behind))
    _, boxes = next(draw.frames(clip, 0))
    visible = {box.track: box.visible for box in boxes if box.label == "person"}
    assert visible[0] == 1.0 and visible[1] < 0.5
    faces = [box.track for box in boxes if box.label == "face"]
    assert faces == [draw.FACE_TRACKS]  # the other's eyes are covered
