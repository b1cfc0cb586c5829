"""Social-IQ 2.0: the toy set in its layout to records, real lines, and broken ones."""

import json
import shutil

import numpy as np
import pytest
from helpers import raw_trees
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdiffmask.data.records import check, shards
from preprocessing import build, items, toy
from preprocessing.media import segments, subtitles
from preprocessing.readers import social_iq
from preprocessing.toy import social_layout
from preprocessing.work import out_folder

SETTINGS = items.Settings(raw_trees.GRID, sub_segments=1)
OPTIONS = {"finder": None, "worker_count": 0, "bar": False}


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """A toy tree in TVQA's layout and in Social-IQ's, and the records of the latter."""
    folder = tmp_path_factory.mktemp("siq")
    sizes = {"train_clips": 3, "val_clips": 3, "seed": 5, "workers": 1}
    toy.render(folder / "tvqa", domain="people", **sizes)
    social_layout.write(folder / "tvqa", folder / "siq")
    manifest = build.build_social_iq(
        folder / "siq", folder / "out", SETTINGS, **OPTIONS
    )
    return folder, manifest


def by_id(out, split):
    source = shards.open_split(out, split)
    return {source[i].example_id: source[i] for i in range(len(source))}


def test_the_toy_set_becomes_records(trees):
    folder, manifest = trees
    check.check(folder / "out")
    made = {split: by_id(folder / "out", split) for split in ("train", "val", "test")}
    assert {split: len(found) for split, found in made.items()} == {
        "train": 9,
        "val": 6,
        "test": 3,
    }
    for split, found in made.items():
        for record in found.values():
            assert len(record.answers) == 4
            assert (record.answer_index == -1) == (split == "test")
            assert record.group == record.clip
            assert record.is_audio_valid.any() and any(record.subtitles)
            assert record.is_frame_valid.sum() >= 5
            assert record.span_percent == (0, 100)
            # Spread over the whole clip, evenly.
            times = record.frame_time_s[record.is_frame_valid]
            gaps = np.diff(times)
            assert gaps.max() - gaps.min() <= 1 / 3 + 1e-5
            assert times[0] == pytest.approx(gaps.mean() / 2, abs=0.4)
    assert manifest.counts["skipped"] == 6


def test_what_qa_test_leaks_is_listed_line_by_line(trees):
    folder, _ = trees
    text = (folder / "out" / out_folder.SKIPPED).read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    assert len(rows) == len({row["question"] for row in rows}) == 6
    assert {row["file"] for row in rows} == {"qa/qa_test.json"}
    reasons = {row["video"]: row["reason"] for row in rows}
    assert sorted(reason.split(" in the ")[1][:5] for reason in reasons.values()) == [
        "train",
        "val s",
    ]


def test_the_same_frames_and_the_right_answer_as_in_tvqa(trees):
    folder, _ = trees
    rows = (folder / "tvqa/tvqa_qa_release/tvqa_train.jsonl").read_text().splitlines()
    rows = [json.loads(row) for row in rows]
    made = list(by_id(folder / "out", "train").values())
    for row in rows:
        (record,) = [
            r for r in made if r.clip == row["vid_name"] and r.question == row["q"]
        ]
        assert record.answers[record.answer_index] == row[f"a{row['answer_idx']}"]
        root = folder / f"tvqa/tvqa_frames/frames_hq/people_frames/{record.clip}"
        for jpeg, time_s in zip(record.frames, record.frame_time_s, strict=True):
            if jpeg:
                path = root / f"{round(time_s * 3) + 1:05d}.jpg"
                assert jpeg == path.read_bytes()


