"""Check finds any single thing that is not as it was written, and names it."""

import dataclasses
import json
import pathlib
import tempfile

import numpy as np
import pytest
from helpers import raw_trees
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mmdiffmask.data.records import check, fields, schema, shards
from mmdiffmask.types import Boxes


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("check")
    raw_trees.write_tvqa(folder / "raw", train=2, val=1)
    with open(folder / "raw/tvqa_qa_release/tvqa_val.jsonl", "a") as file:
        file.write(json.dumps(raw_trees.question(900, "people_absent")) + "\n")
    raw_trees.make(folder / "raw", folder / "out", finder=raw_trees.TRACKED)
    return folder / "out"


@pytest.fixture
def copied(made, tmp_path):
    for name, data in raw_trees.contents(made).items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


@pytest.fixture(scope="module")
def source(made):
    return shards.open_split(made, "train")


SHAPE = fields.Shape(raw_trees.GRID, 3, 1)


def test_what_was_made_is_right_and_summed_up(made):
    summary, faults = check.examine(made)
    assert faults == []
    assert summary.records == {"train": 4, "val": 2}
    assert (summary.clips, summary.questions, summary.shards) == (3, 6, 2)
    assert summary.boxed_records == 6 and summary.no_person_clips == 1
    assert summary.people_per_frame == pytest.approx(4 * 3 / summary.frames)
    # The red box is 40 x 48 px of 160 x 90: 16 % of the area, more of the patches.
    assert 0.15 < summary.box_patches["any"] < 0.4
    assert 0 < summary.box_patches["body"] < summary.box_patches["any"]
    assert summary.box_patches["face"] == 0
    # Two clips of one track, seen in three frames that both questions share.
    assert summary.tracks_per_clip == pytest.approx(2 / 3)
    assert summary.track_frames == 3
    assert summary.sound == summary.subtitles == 1
    (reason,) = summary.skipped
    assert "no folder of frames" in reason
    told = "\n".join(summary.lines())
    assert "records: 4 train, 2 val, in 2 shards" in told
    assert f"skipped: 1\n  1 x {reason}\nrepaired: " in told


def replaced(values, **changes):
    """A frozen dataclass with other fields, whatever their types."""
    made = object.__new__(type(values))
    made.__dict__.update(vars(values) | changes)
    return made


def at(array, place, value):
    changed = np.array(array)
    changed.reshape(-1)[place % changed.size] = value
    return changed


NOT_FINITE = st.sampled_from([np.nan, np.inf, -np.inf])
NEGATIVE = st.floats(-100, -0.5, width=32)
PLACE = st.integers(0, 10_000)


def put(name, values, place=PLACE):
    """One value of an array field is another."""
    return st.tuples(st.just(name), place, values)


CORRUPTIONS = st.one_of(
    put("line_start_s", NOT_FINITE),
    put("line_end_s", NOT_FINITE | st.just(-50.0)),
    put("line_start_s", st.just(50.0)),
    put("frame_time_s", NOT_FINITE | NEGATIVE),
    put("frame_time_s", st.floats(100, 1e6, width=32), st.just(2)),
    put("is_frame_valid", st.just(False)),
    put("is_audio_valid", st.just(False)),
    put("source_size_px", st.integers(-5, 60) | st.integers(400, 9999)),
    put("spectrogram", NOT_FINITE | st.floats(-9, -0.5, width=16)),
    put("spectrogram", st.floats(0, 0.5, width=16), st.just(64)),
    put("covered_share", NOT_FINITE | st.floats(1.25, 9, width=16)),
    put("covered_share", st.just(0.3)),
    put("boxes.frame", st.sampled_from([-2, -1, 3, 99])),
    put("boxes.xyxy_px", NOT_FINITE),
    put("boxes.xyxy_px", st.floats(200, 1e6, width=32)),
    put("boxes.score", NOT_FINITE | NEGATIVE | st.floats(1.5, 1e6, width=32)),
    put("boxes.track", st.integers(-1000, -2)),
    st.tuples(
        st.sampled_from(["boxes.kind", "boxes.label", "boxes.source"]),
        st.just(0),
        st.just(""),
    ),
    st.tuples(st.just("answer_index"), st.none(), st.sampled_from([-2, 5, 10**6])),
    st.tuples(
        st.just("span_percent"),
        st.none(),
        st.sampled_from([(-1, 5), (60, 40), (0, 101)]),
    ),
    st.tuples(st.sampled_from(["example_id", "clip", "group"]), st.none(), st.just("")),
    st.tuples(st.just("is_boxed"), st.none(), st.just(False)),
    put("frames", st.sampled_from([b"", b"\xff\xd8", b"no picture"])),
)


