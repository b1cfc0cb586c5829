"""A manifest is what was written, or a sentence says that it is damaged."""

import copy
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mmdiffmask.data.records import manifest
from mmdiffmask.grid import PatchGrid

GOOD = manifest.Manifest(
    settings={
        "source": "tvqa",
        "grid": {"rows": 6, "cols": 10, "patch_px": 16, "pool": 2},
        "segments": 3,
        "sub_segments": 1,
        "schema_version": manifest.SCHEMA_VERSION,
        "boxed_clips": None,
    },
    versions={"numpy": "2.0"},
    grid=PatchGrid(6, 10),
    segments=3,
    sub_segments=1,
    shards={
        "train": tuple(
            manifest.Shard(f"records-train-0000{i}", 4, 900, "ab" * 32)
            for i in range(2)
        ),
        "val": (manifest.Shard("records-val-00000", 0, 10, "cd" * 32),),
    },
    counts={"records": 8, "skipped": 0},
)


def put(folder, content):
    (folder / manifest.NAME).write_text(
        content if isinstance(content, str) else json.dumps(content)
    )
    return folder


def test_what_was_written_is_read(tmp_path):
    assert manifest.read(put(tmp_path, manifest.to_json(GOOD))) == GOOD


def places(value, path=()):
    """Paths of everything in a JSON value."""
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def changed(path, value, is_deleted=False):
    """The good manifest's JSON with another value at a path, or without it."""
    content = {"it": json.loads(manifest.to_json(GOOD))}
    *way, key = ("it", *path)
    owner = content
    for step in way:
        owner = owner[step]
    if is_deleted:
        del owner[key]
    else:
        owner[key] = copy.deepcopy(value)
    return content.get("it")


PATHS = list(places(json.loads(manifest.to_json(GOOD))))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=5)
    | st.sampled_from([0, -1, 1, 2, 3, 2**40, 10**400, "3", "tvqa", "..", "a/b"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([str(p[-1]) for p in PATHS[1:]]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(PATHS), JSON, st.booleans())
@example(("shards",), [], False)
@example(("grid", "pool"), 0, False)
@example(("shards", "train", 0, "bytes"), "900", False)
def test_any_json_is_a_manifest_or_one_sentence(
    tmp_path_factory, path, value, is_deleted
):
    folder = tmp_path_factory.getbasetemp() / "manifest"
    folder.mkdir(exist_ok=True)
    content = changed(path, value, is_deleted)
    put(folder, content)
    try:
        found = manifest.read(folder)
    except ValueError as error:
        told = str(error)
        assert told.startswith(str(folder)) and "make it again" in told
        assert "\n" not in told
        return
    # What is read is all that the file says, of the types that are promised.
    written = json.loads(manifest.to_json(found))
    assert json.dumps(written, sort_keys=True) == json.dumps(content, sort_keys=True)
    assert all(found.length(split) >= 0 for split in found.shards)
    assert found.grid.n_cells > 0


def absent(*path):
    return lambda: changed(path, None, is_deleted=True)


def other(value, *path):
    return lambda: changed(path, value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda: "{", "is no JSON"),
        (lambda: "[" * 100_000, "is no JSON"),
        (lambda: [], "it is no object"),
        (absent("schema_version"), "it lacks 'schema_version'"),
        (absent("grid"), "it lacks 'grid'"),
        (other(1, "more"), "it has 'more', which is no field of it"),
        (other([], "shards"), "shards is no object"),
        (other({}, "shards", "train"), "shards.train is no list"),
        (other(3, "shards", "val", 0), r"shards.val\[0\] is no object"),
        (other("../x", "shards", "val", 0, "file"), "no file of this folder"),
        (other(0, "grid", "pool"), "grid.pool is 0"),
        (other("3", "segments"), 'segments is "3"'),
        (other(10**9, "segments"), "segments is 1000000000"),
        (other(2, "segments"), "segments is 2, but its settings say 3"),
        (other("x", "settings"), "settings is no object"),
        (other(True, "counts", "skipped"), "counts.skipped is true"),
        (other({}, "counts"), "counts is empty"),
        (other(None, "versions", "numpy"), "versions.numpy is null"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, content, said):
    with pytest.raises(ValueError, match=f"is damaged .*{said}.*make it again"):
        manifest.read(put(tmp_path, content()))


def test_a_grid_that_no_memory_holds(tmp_path):
    content = changed(("grid", "rows"), 100_000)
    content["settings"]["grid"] = content["grid"]
    with pytest.raises(ValueError, match="100000x10: .* at most 256"):
        manifest.read(put(tmp_path, content))
