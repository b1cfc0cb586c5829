"""Broken raw data: never a crash or a hang; what is lost or mended is listed."""

import json
import os
import pathlib
import random
import re
import shutil

import numpy as np
import pytest
from helpers import raw_trees
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmdiffmask.data.records import check, shards
from preprocessing import build, items
from preprocessing.readers import tvqa
from preprocessing.work import out_folder

KINDS = "cut empty flip zero noise folder swap latin pipe gone utf16".split()
# What Python or FFmpeg would say by itself.
FOREIGN = re.compile(
    r"invalid literal|codec can't|indices must be|object is not|Errno|Traceback"
    r"|out of range|KeyError|not subscriptable|has no attribute|could not convert"
)
VIDEO_SETTINGS = items.Settings(raw_trees.GRID)
COMMON = {
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "print_blob": True,
}


def write_tree(raw):
    """Two clips of 6 s: one with a wave file, one with an MP3."""
    raw_trees.write_tvqa(raw, train=2, val=0)
    (wav,) = raw.rglob("people_train001.wav")
    raw_trees.write_mp3(wav.with_suffix(".mp3"), raw_trees.tone(6.0))
    wav.unlink()


@pytest.fixture(scope="module")
def tvqa_tree(tmp_path_factory):
    raw = tmp_path_factory.mktemp("faults") / "raw"
    write_tree(raw)
    return raw


@pytest.fixture(scope="module")
def video_tree(tmp_path_factory):
    raw = tmp_path_factory.mktemp("faults") / "raw"
    raw_trees.write_video(raw / "a.mp4", 6.0, has_sound=True)
    raw_trees.write_video(raw / "b.mkv", 40.0, fps=1)
    raw_trees.write_video(raw / "good.avi", 3.0)
    (raw / "a.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nCaf\u00e9\n")
    return raw


@pytest.fixture
def raw(tvqa_tree, tmp_path):
    return shutil.copytree(tvqa_tree, tmp_path / "raw")


damages = st.tuples(
    st.sampled_from(KINDS),
    st.integers(0, 10_000),  # which file
    st.integers(0, 2**32 - 1),  # where in it
)


def damage(files, others, kind, number, seed):
    """Breaks one of the files; its path. `others` is what it may be swapped with."""
    path, rng = files[number % len(files)], random.Random(seed)
    data = bytearray(path.read_bytes())
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind != "gone":
        path.write_bytes(damaged(kind, data, others, rng))
    return path


def damaged(kind, data, others, rng):
    place = rng.randrange(len(data))
    if kind == "cut":
        return data[:place]
    if kind == "flip":
        for _ in range(rng.randint(1, 20)):
            # Headers are where a flipped byte does most.
            end = rng.choice([64, 1024, len(data)])
            data[rng.randrange(min(end, len(data)))] = rng.randrange(256)
    elif kind == "zero":
        data[place : place + 500] = bytes(len(data[place : place + 500]))
    elif kind == "noise":
        data[place:] = rng.randbytes(len(data) - place)
    elif kind == "swap":
        return rng.choice([path for path in others if path.is_file()]).read_bytes()
    elif kind in ("latin", "utf16"):
        encoding = {"latin": "latin-1", "utf16": "utf-16-le"}[kind]
        return data.decode(errors="replace").encode(encoding, "replace")
    return b"" if kind == "empty" else data


def rows_of(out, name):
    return [json.loads(line) for line in (out / name).read_text().splitlines()]


def require_told(out, manifest):
    """Counts and lists agree, and no reason is foreign or of this machine."""
    skipped, repaired = (
        rows_of(out, n) for n in (out_folder.SKIPPED, out_folder.REPAIRED)
    )
    assert manifest.counts["skipped"] == len(skipped)
    assert manifest.counts["repaired"] == len(repaired)
    for row in skipped + repaired:
        assert set(row) == {"video", "question", "file", "reason"}
        assert row["reason"]
        assert not FOREIGN.search(row["reason"]), row
        assert str(out.parent) not in json.dumps(row)
    keys = [json.dumps(row, sort_keys=True) for row in repaired]
    assert len(keys) == len(set(keys))
    return skipped, repaired