def corrupt(record, field, place, value):
    owner, _, name = field.rpartition(".")
    values = record.boxes if owner else record
    before = getattr(values, name)
    if place is None:
        after = value
    elif isinstance(before, tuple):
        after = list(before)
        after[place % len(after)] = value
        after = tuple(after)
    else:
        after = at(before, place, value)
    values = replaced(values, **{name: after})
    return replaced(record, boxes=values) if owner else values


@given(CORRUPTIONS, st.integers(0, 3))
def test_any_single_corrupted_field_is_found(source, corruption, index):
    record = source[index]
    assert list(fields.of_record(record, SHAPE)) == []
    field = corruption[0]
    changed = corrupt(record, *corruption)
    found = {fault.field for fault in fields.of_record(changed, SHAPE)}
    named = {
        "is_frame_valid": {"frames", "source_size_px", "frame_time_s"},
        "is_audio_valid": {"is_audio_valid"},
        "line_start_s": {"line_start_s", "line_end_s"},
        # A box may reach out of its frame; its patches then are others.
        "boxes.xyxy_px": {"boxes.xyxy_px", "covered_share"},
    }
    assert found & named.get(field, {field}), (field, found)


LISTS = (
    *(f"boxes.{name}" for name in schema.BOX_FIELDS),
    *("frames", "subtitles", "line_start_s", "line_end_s", "label_values"),
)


@pytest.mark.parametrize("field", LISTS)
@pytest.mark.parametrize("longer", [False, True])
def test_lists_of_another_length_are_found(source, field, longer):
    example = source.example(0)
    assert list(fields.of_lengths(example, SHAPE)) == []
    owner, _, name = field.rpartition(".")
    values = example["boxes"] if owner else example
    whole = values[name]
    values[name] = np.concatenate([whole, whole[:1]]) if longer else whole[:-1]
    (fault,) = fields.of_lengths(example, SHAPE)
    assert fault.field == field.replace("label_values", "labels")


def faults(folder):
    with pytest.raises(ValueError) as raised:
        check.check(folder)
    return str(raised.value).split("\n")


def edit(folder, change):
    """The manifest edited by hand."""
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def rewrite(folder, change):
    """The train shard written again, with a manifest that knows its checksum."""
    source = shards.open_split(folder, "train")
    every = [change(i, source[i]) for i in range(len(source))]
    schema_of = shards.features(3, 1, raw_trees.GRID.n_patches)
    name = shards.shard_name("train", 0, 1)
    shard = shards.write_shard(folder / name, every, schema_of)

    def put_shard(content):
        content["shards"]["train"] = [dataclasses.asdict(shard)]

    edit(folder, put_shard)
    path = folder / "dataset_info.json"
    info = json.loads(path.read_text())
    info["splits"][0] |= {
        "numBytes": str(shard.bytes),
        "shardLengths": [str(len(every))],
    }
    path.write_text(json.dumps(info))


EDITS = {
    "records": lambda m: m["counts"].update(records=7),
    "clips": lambda m: m["counts"].update(clips=4),
    "frames": lambda m: m["counts"].update(frames=1),
    "boxes": lambda m: m["counts"].update({"body boxes": 0}),
    "no count": lambda m: m["counts"].pop("object boxes"),
    "unknown count": lambda m: m["counts"].update(films=3),
    "skipped": lambda m: m["counts"].update(skipped=0),
    "repaired": lambda m: m["counts"].pop("repaired"),
    "of a shard": lambda m: m["shards"]["train"][0].update(records=3),
    "bytes": lambda m: m["shards"]["train"][0].update(bytes=3),
    "checksum": lambda m: m["shards"]["val"][0].update(sha256="0" * 64),
    "shard's name": lambda m: m["shards"]["val"][0].update(file="a"),
    "no split": lambda m: m["shards"].pop("val"),
    "swapped": lambda m: m["shards"].update(
        train=m["shards"]["val"], val=m["shards"]["train"]
    ),
    "grid": lambda m: m["grid"].update(rows=8),
    "patch": lambda m: m["grid"].update(patch_px=8),
    "settings": lambda m: m["settings"].update(segments=4),
    "segments": lambda m: m.update(segments=0),
    "sub-segments": lambda m: m.update(sub_segments=2),
    "all of the grid": lambda m: (
        m["grid"].update(cols=12),
        m["settings"]["grid"].update(cols=12),
    ),
    "all of the segments": lambda m: (
        m.update(segments=4),
        m["settings"].update(segments=4),
    ),
}


@pytest.mark.parametrize("change", EDITS.values(), ids=EDITS)
def test_a_manifest_edited_by_hand_is_found(copied, change):
    edit(copied, change)
    for fault in faults(copied):
        assert str(copied) in fault and "again" in fault


# What the records cannot tell, and nothing is read by.
FREE = {"source", "raw_sha256", "boxes", "clips_per_shard", "boxed_clips"}


