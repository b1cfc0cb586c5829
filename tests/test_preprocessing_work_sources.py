"""Records are known by their raw files, whatever a library makes of these."""

import json
import pathlib
import shutil

import pytest
from helpers import raw_trees

from mmdiffmask import atomic
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.data.records import index, manifest
from preprocessing import build
from preprocessing.media import frame
from preprocessing.work import out_folder, shards, sources

FRAMES = "tvqa_frames/frames_hq/people_frames/people_train000"
SOUND = "tvqa_frames/audios/people/people_audios/people_train000.wav"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    raw_trees.write_tvqa(folder / "raw", train=2, val=1)
    raw_trees.make(folder / "raw", folder / "out")
    return folder


def remade(tree, tmp_path, change):
    """The identity of the records of the same raw data, but for one change."""
    shutil.copytree(tree / "raw", tmp_path / "raw")
    change(tmp_path / "raw")
    raw_trees.make(tmp_path / "raw", tmp_path / "out")
    return manifest.identity(tmp_path / "out")


def test_other_bytes_of_the_same_pictures_are_the_same_records(
    tree, tmp_path, monkeypatch
):
    """As another version of a library would store them, with another one's sound."""
    monkeypatch.setattr(frame.Frame, "own_jpeg", None, raising=False)
    monkeypatch.setattr(frame, "MAX_SHORT_SIDE_PX", 80)
    monkeypatch.setattr(out_folder, "versions", lambda: {"av": "99"})
    assert remade(tree, tmp_path, lambda raw: None) == manifest.identity(tree / "out")
    one, two = (manifest.read(path / "out") for path in (tree, tmp_path))
    assert one.shards != two.shards and one.index != two.index
    assert one.versions != two.versions


def append(name, data):
    def change(raw):
        path = raw / name
        path.write_bytes(path.read_bytes() + data)

    return change


def replace(name, old, new):
    def change(raw):
        path = raw / name
        text = path.read_text()
        assert old in text and len(old) == len(new)
        path.write_text(text.replace(old, new))

    return change


@pytest.mark.parametrize(
    "change",
    [
        append(f"{FRAMES}/00001.jpg", b"more"),
        append(SOUND, b"more"),
        lambda raw: shutil.rmtree(raw / "tvqa_frames/audios"),
        lambda raw: (raw / FRAMES / "00018.jpg").unlink(),
        replace("tvqa_subtitles/people_train000.srt", "then", "when"),
        replace("tvqa_qa_release/tvqa_val.jsonl", "answer 0", "answer 9"),
        replace("labels.csv", "wave,red", "wave,tan"),
    ],
)
def test_cases_of_other_raw_data(tree, tmp_path, change):
    assert remade(tree, tmp_path, change) != manifest.identity(tree / "out")


def test_another_video_of_the_same_name_is_other_data(tmp_path):
    raws = {}
    for name, seconds in {"a": 4, "b": 5, "c": 4}.items():
        raws[name] = tmp_path / name
        raw_trees.write_video(raws[name] / "talk.mp4", seconds)
    (raws["c"] / ".hidden").write_text("")
    clips = {name: build.video.Extras().plan(raw) for name, raw in raws.items()}
    digests = {n: sources.digest(plan.clips["train"][0]) for n, plan in clips.items()}
    assert digests["a"] == digests["c"] != digests["b"]


def test_pictures_that_are_rendered_have_any_size(tree, tmp_path):
    shutil.copytree(tree / "raw", tmp_path / "raw")
    append(f"{FRAMES}/00001.jpg", b"more")(tmp_path / "raw")
    plans = [build.tvqa.plan(path / "raw") for path in (tree, tmp_path)]
    one, two = (plan.clips["train"][0] for plan in plans)
    assert sources.digest(one) != sources.digest(two)
    assert sources.digest(one, True) == sources.digest(two, True)
    pathlib.Path(tmp_path / "raw", one.subtitles).unlink()
    assert sources.digest(one, True) != sources.digest(two, True)


def test_a_toy_set_of_another_seed_is_other_data(tmp_path):
    known = set()
    for seed in (0, 1):
        folder = tmp_path / str(seed)
        build.build_toy(
            folder / "raw",
            folder / "out",
            raw_trees.SETTINGS,
            train_clips=1,
            val_clips=1,
            seed=seed,
            finder=None,
            worker_count=0,
            bar=False,
        )
        known.add(manifest.identity(folder / "out"))
    assert len(known) == 2


def test_cases_of_a_run_killed_while_it_writes_the_index(tree, tmp_path, monkeypatch):
    """Between the shards and the manifest; what lay in `.work` may be damaged too."""
    write = atomic.write

    def killed(path, *rest):
        write(path, *rest)
        if path.name.startswith("index-train"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            raw_trees.make(tree / "raw", tmp_path / "out")
    assert not (tmp_path / "out" / manifest.NAME).exists()
    parts = sorted((tmp_path / "out" / out_folder.WORK).glob("*.index"))
    assert len(parts) == 2
    parts[0].unlink()  # as of a version that wrote none
    parts[1].write_bytes(b"half")
    monkeypatch.setattr(shards, "write_shard", None)  # no shard is made again
    raw_trees.make(tree / "raw", tmp_path / "out")
    found, wanted = (raw_trees.contents(path / "out") for path in (tmp_path, tree))
    assert found == wanted
    assert json.loads(wanted[manifest.NAME])["index"].keys() == {"train", "val"}
    assert index.file_name("val") in wanted
    assert len(Corpus(tmp_path / "out").entries("train")) == 4