def ids_in(out):
    check.check(out)
    source = shards.open_split(out, "train")
    return [source[i].example_id for i in range(len(source))]


def break_tvqa(tree, tmp, damage_of, is_questions=False):
    """Builds a damaged copy; every line of questions is a record or a line."""
    shutil.rmtree(tmp, ignore_errors=True)
    raw = shutil.copytree(tree, tmp / "raw")
    files = sorted(path for path in raw.rglob("*") if path.is_file())
    every = [p for p in files if p.name != "labels.csv" and p.stat().st_size]
    files = [path for path in every if (path.suffix == ".jsonl") == is_questions]
    path = damage(files, every, *damage_of)
    questions = raw / "tvqa_qa_release/tvqa_train.jsonl"
    try:
        manifest = raw_trees.make(raw, tmp / "out")
    except ValueError as error:
        said = "nothing usable|jsonl: is a folder|jsonl: cannot be read"
        assert is_questions and re.search(said, str(error)), error
        assert not FOREIGN.search(str(error))
        return
    skipped, repaired = require_told(tmp / "out", manifest)
    lines = [line for line in questions.read_bytes().splitlines() if line.strip()]
    made = ids_in(tmp / "out")
    assert len(lines) == len(made) + len(skipped)
    lost = {row["question"] for row in skipped if "before" not in row["reason"]}
    assert not lost & set(made)
    if not is_questions and damage_of[0] in ("folder", "empty", "pipe"):
        is_looked_at = not path.name.endswith(".jpg") or path.stem in LOOKED_AT
        named = {pathlib.Path(row["file"]).name for row in skipped + repaired}
        assert (path.name in named) == is_looked_at
    first = raw_trees.contents(tmp / "out")
    shutil.rmtree(tmp / "out")
    raw_trees.make(raw, tmp / "out")
    assert raw_trees.contents(tmp / "out") == first


# Of the span 2.1-3.9: see test_a_question_becomes_a_record.
LOOKED_AT = {f"{round(3 * t) + 1:05d}" for t in (3 - 14 / 9, 3.0, 3 + 14 / 9)}


def break_video(tree, tmp, damage_of):
    """Builds a damaged copy; every video has records or one line."""
    shutil.rmtree(tmp, ignore_errors=True)
    raw = shutil.copytree(tree, tmp / "raw")
    files = sorted(path for path in raw.iterdir() if path.name != "good.avi")
    damage(files, files, *damage_of)
    options = {"finder": raw_trees.RED_FINDER, "worker_count": 0, "bar": False}
    manifest = build.build_video(raw, tmp / "out", VIDEO_SETTINGS, **options)
    skipped, _ = require_told(tmp / "out", manifest)
    videos = {path.stem for path in raw.iterdir() if path.suffix != ".srt"}
    made = {example_id.split("~")[0] for example_id in ids_in(tmp / "out")}
    lost = [row["video"] for row in skipped]
    assert sorted([*made, *lost]) == sorted(videos)
    assert {row["question"] for row in skipped} <= {""}


@settings(max_examples=8, **COMMON)
@given(damages)
def test_a_broken_file_of_tvqa(tvqa_tree, tmp_path_factory, damage_of):
    break_tvqa(tvqa_tree, tmp_path_factory.getbasetemp() / "tvqa", damage_of)


@settings(max_examples=8, **COMMON)
@given(damages)
def test_a_broken_file_of_questions(tvqa_tree, tmp_path_factory, damage_of):
    break_tvqa(tvqa_tree, tmp_path_factory.getbasetemp() / "asked", damage_of, True)


@settings(max_examples=8, **COMMON)
@given(damages)
def test_a_broken_video(video_tree, tmp_path_factory, damage_of):
    break_video(video_tree, tmp_path_factory.getbasetemp() / "video", damage_of)


@pytest.mark.slow
@settings(max_examples=40, **COMMON)
@given(damages)
def test_many_broken_files_of_tvqa(tvqa_tree, tmp_path_factory, damage_of):
    break_tvqa(tvqa_tree, tmp_path_factory.getbasetemp() / "tvqa", damage_of)


