"""Tables as people save them, and names in either of Unicode's forms."""

import json
import unicodedata

import pytest
from helpers import raw_trees

from mmdiffmask.data.records import shards
from preprocessing import build, items, names
from preprocessing.boxes import box_files
from preprocessing.readers import social_iq, tables, tvqa, video
from preprocessing.work import out_folder

SETTINGS = items.Settings(raw_trees.GRID)
OPTIONS = {"finder": None, "worker_count": 0, "bar": False}
CAFE = "caf\u00e9"
APART = unicodedata.normalize("NFD", CAFE)
FORMS = [(CAFE, APART), (APART, CAFE)]


def labels(folder, content, *videos):
    """The labels of some videos by a table."""
    path = folder / "labels.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = tables.read_labels(folder)
    return {name: dict(found.of(name, f"{name}.mkv")) for name in videos}


PLAIN = "video,mood\na,calm\nb,calm\nc,calm\nd,wild\n"
MOODS = {"a": "calm", "b": "calm", "c": "calm", "d": "wild"}
TABLES = {
    "plain": PLAIN,
    "blanks": "video, mood\na, calm\n b,calm\nc ,calm \n d , wild \t\n",
    "blanks around quotes": 'video, mood\n"a" , "calm" \n b,calm\nc,"calm " \nd,wild\n',
    "sep": "sep=,\n" + PLAIN,
    "sep in quotes, another sign": '"sep=;"\r\n' + PLAIN.replace(",", ";"),
    "semicolons": PLAIN.replace(",", ";"),
    "tabs": PLAIN.replace(",", "\t"),
    "a BOM and a carriage return": "\ufeff" + PLAIN.replace("\n", "\r\n"),
    "old Macs": PLAIN.replace("\n", "\r"),
    "UTF-16 with tabs, as Excel's Unicode text": PLAIN.replace(",", "\t").encode(
        "utf-16"
    ),
    "empty rows": "\n\nvideo,mood\n\na,calm\nb,calm\n , \nc,calm\n,\nd,wild\n,\n\n,\n",
    "empty columns": PLAIN.replace("\n", ",,\n"),
    "pandas": ",video,mood\n0,a,calm\n1,b,calm\n2,c,calm\n3,d,wild\n",
    "no line end": PLAIN.rstrip(),
    "the same twice": PLAIN + "a,calm\nd.mkv,wild\na.mkv, calm\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_as_people_save_them(tmp_path, name):
    found = labels(tmp_path, TABLES[name], *MOODS)
    assert found == {clip: {"mood": mood} for clip, mood in MOODS.items()}


def test_cells_keep_commas_semicolons_and_line_breaks_in_quotes(tmp_path):
    text = 'video,mood,note\na,calm,"one\n\ntwo; three"\nb,"wild, very","say ""hi"""\n'
    assert labels(tmp_path, text, "a", "b") == {
        "a": {"mood": "calm", "note": "one\n\ntwo; three"},
        "b": {"mood": "wild, very", "note": 'say "hi"'},
    }
    text = 'video,mood\na,say;"no\nb,5" tall\n'
    assert labels(tmp_path, text, "a", "b") == {
        "a": {"mood": 'say;"no'},
        "b": {"mood": '5" tall'},
    }
    text = "video;mood\na,b;calm, or so\n"
    assert labels(tmp_path, text, "a,b") == {"a,b": {"mood": "calm, or so"}}


def test_an_empty_cell_is_no_label(tmp_path):
    text = "video,mood,place\na,calm,\nb,,\nc, ,home\n"
    assert labels(tmp_path, text, "a", "b", "c") == {
        "a": {"mood": "calm"},
        "b": {},
        "c": {"place": "home"},
    }
    text = "video,mood,place\na,calm,\na,,home\n"  # each row says its part
    assert labels(tmp_path, text, "a") == {"a": {"mood": "calm", "place": "home"}}


REFUSED = {
    "another value": (
        PLAIN + "\na,wild\n",
        "row 7 names a for a second time, with mood 'wild'; row 2 says 'calm'",
    ),
    "another value below a cell of two lines": (
        'video,mood\na,"calm\nor so"\nb,x\n\na,wild\n',
        "row 6 names a for a second time, with mood 'wild'; row 2 says",
    ),
    "after sep": ("sep=;\nvideo;mood\na;x\na;y\n", "row 4 names a .* row 3 says 'x'"),
    "no name": ("video,mood\na,calm\n,wild\n", "row 3 has values, but names no video"),
    "too long": ("video,mood\na,calm,wild\n", "row 2 has 3 values, the header names 2"),
    "too short": (
        "video,mood,x\na,b,c\nd,e\n",
        "row 3 has 3 values|row 3 has 2 values",
    ),
    "open quote": (
        'video,mood\na,"calm\nb,wild\n',
        "a quotation mark is opened and not",
    ),
    "header twice": ("video,mood,mood\na,b,c\n", "first line must name a column video"),
    "nameless column": ("video,,mood\na,b,c\n", "first line must name a column video"),
    "one column": ("video\na\nb\n", "first line must name a column video"),
    "header alone": ("video,mood\n,\n \n", "holds no row but its header"),
    "nothing": (" \n,,\n", "first line must name a column video"),
    "latin": ("video,mood\nä,calm\n".encode("cp1252"), "is not UTF-8"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_in_a_table_is_said(tmp_path, name):
    content, reason = REFUSED[name]
    with pytest.raises(ValueError, match=reason) as caught:
        labels(tmp_path, content, "a")
    assert str(tmp_path / "labels.csv") in str(caught.value)


def test_a_video_named_with_and_without_its_ending(tmp_path):
    text = "video,mood\na,calm\nb,wild\na.mkv,wild\n"
    with pytest.raises(
        ValueError, match="row 4 names a.mkv for a second time, .*row 2"
    ):
        labels(tmp_path, text, "a")
    assert labels(tmp_path, "video,mood\na.mkv,calm\n", "a") == {"a": {"mood": "calm"}}


def test_an_empty_label_holds_nothing_out(tmp_path):
    for name in "abcd":
        (tmp_path / f"{name}.mkv").touch()
    text = "video,mood\na,calm\nb,calm\nc,wild\nd,\n"
    (tmp_path / "labels.csv").write_text(text)
    found = video.Extras(val_share=0.7).plan(tmp_path).clips
    assert "d" not in [clip.name for clip in found["val"]]
    (lone,) = [clip for clip in found["train"] if clip.name == "d"]
    assert lone.labels == ()


def test_a_list_of_val_with_blanks_and_marks(tmp_path):
    for name in ("a", "b", APART):
        (tmp_path / f"{name}.mkv").touch()
    listed = tmp_path / "val.txt"
    listed.write_bytes(f" {CAFE} \r\n\r\nb.mkv\t\n".encode("utf-16"))
    found = video.Extras(val_list=str(listed)).plan(tmp_path)
    assert [clip.name for clip in found.clips["val"]] == ["b", APART]
    assert found.repaired == ()


def test_names_are_found_in_either_form():
    mapping = names.Names({APART: 1, "b": 2, "\udcff": 3})
    assert [mapping.get(n) for n in (CAFE, APART, "b", "c", "\udcff")] == [
        1,
        1,
        2,
        None,
        3,
    ]
    assert CAFE in mapping and list(mapping) == [APART, "b", "\udcff"]
    assert mapping.key(CAFE) == APART and mapping.key("c") == "c"
    both = names.Names({APART: 1, CAFE: 2})
    assert (both[APART], both[CAFE]) == (1, 2)
    assert names.twins({APART: 1, CAFE: 2, "b": 3}) == [CAFE]


@pytest.mark.parametrize(("own", "other"), FORMS)
def test_records_of_a_name_in_two_forms(tmp_path, own, other):
    raw = tmp_path / "raw"
    raw_trees.write_video(raw / f"{own}.mkv", 4.0)
    raw_trees.write_video(raw / "b.mkv", 2.0)
    srt = "1\n00:00:01,000 --> 00:00:02,000\nhello\n"
    (raw / f"{other}.srt").write_text(srt)
    text = f"video,mood\n{other},calm\nb,wild\n"
    (raw / "labels.csv").write_text(text, encoding="utf-8")
    build.build_video(raw, tmp_path / "out", SETTINGS, **OPTIONS)
    sources = [shards.open_split(tmp_path / "out", s) for s in ("train", "val")]
    made = {source[0].clip: source[0] for source in sources}
    assert made[own].labels == {"mood": "calm"}
    assert made[own].line_text == ("hello",)
    assert made["b"].labels == {"mood": "wild"}
    assert (tmp_path / "out" / out_folder.REPAIRED).read_text() == ""


@pytest.mark.parametrize(("own", "other"), FORMS)
def test_questions_and_folders_of_subtitles_in_two_forms(tmp_path, own, other):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / f"{own}.mkv").touch()
    (tmp_path / "said").mkdir()
    (tmp_path / "said" / f"{other}.vtt").touch()
    row = {"video": f" {other}", "q": "?", "candidates": ["x ", "y"], "answer": "x"}
    ask = tmp_path / "ask.jsonl"
    ask.write_bytes(json.dumps(row).encode("utf-16"))
    extras = video.Extras(questions=str(ask), subtitles=str(tmp_path / "said"))
    found = extras.plan(tmp_path / "raw")
    ((clip,),) = found.clips.values()
    assert (clip.name, clip.subtitles) == (own, f"../said/{other}.vtt")
    assert clip.questions[0].answer_index == 0
    assert (found.skipped, found.repaired) == ((), ())


@pytest.mark.parametrize(("own", "other"), FORMS)
def test_boxes_in_two_forms(tmp_path, own, other):
    box = {"frame": 1, "xyxy": [1, 2, 30, 40], "label": "person"}
    rows = [box | {"video": name} for name in (other, f"{own} ")]
    path = tmp_path / "boxes.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    boxes = box_files.read(path)
    assert len(boxes.boxes_at(own, 0.0, 3)) == len(boxes.boxes_at(other, 0.0, 3)) == 2
    assert own in boxes and other in boxes
    assert boxes.strangers([own]) == ((), 0)
    assert boxes.frames_of(own, 3) == [1]


@pytest.mark.parametrize(("own", "other"), FORMS)
def test_tvqa_in_two_forms(tmp_path, own, other):
    raw_trees.write_tvqa(tmp_path, train=1, val=1)
    frames = tmp_path / "tvqa_frames/frames_hq/people_frames"
    (frames / "people_train000").rename(frames / own)
    subtitles = tmp_path / "tvqa_subtitles"
    (subtitles / "people_train000.srt").rename(subtitles / f"{other}.srt")
    sounds = tmp_path / "tvqa_frames/audios/people/people_audios"
    (sounds / "people_train000.wav").rename(sounds / f"{other}.wav")
    path = tmp_path / "tvqa_qa_release/tvqa_train.jsonl"
    path.write_text(json.dumps(raw_trees.question(1, f"{other} ")) + "\n")
    text = f"video, action\n{other} , wave\npeople_val000,\n,\n"
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    found = tvqa.plan(tmp_path)
    (clip,) = found.clips["train"]
    assert clip.name == own
    assert clip.subtitles == f"tvqa_subtitles/{other}.srt"
    assert clip.sound.endswith(f"{other}.wav")
    assert clip.labels == (("action", "wave"),)
    assert found.clips["val"][0].labels == ()
    assert (found.skipped, found.repaired) == ((), ())


@pytest.mark.parametrize(("own", "other"), FORMS)
def test_social_iq_in_two_forms(tmp_path, own, other):
    for folder in ("qa", f"frames/{own}", "transcript", "audio/wav"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / f"frames/{own}/{own}_001.jpg").touch()
    (tmp_path / f"transcript/{other}.vtt").touch()
    (tmp_path / f"audio/wav/{other}.wav").touch()
    row = {"qid": "q1", "q": "?", "vid_name": other, "a0": "x", "a1": "y", "ts": "0-1"}
    (tmp_path / "qa/qa_train.json").write_text(json.dumps(row) + "\n")
    (tmp_path / "labels.csv").write_text(f"video;mood\n{other};calm\n", "utf-8")
    found = social_iq.plan(tmp_path)
    (clip,) = found.clips["train"]
    assert (clip.name, clip.subtitles) == (own, f"transcript/{other}.vtt")
    assert clip.sound == f"audio/wav/{other}.wav"
    assert clip.labels == (("mood", "calm"),)
    assert (found.skipped, found.repaired) == ((), ())


def test_videos_and_subtitles_that_share_a_name_are_told(tmp_path):
    for name in (f"{CAFE}.mkv", f"{APART}.mkv", "b.mkv", "b.srt", "b.vtt", "b.ass"):
        (tmp_path / name).touch()
    found = video.Extras().plan(tmp_path)
    assert [clip.subtitles for clip in found.clips["train"]] == ["b.srt", None, None]
    told = {row.file: row.reason for row in found.repaired}
    assert told == {
        "b.ass": "is not used: another file of its name is; nor are 1 more",
        f"{CAFE}.mkv": "another video's name differs in its Unicode form alone: labels,"
        " questions and subtitles of that name may be the other's; rename one",
    }
