"""Folders of loose videos to work items and records, with and without questions."""

import dataclasses
import json
import os

import av
import numpy as np
import pytest
from helpers import raw_trees
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdiffmask.data.records import check, shards
from preprocessing import build, items
from preprocessing.readers import video
from preprocessing.work import out_folder

SETTINGS = items.Settings(raw_trees.GRID)
OPTIONS = {"finder": raw_trees.RED_FINDER, "worker_count": 0, "bar": False}


def every(out):
    sources = [shards.open_split(out, split) for split in shards.splits(out)]
    return [source[i] for source in sources for i in range(len(source))]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("video")
    raw, out = folder / "raw", folder / "out"
    raw_trees.write_video(raw / "long.mp4", 40.0, fps=3)
    raw_trees.write_video(raw / "more/short.mkv", 4.0, has_sound=True)
    raw_trees.write_video(raw / "tiny.avi", 1.0)
    (raw / "more/short.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nhello\n")
    (raw / "empty.mp4").write_bytes(b"")
    (raw / "notes.txt").write_text("not a video")
    (raw / "labels.csv").write_text("video,mood\ntiny.avi,calm\nlong,wild\n")
    data = (raw / "long.mp4").read_bytes()
    (raw / "cut.mp4").write_bytes(data[: len(data) // 2])
    manifest = build.build_video(raw, out, SETTINGS, **OPTIONS)
    return manifest, out


def test_windows_of_seven(built):
    _, out = built
    made = {record.example_id: record for record in every(out)}
    assert sorted(made) == [
        "long~w0000",
        "long~w0001",
        "more/short~w0000",
        "tiny~w0000",
    ]
    # 40 s are 8.57 segments: seven, then two (the last's middle is at 39.67 s).
    assert made["long~w0000"].is_frame_valid.sum() == 7
    assert made["long~w0001"].is_frame_valid.tolist() == [True] * 2 + [False] * 5
    assert made["long~w0001"].frame_time_s[0] == pytest.approx(7.5 * 14 / 3, abs=0.34)
    assert made["more/short~w0000"].is_frame_valid.tolist() == [True] + [False] * 6
    assert made["tiny~w0000"].is_frame_valid.tolist() == [True] + [False] * 6
    assert made["tiny~w0000"].frame_time_s[0] == pytest.approx(0.5, abs=0.21)
    for record in made.values():
        assert record.question == ""
        assert record.answer_index == -1
        assert record.group == record.clip
        assert len(record.boxes) == record.is_frame_valid.sum()


def test_sound_subtitles_and_labels_where_there_are_some(built):
    _, out = built
    made = {record.clip: record for record in every(out)}
    short, tiny = made["more/short"], made["tiny"]
    assert short.is_audio_valid.tolist() == [True] + [False] * 6
    assert short.spectrogram[0, 0, :, :64].max() > 1
    assert short.subtitles == ("hello",) + ("",) * 6
    assert short.line_text == ("hello",)
    assert (short.line_start_s.tolist(), short.line_end_s.tolist()) == ([1.0], [2.0])
    assert tiny.line_text == () and tiny.line_start_s.shape == (0,)
    assert not tiny.is_audio_valid.any()
    np.testing.assert_array_equal(tiny.spectrogram[..., 64], 1)
    assert tiny.labels == {"mood": "calm"}
    assert made["long"].labels == {"mood": "wild"}


def test_bad_videos_are_listed(built):
    manifest, out = built
    rows = [json.loads(x) for x in (out / out_folder.SKIPPED).read_text().splitlines()]
    assert [row["video"] for row in rows] == ["cut", "empty"]
    assert all("no video that opens" in row["reason"] for row in rows)
    assert manifest.counts["skipped"] == 2
    check.check(out)


def test_same_stems_keep_their_endings(tmp_path):
    for name in ("a.mp4", "a.mkv", "b.mp4"):
        (tmp_path / name).write_bytes(b"x")
    names = [clip.name for clip in video.Extras().plan(tmp_path).clips["train"]]
    assert names == ["a.mkv", "a.mp4", "b"]


def test_a_still_picture_does_not_count_twice(tmp_path):
    (tmp_path / "raw").mkdir()
    with av.open(str(tmp_path / "raw/still.mkv"), "w") as container:
        stream = container.add_stream("mpeg4", rate=1)
        stream.width, stream.height, stream.pix_fmt = 160, 90, "yuv420p"
        for time_s in (0, 20, 21):
            frame = av.VideoFrame.from_ndarray(raw_trees.picture(time_s), "rgb24")
            frame.pts = time_s
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    build.build_video(tmp_path / "raw", tmp_path / "out", SETTINGS, **OPTIONS)
    (record,) = every(tmp_path / "out")
    # Middles at 2.3, 7, 11.7, 16.3 s show the first frame; that of 21 s the third.
    assert record.is_frame_valid.tolist() == [True] + [False] * 3 + (
        [True] + [False] * 2
    )


def test_a_name_that_is_not_text_and_a_dangling_link_cost_only_themselves(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "good.mp4").write_bytes(b"not opened by a plan")
    (raw / "gone.mp4").symlink_to(raw / "nowhere.mp4")
    (raw / os.fsdecode(b"caf\xe9.mp4")).write_bytes(b"x")
    assert len(video.Extras().fingerprint(raw)) == 64
    found = video.Extras().plan(raw)
    assert [clip.name for clip in found.clips["train"]] == ["gone", "good"]
    assert [skip.reason for skip in found.skipped] == [
        "its name is not UTF-8; rename it"
    ]


QUESTION = {"video": "a.mp4", "q": "What is red?", "candidates": ["box", "sky"]}


@pytest.fixture
def asked(tmp_path):
    """Two videos, questions about one of them, labels and subtitles elsewhere."""
    raw_trees.write_video(tmp_path / "raw/a.mp4", 8.0)
    raw_trees.write_video(tmp_path / "raw/b.mp4", 2.0)
    rows = [
        QUESTION | {"start": 1.0, "end": 3.0, "answer": "sky"},
        QUESTION | {"video": "a", "answer": 0},
        QUESTION | {"video": "gone"},
        QUESTION | {"answer": 2},
        QUESTION | {"candidates": "box"},
        QUESTION | {"start": "soon", "end": 2},
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows) + "{\n"
    (tmp_path / "ask.jsonl").write_text(text)
    (tmp_path / "labels.csv").write_text("video,mood\na,calm\n")
    (tmp_path / "said").mkdir()
    srt = "1\n00:00:01,000 --> 00:00:02,000\nhello\n"
    (tmp_path / "said/a.srt").write_text(srt)
    return tmp_path


def test_questions_labels_and_subtitles_of_any_videos(asked):
    files = (asked / name for name in ("ask.jsonl", "labels.csv", "said"))
    extras = video.Extras(*map(str, files))
    manifest = build.build_video(
        asked / "raw", asked / "out", SETTINGS, extras=extras, **OPTIONS
    )
    made = {record.example_id: record for record in every(asked / "out")}
    assert sorted(made) == ["a~q000001", "a~q000002", "a~q000006"]
    first = made["a~q000001"]
    assert (first.question, first.answers) == ("What is red?", ("box", "sky"))
    assert [record.answer_index for record in made.values()] == [1, 0, -1]
    assert first.labels == {"mood": "calm"}
    assert first.line_text == ("hello",)
    assert first.span_percent != (0, 100)
    text = (asked / "out" / out_folder.SKIPPED).read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    assert [row["question"] for row in rows] == ["line 7", "line 4", "line 5", "line 3"]
    assert manifest.counts["skipped"] == 4
    assert str(asked) not in text
    with pytest.raises(ValueError, match="other raw data"):
        build.build_video(asked / "raw", asked / "out", SETTINGS, **OPTIONS)


def test_files_that_are_not_there_or_of_other_videos(asked):
    with pytest.raises(ValueError, match="nowhere.jsonl: is missing"):
        video.Extras(questions="nowhere.jsonl").plan(asked / "raw")
    with pytest.raises(ValueError, match="no such folder of subtitles"):
        video.Extras(subtitles="nowhere").plan(asked / "raw")
    (asked / "labels.csv").write_text("video,mood\nz,calm\n")
    with pytest.raises(ValueError, match="none of the clips; .* such as 'a', not 'z'"):
        video.Extras(labels=str(asked / "labels.csv")).plan(asked / "raw")


def ask(folder, *rows):
    path = folder / "ask.jsonl"
    path.write_text("".join(json.dumps(QUESTION | row) + "\n" for row in rows))
    return video.Extras(questions=str(path))


def test_subtitles_of_no_video_are_told_and_an_ending_may_be_large(tmp_path):
    for name in ("a.mp4", "a.SRT", "a.en.vtt", "a.de.vtt", "._a.srt"):
        (tmp_path / name).touch()
    plan = video.Extras().plan(tmp_path)
    assert [clip.subtitles for clip in plan.clips["train"]] == ["a.SRT"]
    (told,) = plan.repaired
    assert told.file == "a.de.vtt"
    assert told.reason.startswith("is not used: no video of its name")
    assert told.reason.endswith("nor are 1 more")


def test_videos_in_a_linked_folder_are_found_once(tmp_path):
    raw, elsewhere = tmp_path / "raw", tmp_path / "elsewhere"
    for folder in (raw, elsewhere):
        folder.mkdir()
        (folder / "a.mp4").touch()
    (raw / "linked").symlink_to(elsewhere)
    (elsewhere / "circle").symlink_to(raw)
    plan = video.Extras().plan(raw)
    assert [clip.name for clip in plan.clips["train"]] == ["a", "linked/a"]


def test_one_time_alone_is_a_moment(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"not opened by a plan")
    extras = ask(tmp_path, {"start": 4}, {"end": 2.5}, {"start": None}, {"end": "x"})
    spans = [q.span_s for q in extras.plan(tmp_path).clips["train"][0].questions]
    assert spans[:3] == [(4.0, 4.0), (2.5, 2.5), None]
    assert np.isnan(spans[3]).all()


def test_answers_that_say_not_which_candidate(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"not opened by a plan")
    twice = {"candidates": ["box", "sky", "box"]}
    answers = [{"answer": x} for x in ("sky", "2", "tree", -1, 1.5, True, None, 1)]
    found = ask(tmp_path, *answers, twice | {"answer": "box"}).plan(tmp_path)
    (clip,) = found.clips["train"]
    assert [question.answer_index for question in clip.questions] == [1, -1, 1]
    reasons = {skip.question: skip.reason for skip in found.skipped}
    assert sorted(reasons) == [f"line {n}" for n in (2, 3, 4, 5, 6, 9)]
    for line in ("line 2", "line 3", "line 9"):
        assert "not that of one candidate alone" in reasons[line]


def test_labels_of_no_video_are_listed_and_those_given_twice_refused(tmp_path):
    (tmp_path / "a.vob").write_bytes(b"not opened by a plan")
    table = tmp_path / "labels.csv"
    table.write_text("video,mood\na.vob,calm\ngone,wild\n")
    found = video.Extras().plan(tmp_path)
    assert [clip.labels for clip in found.clips["train"]] == [(("mood", "calm"),)]
    assert [(skip.video, skip.file) for skip in found.skipped] == [
        ("gone", "labels.csv")
    ]
    table.write_text("video,mood\na,calm\na,wild\n")
    with pytest.raises(ValueError, match="row 3 names a for a second time"):
        video.Extras().plan(tmp_path)


def test_no_video_says_what_one_is_known_by(tmp_path):
    (tmp_path / "a.xyz").write_bytes(b"x")
    assert ".mkv" in video.Extras().plan(tmp_path).lacks


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=4),
    st.sampled_from(["a", "a.mp4", "box", "\ud800"]),
    st.lists(st.one_of(st.text(max_size=3), st.integers()), max_size=3),
)
KEYS = ["video", "start", "end", "q", "candidates", "answer"]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=20), st.dictionaries(st.sampled_from(KEYS), VALUES)
        ),
        min_size=1,
        max_size=6,
    )
)
def test_every_line_is_a_question_or_one_skip(tmp_path_factory, changes):
    raw = tmp_path_factory.mktemp("lines")
    (raw / "a.mp4").write_bytes(b"not opened by a plan")
    lines = [
        json.dumps(QUESTION | change).encode()
        if isinstance(change, dict)
        else change.replace(b"\n", b"").replace(b"\r", b"")
        for change in changes
    ]
    (raw / "ask.jsonl").write_bytes(b"\n".join(lines))
    found = video.Extras(questions=str(raw / "ask.jsonl")).plan(raw)
    asked = [q for c in found.clips.get("train", ()) for q in c.questions]
    assert len(asked) + len(found.skipped) == sum(bool(line.strip()) for line in lines)
    assert len({question.example_id for question in asked}) == len(asked)
    for question in asked:
        assert -1 <= question.answer_index < len(question.answers)
        "".join((question.text, *question.answers)).encode()


