import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from helpers import raw_trees

from mmdiffmask.data.records import check
from mmdiffmask.data.records import manifest as manifest_lib
from mmdiffmask.data.records import shards as records


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    raw_trees.write_tvqa(folder / "raw", train=2, val=1)
    raw_trees.make(folder / "raw", folder / "out")
    return folder / "out"


@pytest.fixture
def copied(made, tmp_path):
    for name, data in raw_trees.contents(made).items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def test_open_and_read(made):
    assert records.splits(made) == ("train", "val")
    source = records.open_split(made, "train")
    assert len(source) == 4
    record = source[0]
    assert record.example_id == "000000~people_train000"
    assert record.clip == record.group == "people_train000"
    assert record.labels == {"action": "wave", "shirt": "red"}
    assert record.answers == tuple(f"answer {i}" for i in range(5))
    assert record.spectrogram.shape == (3, 1, 60, 65)
    assert record.spectrogram.dtype == record.covered_share.dtype == np.float16
    assert source.manifest.grid == raw_trees.GRID
    with pytest.raises(IndexError):
        source[4]
    with pytest.raises(ValueError, match="no split dev; it has train, val"):
        records.open_split(made, "dev")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's full disk")
def test_a_full_disk_is_told(made):
    source = records.open_split(made, "train")
    schema = records.features(3, 1, source.manifest.grid.n_patches)
    with pytest.raises(ValueError, match="cannot be written .No space left on device"):
        records.write_shard("/dev/full", [source[0]], schema)


def test_round_trip_keeps_every_field(made, tmp_path):
    record = records.open_split(made, "train")[1]
    changed = dataclasses.replace(
        record,
        question="caf\u00e9 \U0001f600?",
        answers=(),
        answer_index=-1,
        frames=(b"", record.frames[1], b"\x00\xff"),
        labels={},
        is_boxed=False,
        line_text=(),
        line_start_s=np.zeros(0, np.float32),
        line_end_s=np.zeros(0, np.float32),
        boxes=record.boxes.take(np.zeros(0, int)),
        covered_share=record.covered_share[:0],
    )
    schema = records.features(3, 1, raw_trees.GRID.n_patches)
    name = records.shard_name("train", 0, 1)
    shard = records.write_shard(tmp_path / name, [record, changed], schema)
    manifest = dataclasses.replace(
        records.read_manifest(made),
        shards={"train": (shard,)},
        index={},
        fingerprint="",
    )
    (tmp_path / "manifest.json").write_text(manifest_lib.to_json(manifest))
    source = records.open_split(tmp_path, "train")
    assert len(source) == 2
    for wanted, found in zip((record, changed), source, strict=True):
        for field in dataclasses.fields(records.Record):
            one, other = getattr(wanted, field.name), getattr(found, field.name)
            if field.name == "boxes":
                one, other = vars(one), vars(other)
            np.testing.assert_equal(other, one, err_msg=field.name)
            if isinstance(one, np.ndarray):
                assert one.dtype == other.dtype


def test_tfds_opens_it_without_tensorflow(made):
    code = (
        "import sys, tensorflow_datasets as tfds;"
        f"s = tfds.builder_from_directory({str(made)!r}).as_data_source('train[:75%]');"
        "print(len(s), s[0]['example_id'].decode(), s[2]['spectrogram'].shape,"
        "'tensorflow' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.split("\n")[0] == (
        "3 000000~people_train000 (3, 1, 60, 65) False"
    ), run.stderr


def test_check_counts(made):
    summary = check.check(made)
    assert summary.records == {"train": 4, "val": 2}
    assert summary.boxed_records == 6
    # 6 s hold the middle and one more segment of 1.56 s each way.
    assert summary.frames == summary.boxes["object"] == 18


def shards_of(folder):
    return sorted(folder.glob("records-train*"))


def test_corrupt_shard(copied):
    (path,) = shards_of(copied)
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"{path.name} is corrupt.*make it again"):
        records.open_split(copied, "train")
    assert len(records.open_split(copied, "val")) == 2


def test_truncated_shard(copied):
    (path,) = shards_of(copied)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=f"{path.name} has .* bytes.*make it again"):
        records.open_split(copied, "train")


def test_missing_shard(copied):
    (path,) = shards_of(copied)
    path.unlink()
    with pytest.raises(ValueError, match=f"{path.name} is missing.*make it again"):
        records.open_split(copied, "train")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"schema_version": 1}', "schema 1, .* schema 2: make the records again"),
        ('{"schema_version": 2}', "is damaged"),
    ],
)
def test_bad_manifest(copied, content, message):
    (copied / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        records.read_manifest(copied)


def test_a_count_that_the_shards_do_not_hold(copied):
    content = json.loads((copied / "manifest.json").read_text())
    content["shards"]["train"][0]["records"] += 1
    (copied / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="train holds 4 records, but .* counts 5"):
        records.open_split(copied, "train")


def test_no_records(tmp_path):
    with pytest.raises(ValueError, match="no such folder"):
        records.read_manifest(tmp_path / "none")
    with pytest.raises(ValueError, match="no manifest.json"):
        records.read_manifest(tmp_path)


def put_changed(folder, change):
    """Writes the train shard again, each of its records changed."""
    source = records.open_split(folder, "train")
    manifest = source.manifest
    changed = [change(source[i]) for i in range(len(source))]
    schema = records.features(3, 1, manifest.grid.n_patches)
    (path,) = shards_of(folder)
    shard = records.write_shard(path, changed, schema)
    shards = {**manifest.shards, "train": (shard,)}
    changed = dataclasses.replace(manifest, shards=shards)
    (folder / "manifest.json").write_text(manifest_lib.to_json(changed))


def test_check_sees_a_patch_map_of_another_grid(copied):
    """The boxes moved, the patch map did not."""

    def move(record):
        boxes = dataclasses.replace(record.boxes, xyxy_px=record.boxes.xyxy_px + 8)
        return dataclasses.replace(record, boxes=boxes)

    put_changed(copied, move)
    with pytest.raises(ValueError, match="covered_share is not what grid 6x10 gives"):
        check.check(copied)
