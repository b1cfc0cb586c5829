"""TVQA: the toy set in its layout to records, real lines, and broken ones."""

import json
import shutil

import numpy as np
import pytest
from helpers import raw_trees
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdiffmask.data.records import check, shards
from mmdiffmask.data.records import frames as frames_lib
from preprocessing import items
from preprocessing.readers import tvqa
from preprocessing.work import clips, out_folder


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tvqa")
    raw_trees.write_tvqa(folder / "raw", train=3, val=1)
    return folder / "raw"


@pytest.fixture
def raw(tree, tmp_path):
    return shutil.copytree(tree, tmp_path / "raw")


def rewrite(raw, change):
    """Changes the lines of train's questions."""
    path = raw / "tvqa_qa_release/tvqa_train.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    lines = change(rows)
    text = "".join(
        (line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines
    )
    path.write_text(text)


def rows_of(out, name):
    return [json.loads(line) for line in (out / name).read_text().splitlines()]


def by_id(out, split="train"):
    source = shards.open_split(out, split)
    return {source[i].example_id: source[i] for i in range(len(source))}


def test_a_question_becomes_a_record(raw, tmp_path):
    manifest = raw_trees.make(raw, tmp_path / "out")
    assert manifest.counts["records"] == 8
    record = by_id(tmp_path / "out")["000101~people_train001"]
    # Span 2.1-3.9: middle 3.0 s, segments of 14/9 s: frames 1.44, 3.0 and 4.56 s.
    numbers = [round(3 * t) + 1 for t in (3 - 14 / 9, 3.0, 3 + 14 / 9)]
    assert (record.frame_time_s * 3 + 1).round().tolist() == numbers
    folder = raw / "tvqa_frames/frames_hq/people_frames/people_train001"
    wanted = [(folder / f"{n:05d}.jpg").read_bytes() for n in numbers]
    assert list(record.frames) == wanted
    assert record.question == "What is red?"
    assert record.answer_index == 1
    assert record.subtitles == ("", "(Ann:)Cafe then", "")
    assert record.line_text == ("(Ann:)Cafe then",)  # from 2 s to 4 s of the clip
    assert record.line_start_s == pytest.approx([2 - (3 - 1.5 * 14 / 9)], abs=1e-6)
    assert record.line_end_s == pytest.approx([4 - (3 - 1.5 * 14 / 9)], abs=1e-6)
    assert record.source_size_px.tolist() == [[160, 90]] * 3
    assert record.is_frame_valid.all()
    assert record.is_audio_valid.all()
    assert record.is_boxed
    lefts = [raw_trees.red_box(1 + n - 1)[0] for n in numbers]
    assert record.boxes.frame.tolist() == [0, 1, 2]
    np.testing.assert_allclose(record.boxes.xyxy_px[:, 0], lefts, atol=2)
    assert record.span_percent == (30, 69)
    sound = record.spectrogram.astype(float)[0, 0, :, :64]
    assert sound.mean(0).argmax() < 12  # a tone of 201 Hz


def test_a_frame_is_looked_at_once_for_all_questions(raw):
    looked = []

    def finder(frames):
        looked.append(len(frames))
        return raw_trees.find_red(frames)

    clip = tvqa.plan(raw).clips["train"][0]
    made = list(
        clips.records(
            clip, raw_trees.SETTINGS, raw_trees.EachFrame(finder), items.Losses()
        )
    )
    assert len(made) == 2
    assert looked == [3]


def test_spans_that_say_nothing_mean_the_whole_clip(raw, tmp_path):
    odd = ["NaN-NaN", "5.0-1.0", "nonsense", None]

    def change(rows):
        rows[:4] = [row | {"ts": ts} for row, ts in zip(rows, odd, strict=False)]
        return rows

    rewrite(raw, change)
    raw_trees.make(raw, tmp_path / "out")
    for record in list(by_id(tmp_path / "out").values())[:4]:
        assert record.span_percent == (0, 100)
        assert record.frame_time_s[1] == pytest.approx(3.0)


def test_at_the_clips_end_places_stay_empty(raw, tmp_path):
    rewrite(raw, lambda rows: [row | {"ts": "5.5-6"} for row in rows])
    raw_trees.make(raw, tmp_path / "out")
    record = next(iter(by_id(tmp_path / "out").values()))
    assert record.is_frame_valid.tolist() == [True, True, False]
    assert record.frames[2] == b""
    assert record.is_audio_valid.tolist() == [True, True, False]
    assert (record.spectrogram[2, ..., :64] == 0).all()
    assert set(record.boxes.frame.tolist()) == {0, 1}


def test_what_is_bad_is_skipped_and_the_rest_goes_on(raw, tmp_path):
    frames = raw / "tvqa_frames/frames_hq/people_frames"
    shutil.rmtree(frames / "people_train000")
    middle = frames / "people_train001/00010.jpg"
    middle.write_bytes(middle.read_bytes()[:200])
    sounds = raw / "tvqa_frames/audios/people/people_audios"
    (sounds / "people_train001.wav").write_bytes(b"no sound")
    (sounds / "people_train002.wav").unlink()
    (raw / "tvqa_subtitles/people_train002.srt").write_bytes(b"\x00\x01 nothing")

    def change(rows):
        return [*rows, "{not json", rows[-1], {"qid": 9}, rows[2] | {"answer_idx": 5}]

    rewrite(raw, change)
    manifest = raw_trees.make(raw, tmp_path / "out")
    made = by_id(tmp_path / "out")
    assert sorted(made) == [
        f"000{n}~people_train00{n[0]}" for n in ("100", "101", "200", "201")
    ]
    first = made["000100~people_train001"]
    assert first.is_frame_valid.tolist() == [True, False, True]
    assert first.boxes.frame.tolist() == [0, 2]
    assert not first.is_audio_valid.any()
    second = made["000200~people_train002"]
    assert second.subtitles == ("", "", "")
    assert not second.is_audio_valid.any()
    skipped = rows_of(tmp_path / "out", out_folder.SKIPPED)
    repaired = rows_of(tmp_path / "out", out_folder.REPAIRED)
    assert manifest.counts["skipped"] == len(skipped) == 6
    assert manifest.counts["repaired"] == len(repaired) == 5
    planned = {"labels.csv": "people_train000", tvqa.AUDIOS: "people_train002"}
    for file, clip in planned.items():
        (row,) = (row for row in repaired if row["file"] == file)
        assert row["video"] == clip
    repaired = [row for row in repaired if row["file"] not in planned]
    reasons = {row["question"]: row["reason"] for row in skipped}
    reasons |= {row["file"].split("/")[-1]: row["reason"] for row in repaired}
    assert "no folder of frames" in reasons["000000~people_train000"]
    assert "cut short" in reasons["00010.jpg"]
    assert "cannot be decoded" in reasons["people_train001.wav"]
    assert "no subtitles" in reasons["people_train002.srt"]
    assert "was there before" in reasons["000201~people_train002"]
    assert "line 7" in reasons
    assert "lacks 'vid_name'" in reasons["line 9"]
    assert "answer_idx 5" in reasons["line 10"]
    assert str(tmp_path) not in (tmp_path / "out" / out_folder.SKIPPED).read_text()


def test_a_clip_without_a_single_good_frame(raw, tmp_path):
    folder = raw / "tvqa_frames/frames_hq/people_frames/people_train000"
    for path in folder.iterdir():
        path.write_bytes(b"")
    raw_trees.make(raw, tmp_path / "out")
    assert len(by_id(tmp_path / "out")) == 4
    skipped = rows_of(tmp_path / "out", out_folder.SKIPPED)
    why = "00005.jpg: the picture is empty (0 bytes)"
    assert [(row["question"], row["reason"]) for row in skipped] == [
        (f"00000{n}~people_train000", f"no frame of its window can be shown ({why})")
        for n in range(2)
    ]
    assert rows_of(tmp_path / "out", out_folder.REPAIRED) == []


def test_boxed_clips_are_the_first_of_train(raw, tmp_path):
    settings = items.Settings(raw_trees.GRID, 3, 1, boxed_clips=2)
    out = tmp_path / "out"
    options = {"finder": raw_trees.RED_FINDER, "worker_count": 0, "bar": False}
    manifest = raw_trees.build.build_tvqa(raw, out, settings, **options)
    boxed = {
        r.clip: r.is_boxed for s in ("train", "val") for r in by_id(out, s).values()
    }
    assert boxed == {
        "people_train000": True,
        "people_train001": True,
        "people_train002": False,
        "people_val000": False,
    }
    assert manifest.counts["boxed clips"] == 2
    assert all(bool(len(r.boxes)) == r.is_boxed for r in by_id(out, "train").values())


def test_large_frames_are_stored_smaller_and_boxes_follow(raw, tmp_path):
    folder = raw / "tvqa_frames/frames_hq/people_frames/people_train000"
    for path in folder.iterdir():
        path.write_bytes(raw_trees.jpeg(raw_trees.picture(0, 960, 540)))
    raw_trees.make(raw, tmp_path / "out")
    record = by_id(tmp_path / "out")["000000~people_train000"]
    assert record.source_size_px.tolist() == [[960, 540]] * 3
    assert frames_lib.sizes(record.frames).tolist() == [[800, 450]] * 3
    np.testing.assert_allclose(record.boxes.xyxy_px[0], raw_trees.red_box(0), atol=3)
    check.check(tmp_path / "out")


def test_real_shows_are_grouped_by_episode():
    name = "castle_s07e10_seg02_clip_06"
    assert tvqa.group(name, "Castle") == "castle_s07e10"
    assert tvqa.group("s03e21_seg02_clip_08", "The Big Bang Theory") == "s03e21"
    double = "friends_s06e24-25_seg02_clip_08"
    assert tvqa.group(double, "Friends") == "friends_s06e24-25"
    toy = "people_s01e003_seg01_clip_03"
    assert tvqa.group(toy, "people") == toy


def test_real_lines_are_read(shared, tmp_path):
    sample = shared / "data/tvqa/tvqa_test_public.sample.jsonl"
    (tmp_path / "tvqa_qa_release").mkdir()
    shutil.copy(sample, tmp_path / "tvqa_qa_release/tvqa_test_public.jsonl")
    rows = [json.loads(line) for line in sample.read_text().splitlines()]
    for row in rows:
        show = row["vid_name"].split("_")[0]
        folder = tmp_path / f"tvqa_frames/frames_hq/{show}_frames" / row["vid_name"]
        folder.mkdir(parents=True, exist_ok=True)
    plan = tvqa.plan(tmp_path)
    assert plan.skipped == ()
    found = {q.example_id: q for c in plan.clips["test_public"] for q in c.questions}
    assert len(found) == len(rows)
    question = found["141016~castle_s07e10_seg02_clip_06"]
    assert question.span_s == (81.6, 90.67)
    assert question.answer_index == -1
    assert question.answers[0] == "she took him to her office"


def test_a_line_with_a_missing_answer_is_none_and_one_without_ts_is_told(raw, tmp_path):
    def change(rows):
        del rows[0]["a2"], rows[1]["ts"]
        return rows

    rewrite(raw, change)
    raw_trees.make(raw, tmp_path / "out")
    (lost,) = rows_of(tmp_path / "out", out_folder.SKIPPED)
    assert (lost["question"], lost["reason"]) == ("line 1", "lacks 'a2'")
    (told,) = rows_of(tmp_path / "out", out_folder.REPAIRED)
    assert told["question"] == "000001~people_train000"
    assert told["reason"] == "its time span holds no numbers: the whole clip is used"


def test_linked_folders_are_looked_into_and_circles_end(raw):
    before = tvqa.plan(raw).clips["train"]
    sounds = raw / "tvqa_frames/audios/people"
    elsewhere = sounds.rename(raw / "elsewhere")
    sounds.symlink_to(elsewhere)
    (elsewhere / "circle").symlink_to(sounds.parent)
    assert tvqa.plan(raw).clips["train"] == before


def test_sound_and_subtitles_are_found_where_archives_put_them(raw):
    before = tvqa.plan(raw).clips["train"][0]
    sound = raw / "tvqa_frames/audios/bbt_new/bbt_audios" / f"{before.name}.wav"
    sound.parent.mkdir(parents=True)
    (raw / before.sound).rename(sound)
    said = raw / "tvqa_subtitles/tvqa_subtitles" / f"{before.name}.srt"
    said.parent.mkdir()
    (raw / before.subtitles).rename(said)
    (raw / f"tvqa_subtitles/{before.name}.txt").write_text("no subtitles")
    after = tvqa.plan(raw).clips["train"][0]
    assert (raw / after.sound, raw / after.subtitles) == (sound, said)


def test_subtitles_that_are_not_unpacked_are_no_silence(raw):
    shutil.rmtree(raw / "tvqa_subtitles")
    assert tvqa.plan(raw).clips["train"][0].subtitles is None
    (raw / "tvqa_subtitles.tar.gz").write_bytes(b"x")
    with pytest.raises(ValueError, match="tvqa_subtitles.tar.gz is not unpacked"):
        tvqa.plan(raw)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=4),
    st.sampled_from(["people_val000", "NaN-NaN", "1.0-2.0", "\ud800", 10**30]),
    st.lists(st.floats(), max_size=3),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=20),
            st.dictionaries(st.sampled_from(list(raw_trees.question(0, ""))), VALUES),
        ),
        max_size=6,
    ),
    st.integers(0, 10_000),
)
def test_every_line_is_a_question_or_one_skip(tmp_path_factory, changes, cut):
    raw = tmp_path_factory.mktemp("lines")
    (raw / "tvqa_frames/frames_hq/people_frames/people_val000").mkdir(parents=True)
    (raw / "tvqa_qa_release").mkdir()
    lines = []
    for i, change in enumerate(changes):
        if isinstance(change, dict):
            row = raw_trees.question(i, "people_val000") | change
            change = json.dumps(row).encode()
        lines.append(change.replace(b"\n", b"").replace(b"\r", b""))
    data = b"\n".join(lines)
    data = data[: len(data) - cut] if cut < len(data) else data
    (raw / "tvqa_qa_release/tvqa_val.jsonl").write_bytes(data)
    found = tvqa.plan(raw)
    asked = [q for c in found.clips.get("val", ()) for q in c.questions]
    assert len({question.example_id for question in asked}) == len(asked)
    count = sum(bool(line.strip()) for line in data.splitlines())
    assert len(asked) + len(found.skipped) == count
    for question in asked:
        "".join((question.example_id, question.text, *question.answers)).encode()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("video,action\nother,wave\n", "none of the clips; .*people_train000', not 'o"),
        ("video,action\n", "holds no row but its header"),
        ("video,action\n\xe9,wave\n", "is not UTF-8"),
    ],
)
def test_labels_of_no_clip_are_told(raw, text, said):
    (raw / "labels.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=f"labels.csv: .*{said}"):
        tvqa.plan(raw)


def test_a_set_without_subtitles_is_told_once(raw):
    shutil.rmtree(raw / "tvqa_subtitles")
    (row,) = tvqa.plan(raw).repaired
    assert (row.video, row.file) == ("", "tvqa_subtitles")
    assert row.reason == "holds no subtitles: no clip has any"