def labelled(folder, count):
    """Names of videos, all but the last with a label."""
    names = [f"v{i:02d}" for i in range(count + 1)]
    for name in names:
        (folder / f"{name}.mp4").touch()
    rows = [f"{name}.mp4,calm" for name in names[:-1]]
    (folder / "labels.csv").write_text("video,mood\n" + "\n".join(rows) + "\n")
    return names


def splits_of(extras, raw):
    found = extras.plan(raw).clips
    return {split: [clip.name for clip in clips] for split, clips in found.items()}


@pytest.mark.parametrize(
    ("count", "share", "held"), [(10, 0.2, 2), (3, 0.2, 1), (2, 0.9, 1), (10, 0.0, 0)]
)
def test_some_videos_with_labels_are_held_out(tmp_path, count, share, held):
    names = labelled(tmp_path, count)
    found = splits_of(video.Extras(val_share=share), tmp_path)
    assert len(found.get("val", [])) == held
    assert sorted(found["train"] + found.get("val", [])) == names
    assert names[-1] in found["train"]  # nothing is known of it
    assert splits_of(video.Extras(val_share=share), tmp_path) == found


def test_a_single_video_with_labels_is_not_held_out(tmp_path):
    names = labelled(tmp_path, 1)
    assert splits_of(video.Extras(), tmp_path) == {"train": names}


