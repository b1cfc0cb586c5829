"""The index says of records what they say; folders without one, and damaged ones."""

import dataclasses
import json
import logging
import os
import shutil

import numpy as np
import pytest
from helpers import raw_trees
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdiffmask.data import cache
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.data.records import check, fingerprint, index, shards
from mmdiffmask.data.records import manifest as manifests

TEXT = st.text(max_size=6)
WORDS = st.text(min_size=1, max_size=6)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("index")
    raw_trees.write_tvqa(folder / "raw", train=3, val=1)
    raw_trees.make(folder / "raw", folder / "out", finder=raw_trees.TRACKED)
    return folder / "out"


@pytest.fixture
def copied(made, tmp_path):
    shutil.copytree(made, tmp_path / "records")
    return tmp_path / "records"


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    """A cache of the test's own."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def reads(monkeypatch):
    """Positions of the records that were read."""
    positions = []
    read = shards.Source.__getitem__

    def counted(self, position):
        positions.append(position)
        return read(self, position)

    monkeypatch.setattr(shards.Source, "__getitem__", counted)
    return positions


def put_manifest(folder, **changes):
    changed = dataclasses.replace(manifests.read(folder), **changes)
    (folder / manifests.NAME).write_text(manifests.to_json(changed))
    return changed


def make_older(folder):
    """The folder as a version without indexes would have made it."""
    for file in put_manifest(folder).index.values():
        (folder / file.file).unlink()
    return put_manifest(folder, index={}, fingerprint="")


def without_source(entries):
    return [dataclasses.replace(entry, source="") for entry in entries]


@st.composite
def entries(draw):
    kinds = draw(st.lists(st.tuples(WORDS, WORDS), max_size=3, unique=True))
    shares = [float(np.float16(draw(st.floats(0, 1, width=16)))) for _ in kinds]
    boxes = [list(column) for column in zip(*kinds, strict=True)] or [[], []]
    boxes += [[draw(st.integers(1, 99)) for _ in kinds], shares]
    detail = [draw(TEXT), draw(st.lists(TEXT, max_size=5)), boxes]
    return index.Entry(
        example_id=draw(WORDS),
        clip=draw(WORDS),
        group=draw(WORDS),
        is_boxed=draw(st.booleans()),
        labels=draw(st.dictionaries(TEXT, TEXT, max_size=2)),
        answer_index=draw(st.integers(-1, 9)),
        span_percent=draw(st.tuples(st.integers(0, 50), st.integers(50, 100))),
        window=draw(WORDS),
        source=draw(TEXT),
        detail=index.to_json(detail),
    )


@settings(max_examples=100, deadline=None)
@given(st.lists(entries(), max_size=4))
def test_what_was_written_is_read(some):
    content = index.to_bytes(some)
    assert content == index.to_bytes(list(some))
    assert list(index.from_bytes(content)) == some


def test_entries_are_what_the_records_say(made, reads):
    corpus = Corpus(made)
    for split in corpus.split_names:
        found = corpus.entries(split)
        assert not reads
        source = shards.open_split(made, split)
        for entry, record in zip(found, source, strict=True):
            for name in ("example_id", "clip", "group", "is_boxed", "labels"):
                assert getattr(entry, name) == getattr(record, name)
            for name in ("question", "answers", "answer_index", "span_percent"):
                assert getattr(entry, name) == getattr(record, name)
            assert entry.window == index.window_key(record)
            assert sum(entry.boxes.count) == len(record.boxes)
            assert set(entry.boxes.kind) == set(record.boxes.kind)
            assert max(entry.boxes.most_covered) == float(record.covered_share.max())
        reads.clear()
    assert len({entry.source for entry in corpus.entries("train")}) == 3  # clips


def test_a_folder_from_before_is_read_once(copied, made, reads, kept, caplog):
    wanted = {split: Corpus(made).entries(split) for split in ("train", "val")}
    older = make_older(copied)
    content = json.loads((copied / manifests.NAME).read_text())
    assert not {"index", "fingerprint"} & content.keys()
    identity = manifests.identity(copied)
    assert identity == manifests.identity_of(older) != manifests.identity(made)
    before = raw_trees.contents(copied)
    with caplog.at_level(logging.INFO):
        corpus = Corpus(copied)
        assert list(corpus.entries("train")) == without_source(wanted["train"])
        assert "has no index: reading the 6 records of train once" in caplog.text
    assert reads == [0, 1, 2, 3, 4, 5]
    assert Corpus(copied).entries("train") == corpus.entries("train")
    assert len(reads) == 6
    (path,) = (kept / "index").rglob("*.gz")
    assert path.parent.name == identity
    path.write_bytes(path.read_bytes()[:-20])  # damaged: made again
    assert Corpus(copied).entries("train") == corpus.entries("train")
    assert len(reads) == 12
    assert raw_trees.contents(copied) == before
    assert check.examine(copied)[1] == []


def test_cases_of_a_cache_that_cannot_be_written(copied, reads, caplog, monkeypatch):
    """A folder that may only be read serves too, with what is lost said."""
    make_older(copied)
    blocked = copied.parent / "a file"
    blocked.write_text("")
    monkeypatch.setenv(cache.VARIABLE, str(blocked))
    before = raw_trees.contents(copied)
    os.chmod(copied, 0o555)
    try:
        for count in (6, 12):
            assert len(Corpus(copied).entries("train")) == 6
            assert len(reads) == count
        assert raw_trees.contents(copied) == before
    finally:
        os.chmod(copied, 0o755)
    assert "every command reads all records again; set MMDIFFMASK_CACHE" in caplog.text
    assert "takes the shards' checksums again; set MMDIFFMASK_CACHE" in caplog.text


def test_a_checksum_is_taken_once_on_a_machine(copied, monkeypatch):
    hashed = []
    sha256 = manifests.sha256
    monkeypatch.setattr(
        manifests, "sha256", lambda p: hashed.append(p.name) or sha256(p)
    )
    Corpus(copied).verify()
    shards.open_split(copied, "train")
    assert len(hashed) == 2  # a shard of each split
    Corpus(copied).verify()
    check.check(copied)
    assert len(hashed) == 4  # check takes them all, always
    os.utime(copied / hashed[0])
    Corpus(copied).verify()
    assert len(hashed) == 5


def flipped(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_byte_that_flips_later_is_told_when_it_is_read(copied):
    """Of a file whose size and time stay: a disk forgets, nobody wrote."""
    corpus = Corpus(copied)
    corpus.verify()
    (shard,) = corpus.manifest.shards["train"]
    path = copied / shard.file
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    flipped(path)
    os.utime(path, ns=times)
    source = shards.open_split(copied, "train")
    with pytest.raises(ValueError, match=f"shard {shard.file}: record . .*make it aga"):
        [source[i] for i in range(len(source))]
    with pytest.raises(ValueError, match=f"{shard.file} is corrupt"):
        check.check(copied)


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "is missing"),
        (cut, "bytes, the manifest says"),
        (flipped, "is corrupt"),
    ],
)
def test_cases_of_a_damaged_index(copied, damage, message):
    damage(copied / index.file_name("train"))
    for look in (lambda: Corpus(copied).entries("train"), lambda: check.check(copied)):
        with pytest.raises(ValueError, match=f"index index-train.*{message}") as error:
            look()
        assert "make it again" in str(error.value) and "\n" not in str(error.value)
    assert len(Corpus(copied).entries("val")) == 2


@pytest.mark.parametrize(
    "content",
    [
        b"no gzip",
        index.to_bytes([])[:-3],
        index.to_bytes([]),
        index.gzip.compress(b"mmdiffmask index 2\n"),
        index.gzip.compress(index.FORMAT + b"{]\t[]\n" * 6),
        index.gzip.compress(index.FORMAT + b"[1]\t[]\n" * 6),
        index.gzip.compress(index.FORMAT + b'"123456789"\t[]\n' * 6),
        index.gzip.compress(index.FORMAT + b"\xff\n" * 6),
    ],
    ids=range(8),  # gzip writes the time, so the content is no name
)
def test_cases_of_an_index_that_is_none(copied, content):
    """As the manifest knows it: another version's, say, or one of other records."""
    (copied / index.file_name("train")).write_bytes(content)
    files = manifests.read(copied).index | {"train": index.described("train", content)}
    put_manifest(copied, index=files)
    with pytest.raises(
        ValueError, match="index-train.* cannot be used .*make it again"
    ):
        Corpus(copied).entries("train")