def test_without_frames_the_video_is_read_and_its_own_sound_heard(trees, tmp_path):
    folder, _ = trees
    raw = tmp_path / "raw"
    shutil.copytree(folder / "siq", raw)
    clip = social_iq.plan(raw).clips["train"][0]
    shutil.rmtree(raw / clip.footage)
    (raw / clip.footage).mkdir()
    for name in ("Thumbs.db", f"._{clip.name}_001.jpg"):
        (raw / clip.footage / name).write_bytes(b"no picture")
    (raw / clip.sound).unlink()
    raw_trees.write_video(raw / f"video/{clip.name}.mp4", 12.0, has_sound=True)
    again = social_iq.plan(raw).clips["train"][0]
    assert again.footage == again.sound == f"video/{clip.name}.mp4"
    assert social_iq.fingerprint(raw) != social_iq.fingerprint(folder / "siq")
    (raw / f"video/{clip.name}.mp4").unlink()
    found = social_iq.plan(raw)
    lost = [skip for skip in found.skipped if skip.video == clip.name]
    # Its own questions, and those that leak into test: each once.
    assert len(lost) == len({(s.file, s.question) for s in lost}) == 6
    assert any(f"no frames/{clip.name} and no video" in s.reason for s in lost)


def test_without_the_file_of_splits_what_was_asked_before_is_a_leak(trees, tmp_path):
    folder, _ = trees
    raw = tmp_path / "raw"
    shutil.copytree(folder / "siq", raw)
    (raw / social_iq.ORIGINAL_SPLIT).unlink()
    found = social_iq.plan(raw)
    assert len(found.clips["test"]) == 1
    assert len(found.skipped) == 6
    (raw / social_iq.ORIGINAL_SPLIT).write_text("[]")
    with pytest.raises(ValueError, match="original_split.json: is not of the form"):
        social_iq.plan(raw)


def test_real_lines(shared, tmp_path):
    """Annotations as published; each video is an empty folder with one file."""
    raw = tmp_path / "raw"
    shutil.copytree(shared / "data/siq2", raw)
    count = {}
    for split in social_iq.SPLITS:
        lines = (raw / f"qa/qa_{split}.json").read_text().splitlines()
        count[split] = len(lines)
        for line in lines:
            video = json.loads(line)["vid_name"]
            folder = raw / "frames" / video
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{video}_001.jpg").write_bytes(b"")
    found = social_iq.plan(raw)
    asked = {
        split: sum(len(clip.questions) for clip in clips)
        for split, clips in found.clips.items()
    }
    assert asked["train"] == count["train"] == 34
    assert asked["val"] == count["val"] == 27
    assert asked["test"] + len(found.skipped) == count["test"] == 21
    assert {skip.reason.split(":")[0] for skip in found.skipped} <= {"leaked"}
    ids = [q.example_id for c in found.clips["train"] for q in c.questions]
    assert "_LzlQLGcAnc_q2_0~2" in ids  # an id that two questions have
    assert len(ids) == len(set(ids))
    for clips in found.clips.values():
        for clip in clips:
            assert clip.placement == "even"
            for question in clip.questions:
                assert len(question.answers) == 4
                assert question.span_s[0] == 0.0
                assert 20 < question.span_s[1] < 120


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=30),
            st.dictionaries(
                st.sampled_from(
                    ["qid", "q", "vid_name", "ts", "a0", "a1", "answer_idx"]
                ),
                st.one_of(st.text(max_size=4), st.integers(), st.none(), st.booleans()),
            ).map(lambda row: json.dumps(row).encode()),
        ),
        max_size=5,
    )
)
def test_every_line_is_a_question_or_one_skip(tmp_path_factory, lines):
    raw = tmp_path_factory.mktemp("lines")
    (raw / "qa").mkdir()
    (raw / "frames/a").mkdir(parents=True)
    (raw / "frames/a/a_001.jpg").write_bytes(b"")
    data = b"\n".join(line.replace(b"\n", b"").replace(b"\r", b"") for line in lines)
    (raw / "qa/qa_train.json").write_bytes(data)
    found = social_iq.plan(raw)
    asked = sum(len(c.questions) for c in found.clips.get("train", ()))
    assert asked + len(found.skipped) == sum(
        bool(line.strip()) for line in data.splitlines()
    )


@settings(deadline=None)
@given(st.floats(0.3, 200.0), st.integers(1, 16), st.integers(1, 3))
def test_even_segments_lie_in_the_clip_without_overlap(duration_s, count, subs):
    window = segments.even(duration_s, count, subs)
    starts = np.array([segment.start_s for segment in window.segments])
    assert 1 <= len(starts) <= count
    assert (np.diff(starts) >= window.length_s - 1e-8).all()
    for place, segment in enumerate(window.segments):
        assert 0 <= segment.frame_time_s < duration_s
        assert window.place_of(segment.frame_time_s) == place