def leaves(value, path=()):
    """Paths of everything in a JSON value whose change must be seen."""
    yield path
    if path == ("versions",) or not isinstance(value, dict | list):
        return
    for key in value if isinstance(value, dict) else range(len(value)):
        if path != ("settings",) or key not in FREE:
            yield from leaves(value[key], (*path, key))


VALUES = st.sampled_from([None, "x", -1, 0, 1.5, [], {}, 10**9, True, "absent"])


@settings(max_examples=60, deadline=None)
@given(data=st.data(), value=VALUES)
def test_any_changed_value_of_the_manifest_is_found(made, data, value):
    content = json.loads((made / "manifest.json").read_text())
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder)
        for path in made.iterdir():
            if path.name != "manifest.json":
                (copy / path.name).symlink_to(path)
        owner, (*way, key) = (
            content,
            data.draw(st.sampled_from(list(leaves(content))[1:])),
        )
        for step in way:
            owner = owner[step]
        assume(json.dumps(owner[key]) != json.dumps(value))
        owner[key] = value
        if value == "absent":
            del owner[key]
        (copy / "manifest.json").write_text(json.dumps(content))
        with pytest.raises(ValueError):
            check.check(copy)


def test_every_corrupted_record_is_named(copied):
    def change(i, record):
        if i == 1:
            return corrupt(record, "boxes.score", 0, 2.0)
        return corrupt(record, "frame_time_s", 1, 0.0) if i == 2 else record

    before = [shards.open_split(copied, "train")[i].example_id for i in (1, 2)]
    rewrite(copied, change)
    found = faults(copied)
    assert len(found) == 2
    assert before[0] in found[0] and "boxes.score is not within 0..1" in found[0]
    assert before[1] in found[1] and "frame_time_s does not ascend" in found[1]


def test_a_repeated_id_is_found(copied):
    rewrite(copied, lambda i, record: replaced(record, example_id="one"))
    assert sum("example_id was there before" in fault for fault in faults(copied)) == 3


def test_many_faults_are_counted(copied, monkeypatch):
    monkeypatch.setattr(check, "TOLD", 2)
    rewrite(copied, lambda i, record: replaced(record, answer_index=9))
    found = faults(copied)
    assert len(found) == 3 and found[-1] == "and 2 faults more"


def no_rows(folder):
    (folder / "skipped.jsonl").unlink()


def bad_row(folder):
    (folder / "skipped.jsonl").write_text('{"video": "a"}\n')


def one_more_row(folder):
    text = (folder / "skipped.jsonl").read_text()
    (folder / "skipped.jsonl").write_text(text + text)


def no_features(folder):
    (folder / "features.json").unlink()


def other_features(folder):
    path = folder / "features.json"
    path.write_text(path.read_text().replace("float16", "float32"))


def no_json(folder):
    (folder / "dataset_info.json").write_text("{")


def other_info(folder):
    path = folder / "dataset_info.json"
    path.write_text(path.read_text().replace('"4"', '"5"'))


def stray_shard(folder):
    (folder / shards.shard_name("dev", 0, 1)).write_bytes(b"")


def no_repairs(folder):
    (folder / "repaired.jsonl").unlink()


def one_more_repair(folder):
    with open(folder / "repaired.jsonl", "a") as file:
        file.write(json.dumps(dict.fromkeys(check.ROW, "x")) + "\n")


FILES = (no_repairs, one_more_repair)
FILES += (no_rows, bad_row, one_more_row, no_features, other_features, no_json)
FILES += (other_info, stray_shard)


@pytest.mark.parametrize("change", FILES, ids=lambda change: change.__name__)
def test_files_beside_the_shards_are_checked(copied, change):
    change(copied)
    (fault, *more) = faults(copied)
    assert str(copied) in fault and len(more) <= 1


def test_a_shard_of_something_else_is_told(copied):
    """Well-formed file, right checksum, no records inside."""
    from array_record.python import array_record_module

    name = shards.shard_name("train", 0, 1)
    writer = array_record_module.ArrayRecordWriter(str(copied / name), "group_size:1")
    for _ in range(4):
        writer.write(b"\xff\x01nothing")
    writer.close()
    data = (copied / name).read_bytes()
    import hashlib

    digest = hashlib.sha256(data).hexdigest()
    edit(
        copied,
        lambda m: m["shards"]["train"][0].update(sha256=digest, bytes=len(data)),
    )
    found = faults(copied)
    assert sum("cannot be read" in fault for fault in found) == 4
    assert all("\n" not in fault for fault in found)


def test_boxes_type_is_what_the_tests_above_corrupt():
    names = {name.removeprefix("boxes.") for name in LISTS if "boxes." in name}
    assert names == {field.name for field in dataclasses.fields(Boxes)}