def test_check_holds_the_index_against_the_records(copied):
    changed = list(Corpus(copied).entries("train"))
    changed[2] = dataclasses.replace(changed[2], answer_index=4)
    content = index.to_bytes(changed)
    (copied / index.file_name("train")).write_bytes(content)
    files = manifests.read(copied).index | {"train": index.described("train", content)}
    put_manifest(copied, index=files)
    with pytest.raises(ValueError, match=f"else of {changed[2].example_id} than its"):
        check.check(copied)


def test_check_takes_the_fingerprint_again(copied):
    put_manifest(copied, fingerprint="1" * 64)
    with pytest.raises(ValueError, match="its fingerprint is not that of its records"):
        check.check(copied)


def test_the_fingerprint_knows_each_thing_that_counts(made):
    manifest = manifests.read(made)
    corpus = Corpus(made)
    every = {split: corpus.entries(split) for split in corpus.split_names}
    assert fingerprint.of(manifest, every) == manifest.fingerprint
    turned = {split: every[split][::-1] for split in sorted(every, reverse=True)}
    assert fingerprint.of(manifest, turned) == manifest.fingerprint
    libraries = {k: v + "0" for k, v in manifest.versions.items() if k != "records"}
    libraries["records"] = manifest.versions["records"]
    same = dataclasses.replace(
        manifest, versions=libraries, counts={"clips": 9}, shards={}
    )
    assert fingerprint.of(same, every) == manifest.fingerprint
    first, *others = every["val"]

    def with_first(**changes):
        changed = [dataclasses.replace(first, **changes), *others]
        return fingerprint.of(manifest, every | {"val": changed})

    assert with_first(window="other pictures") == manifest.fingerprint
    question, answers, boxes = json.loads(first.detail)
    details = [[question, answers, [[], [], [], []]], [question + "?", answers, boxes]]
    details += [[question, answers[::-1], boxes]]
    seen = [with_first(detail=index.to_json(detail)) for detail in details]
    assert seen[0] == manifest.fingerprint
    seen += [
        with_first(labels={"action": "other"}),
        with_first(answer_index=4),
        with_first(source="another size"),
        with_first(span_percent=(0, 1)),
        with_first(group="other"),
        with_first(example_id="other"),
        with_first(is_boxed=not first.is_boxed),
        fingerprint.of(manifest, every | {"val": others}),
        fingerprint.of(manifest, {"train": every["val"], "val": every["train"]}),
        fingerprint.of(
            dataclasses.replace(manifest, versions={"records": "99"}), every
        ),
        fingerprint.of(
            dataclasses.replace(manifest, settings=manifest.settings | {"x": 1}), every
        ),
    ]
    assert len(set(seen)) == len(seen)