def test_as_many_segments_as_a_folder_of_frames_holds():
    # 98 frames are 7 segments to the last bit but one.
    assert len(segments.even(98 / 3, 7, 3).segments) == 7
    assert len(segments.even(97 / 3, 7, 3).segments) == 6
    (only,) = segments.even(1 / 3, 7, 3).segments  # its one frame stands at 0 s
    assert only.frame_time_s == 0.0


def test_lines_between_segments_are_left_out_and_times_follow_the_record():
    window = segments.even(60.0, 3, 1)  # middles 10, 30, 50; 1.5556 s each
    lines = [
        subtitles.Line(9_800, 10_200, "first"),
        subtitles.Line(19_000, 21_000, "between"),
        subtitles.Line(30_000, 30_500, "second"),
    ]
    found = subtitles.in_window(tuple(lines), window)
    assert found["line_text"] == ("first", "second")
    length = 14 / 9
    expected = [9.8 - (10 - length / 2), length + 30 - (30 - length / 2)]
    np.testing.assert_allclose(found["line_start_s"], expected, atol=1e-5)
    texts = subtitles.by_segment(tuple(lines), window, 3)
    assert texts == ("first between", "second", "")  # as near to the one as the other


def test_a_line_that_reaches_into_a_gap_is_cut_at_its_words():
    window = segments.even(60.0, 3, 1)
    # Ten words of 4 characters and a space, 0.5 s each, from 29 to 34 s; the segment
    # ends at 30.78 s: the middles of the first four lie within it.
    text = " ".join(f"no{i:02d}" for i in range(10))
    line = subtitles.Line(29_000, 29_000 + 100 * len(text), text)
    found = subtitles.in_window((line,), window)
    assert found["line_text"] == ("no01 no02 no03",)
    begin = 14 / 9 + 29.5 - (30 - 7 / 9)
    np.testing.assert_allclose(found["line_start_s"], [begin], atol=1e-5)
    np.testing.assert_allclose(found["line_end_s"], [begin + 1.4], atol=1e-5)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 60_000), st.integers(0, 20_000)), max_size=8),
    st.integers(1, 7),
)
def test_each_word_stands_in_the_segment_that_holds_it(times, count):
    window = segments.even(60.0, count, 3)
    lines = tuple(
        subtitles.Line(start, start + length, f"a{i} b{i} c{i}")
        for i, (start, length) in enumerate(times)
    )
    found = subtitles.in_window(lines, window)
    starts, ends = found["line_start_s"], found["line_end_s"]
    assert (np.diff(starts) >= 0).all() and (ends >= starts).all()
    kept = " ".join(found["line_text"]).split()
    middles = {
        f"{letter}{i}": (start + length * (3 * k + 1) / 8) / 1000
        for i, (start, length) in enumerate(times)
        for k, letter in enumerate("abc")
    }
    if count == 1:  # one segment has nothing between: lines stay whole
        assert set(kept) >= {w for w, t in middles.items() if window.place_of(t) == 0}
        return
    inside = [word for word, t in middles.items() if window.place_of(t) is not None]
    assert sorted(kept) == sorted(inside)
    last = len(window.segments) * window.length_s
    assert (starts < last).all() and (ends >= 0).all()


def test_the_right_answer_stands_anywhere():
    rows = [
        {"qid": i, "q": "?", "vid_name": "a", "answer_idx": i % 5}
        | {f"a{k}": f"answer {k}" for k in range(5)}
        for i in range(2_000)
    ]
    made = [social_layout._question(row, 0, 10.0, True) for row in rows]
    for row, question in zip(rows, made, strict=True):
        right = row[f"a{row['answer_idx']}"]
        assert question["ans_corr"] == question[f"a{question['answer_idx']}"] == right
        assert len({question[f"a{k}"] for k in range(4)}) == 4
    places = np.bincount([question["answer_idx"] for question in made]) / len(made)
    np.testing.assert_allclose(places, 0.25, atol=0.05)  # sd 0.01