@pytest.mark.slow
@settings(max_examples=40, **COMMON)
@given(damages)
def test_many_broken_files_of_questions(tvqa_tree, tmp_path_factory, damage_of):
    break_tvqa(tvqa_tree, tmp_path_factory.getbasetemp() / "asked", damage_of, True)


@pytest.mark.slow
@settings(max_examples=40, **COMMON)
@given(damages)
def test_many_broken_videos(video_tree, tmp_path_factory, damage_of):
    break_video(video_tree, tmp_path_factory.getbasetemp() / "video", damage_of)


def test_frames_before_the_start_that_a_video_tells(video_tree, tmp_path):
    break_video(video_tree, tmp_path / "built", ("flip", 0, 301))


def test_a_folder_in_place_of_a_video_is_told(video_tree, tmp_path):
    break_video(video_tree, tmp_path / "built", ("folder", 0, 0))
    (row,) = rows_of(tmp_path / "built" / "out", out_folder.SKIPPED)
    assert row["file"] == "a.mp4"
    assert row["reason"] == "its folder holds no numbered frames"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2)
    ),
    max_leaves=4,
)
FIELDS = "qid q a0 a3 answer_idx ts vid_name show_name".split()


@settings(max_examples=300, **COMMON)
@given(st.sampled_from(FIELDS), JSON)
def test_wrong_types_in_a_question(tvqa_tree, tmp_path_factory, field, value):
    raw = tmp_path_factory.getbasetemp() / "types"
    if not raw.exists():
        shutil.copytree(tvqa_tree, raw)
    lines = [raw_trees.question(1, "people_train000"), 0]
    lines[1] = raw_trees.question(2, "people_train001") | {field: value}
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (raw / "tvqa_qa_release/tvqa_train.jsonl").write_text(text)
    plan = tvqa.plan(raw)
    asked = [q for clip in plan.clips["train"] for q in clip.questions]
    assert len(asked) + len(plan.skipped) == 2
    for question in asked:
        "".join([question.example_id, question.text, *question.answers]).encode()
    for skip in plan.skipped:
        assert not FOREIGN.search(skip.reason)


SPANS = {
    "NaN-NaN": "holds no numbers: the whole clip is used",
    "5.0-1.0": "5 to 1 s is reversed: the whole clip is used",
    "8-9": "lies outside the clip of 6.0 s: the whole clip is used",
    "5-7.5": "5 to 7.5 s reaches out of the clip of 6.0 s: it is cut there",
}


@pytest.mark.parametrize(("span", "reason"), SPANS.items())
def test_odd_spans_are_told(raw, tmp_path, span, reason):
    path = raw / "tvqa_qa_release/tvqa_train.jsonl"
    path.write_text(path.read_text().replace("2.1-3.9", span, 1))
    manifest = raw_trees.make(raw, tmp_path / "out")
    (row,) = rows_of(tmp_path / "out", out_folder.REPAIRED)
    assert row["question"] == "000000~people_train000"
    assert reason in row["reason"]
    assert manifest.counts["skipped"] == 0


def test_a_frame_that_two_questions_ask_for_is_one_line(raw, tmp_path):
    folder = next(raw.rglob("people_train000"))
    cut, gone = folder / "00010.jpg", folder / "00005.jpg"
    cut.write_bytes(cut.read_bytes()[:300])
    gone.unlink()
    raw_trees.make(raw, tmp_path / "out", strict=True)  # a repair does not stop it
    told = rows_of(tmp_path / "out", out_folder.REPAIRED)
    assert sorted((row["file"][-9:], row["reason"]) for row in told) == [
        ("00010.jpg", "the picture is cut short (no end of image)"),
        ("_train000", "its frame 5 is missing"),
    ]
    assert {row["question"] for row in told} == {""}


def repaired_by(raw, out, **options):
    raw_trees.make(raw, out, **options)
    return {
        row["file"].split("/")[-1]: row["reason"]
        for row in rows_of(out, out_folder.REPAIRED)
    }