def test_the_videos_with_questions_can_be_held_out(tmp_path):
    for name in "abcde":
        (tmp_path / f"{name}.mp4").touch()
    extras = ask(tmp_path, *({"video": f"{name}.mp4"} for name in "abcde"))
    found = splits_of(extras, tmp_path)
    assert (len(found["train"]), len(found["val"])) == (4, 1)


def test_val_is_what_a_list_names(tmp_path):
    names = labelled(tmp_path, 4)
    listed = tmp_path / "val.txt"
    listed.write_text("\ufeffv01\r\n\r\nv04.mp4\nv77\n", encoding="utf-8")
    extras = video.Extras(val_list=str(listed))
    found = splits_of(extras, tmp_path)
    assert found == {"train": [names[0], *names[2:4]], "val": ["v01", "v04"]}
    (told,) = extras.plan(tmp_path).repaired
    assert told.file == "val.txt"
    assert told.reason == "1 of its lines name no clip, such as 'v77': not used"
    before = extras.fingerprint(tmp_path)
    listed.write_text("other\n")
    assert extras.fingerprint(tmp_path) != before
    with pytest.raises(ValueError, match="val.txt: names none of the 5 clips: .*other"):
        extras.plan(tmp_path)
    listed.write_text("")
    with pytest.raises(ValueError, match="names none of the 5 clips: .*; it is empty"):
        extras.plan(tmp_path)


def test_another_share_is_another_data_set(asked):
    files = (asked / name for name in ("ask.jsonl", "labels.csv", "said"))
    extras = video.Extras(*map(str, files))
    places = asked / "raw", asked / "out", SETTINGS
    build.build_video(*places, extras=extras, **OPTIONS)
    other = dataclasses.replace(extras, val_share=0.5)
    with pytest.raises(ValueError, match="val_share 0.2, not 0.5"):
        build.build_video(*places, extras=other, **OPTIONS)


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_that_is_none(share):
    with pytest.raises(ValueError, match="--val-share .*: must be 0 or more, less"):
        video.Extras(val_share=share)
