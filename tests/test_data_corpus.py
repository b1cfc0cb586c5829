"""What is chosen among records is chosen from their index; none is read for it."""

import collections
import json
import pathlib
import shutil

import pytest

from mmdiffmask import configure, effects, examples, pretrain, run_files
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.data.records import frames, shards, splits
from mmdiffmask.probe import tasks
from mmdiffmask.report import inspect

TINY = pathlib.Path(__file__).resolve().parents[1] / "tpu_configs" / "tiny.py"


@pytest.fixture
def reads(monkeypatch):
    """How often each position of a split was read."""
    count = collections.Counter()
    read = shards.Source.__getitem__

    def counted(self, index):
        count[len(self), index] += 1
        return read(self, index)

    monkeypatch.setattr(shards.Source, "__getitem__", counted)
    return count


def test_entries_and_splits_are_those_of_the_records(tiny_records):
    corpus = Corpus(tiny_records)
    assert corpus.split_names == shards.splits(tiny_records)
    for split in corpus.split_names:
        source = shards.open_split(tiny_records, split)
        rows = [source[i] for i in range(len(source))]
        entries = corpus.entries(split)
        assert [e.example_id for e in entries] == [r.example_id for r in rows]
        assert [e.labels for e in entries] == [r.labels for r in rows]
        first = {row.clip: i for i, row in reversed(list(enumerate(rows)))}
        assert sorted(corpus.first_of_clips(split)) == sorted(first.values())
        assert corpus.groups(split) == {row.clip: row.group for row in rows}
    source = shards.open_split(tiny_records, "train")
    train = [source[i] for i in range(len(source))]
    for boxed_only in (True, False):
        found = corpus.split_train(0.1, boxed_only)
        assert found == splits.split_train(train, 0.1, boxed_only)


def test_first_of_clips():
    clips = ["x", "x", "y", "x", "z", "y"]
    assert splits.first_of_clips(clips, range(6)) == [0, 2, 4]
    assert splits.first_of_clips(clips, [3, 5, 1]) == [3, 5]
    assert splits.first_of_clips([], []) == []


def test_who_chooses_reads_no_record(tiny_records, reads, tmp_path):
    corpus = Corpus(tiny_records)
    corpus.verify()
    experiment = configure.load(TINY)
    chosen = examples.choose(experiment, corpus)
    assert chosen.clips and chosen.dev_clips
    assert corpus.split_train(experiment.data.dev_share, False).group
    assert examples.choose(experiment, corpus) == chosen
    task = tasks.open_task(experiment, corpus, "", tmp_path)
    assert all(task.chosen.values())
    effects.check_boxes(experiment, chosen.entries, chosen.clips)
    effects.kinds_without_boxes(experiment, chosen.entries, chosen.dev_clips)
    with pytest.raises(ValueError, match="--id none: no such record .* it has"):
        inspect.draw(tiny_records, "none", str(tmp_path / "x.png"))
    assert not reads
    last = corpus.entries("val")[-1]
    inspect.draw(tiny_records, last.example_id, str(tmp_path / "x.png"))
    assert set(reads) == {(len(corpus.source("val")), len(corpus.entries("val")) - 1)}


def test_pretraining_reads_no_record_that_it_does_not_use(
    tiny_records, tmp_path, reads, monkeypatch
):
    """Not twice for the masks of one set, and no picture of what is only masked."""
    decoded = []
    decode = frames.decode_jpeg
    monkeypatch.setattr(frames, "decode_jpeg", lambda d: decoded.append(d) or decode(d))
    monkeypatch.setattr(pretrain.loop, "train", lambda *_: None)
    records_dir = tmp_path / "records"
    shutil.copytree(tiny_records, records_dir)  # not yet known to this process
    experiment = configure.load(TINY)
    pretrain.pretrain(experiment, str(records_dir), str(tmp_path / "run"), 0)
    corpus = Corpus.of(records_dir)
    chosen = examples.choose(experiment, corpus)
    n = len(corpus.source("train"))
    # Dev's masks are drawn at the first evaluation, which is left out here.
    assert {i for _, i in reads} == set(chosen.clips)
    assert max(reads.values()) == 1 and all(size == n for size, _ in reads)
    assert not decoded
    counts = json.loads((tmp_path / "run" / run_files.DATA).read_text())["clips"]
    assert counts == {
        "pretraining": len(chosen.clips),
        "dev": len(chosen.dev_clips),
    }


def test_other_records_in_the_same_folder_are_another_corpus(tiny_records, tmp_path):
    folder = tmp_path / "records"
    shutil.copytree(tiny_records, folder)
    before = Corpus.of(folder)
    assert Corpus.of(folder) is before and Corpus.of(tiny_records) is not before
    path = folder / "manifest.json"
    told = json.loads(path.read_text())
    told["shards"]["train"][0]["sha256"] = "2" * 64
    path.write_text(json.dumps(told))
    assert Corpus.of(folder) is not before
    with pytest.raises(ValueError, match="corrupt"):
        Corpus.of(folder).source("train")
    with pytest.raises(ValueError, match="no split dev"):
        before.source("dev")