def test_sound_and_subtitles_that_were_mended(raw, tmp_path):
    sounds = next(raw.rglob("people_train000.wav"))
    raw_trees.write_wav(sounds, raw_trees.tone(3.0))
    mp3 = next(raw.rglob("people_train001.mp3"))
    mp3.unlink()
    mp3.symlink_to("nowhere.mp3")
    first, second = sorted(raw.rglob("*.srt"))
    text = first.read_text()
    first.write_bytes(text.encode("cp1252"))
    second.write_bytes(text.encode("utf-16-le"))
    assert repaired_by(raw, tmp_path / "out") == {
        "people_train000.wav": "its sound ends at 3.0 of 6.0 s: silence from there",
        "people_train001.mp3": "is missing: the clip is silent",
        "people_train000.srt": "is not UTF-8: read as Windows-1252",
        "people_train001.srt": "is UTF-16 without its mark: read as such",
    }
    source = shards.open_split(tmp_path / "out", "train")
    assert {source[i].subtitles[1] for i in range(4)} == {"(Ann:)Cafe then"}


def find_odd(frames):
    """Red boxes, of which the first frame's is NaN and the second's far away."""
    boxes = raw_trees.find_red(frames)
    boxes.xyxy_px[0] = np.nan
    boxes.xyxy_px[1] += 1000
    return boxes


def test_boxes_without_numbers_and_outside_are_left_out(raw, tmp_path):
    finder = raw_trees.EachFrame(find_odd)
    raw_trees.make(raw, tmp_path / "out", finder=finder)
    reasons = [row["reason"] for row in rows_of(tmp_path / "out", out_folder.REPAIRED)]
    told = "s lies outside the picture or holds no numbers: it is left out"
    assert sorted(reasons) == [
        f"a box at {t} {told}" for t in ("1.33", "1.33", "3.00", "3.00")
    ]
    source = shards.open_split(tmp_path / "out", "train")
    assert [source[i].boxes.frame.tolist() for i in range(4)] == [[2]] * 4
    check.check(tmp_path / "out")


@pytest.fixture
def short(tmp_path):
    """Six clips of 1/3 s: the share of a deadline is short."""
    raw_trees.write_tvqa(tmp_path / "raw", train=6, val=0, frames=1)
    return tmp_path / "raw"


def stumble(raw, tmp_path, how, **options):
    """Runs with a finder that stumbles over the third clip; its manifest, attempts."""
    times = options.pop("times", 99)
    marks = tmp_path / "marks"
    finder = raw_trees.Stumbling("people_train002", how, str(marks), times)
    options = {"finder": finder, "worker_count": 2} | options
    manifest = raw_trees.make(raw, tmp_path / "out", **options)
    return manifest, len(marks.read_text())


def require_third_lost(tmp_path, manifest, reason):
    skipped, _ = require_told(tmp_path / "out", manifest)
    assert [row["question"] for row in skipped] == [
        f"00020{n}~people_train002" for n in range(2)
    ]
    assert all(row["reason"].startswith(reason) for row in skipped)
    assert len(ids_in(tmp_path / "out")) == 10


def test_a_clip_that_hangs_is_given_up(short, tmp_path):
    manifest, attempts = stumble(short, tmp_path, "hang", deadline_s=2)
    require_third_lost(tmp_path, manifest, "took longer than 5 s")
    assert attempts == 1


def test_a_clip_that_kills_its_worker_is_tried_once_more(short, tmp_path):
    manifest, attempts = stumble(short, tmp_path, "kill")
    require_third_lost(tmp_path, manifest, "a worker process died in it twice")
    assert attempts == 2


@pytest.mark.slow
def test_a_worker_that_died_by_chance_changes_nothing(short, tmp_path):
    _, attempts = stumble(short, tmp_path, "kill", times=1)
    assert attempts == 2
    raw_trees.make(short, tmp_path / "straight")
    straight = raw_trees.contents(tmp_path / "straight")
    assert raw_trees.contents(tmp_path / "out") == straight


@pytest.mark.slow
def test_strict_stops_at_a_clip_that_hangs(short, tmp_path):
    with pytest.raises(ValueError, match=r"--strict: .*train002.*took longer than 5 s"):
        stumble(short, tmp_path, "hang", deadline_s=2, strict=True)


def test_two_runs_into_one_folder(raw, tmp_path):
    with out_folder.lock(tmp_path / "out"):
        with pytest.raises(ValueError, match="another run is at work in it"):
            raw_trees.make(raw, tmp_path / "out")
    raw_trees.make(raw, tmp_path / "out")
