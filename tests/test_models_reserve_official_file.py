"""The official format: read, written again byte for byte, and damaged."""

import functools
import tempfile

import flax.serialization
import hypothesis
import jax.numpy as jnp
import msgpack
import numpy as np
import pytest
from helpers.checkpoints import assert_same
from hypothesis import strategies as st

from mmdiffmask.models.reserve import official_file, official_writer

TREE = {
    "token_encoder": {"table": np.arange(600, dtype=np.float32).reshape(200, 3)},
    "audio_encoder": {
        "embedding": {"kernel": np.ones((2, 3, 4), np.float32)},
        "cls": np.array([1.5, -65504.0, 6e-8, 2**-24], np.float32),
    },
    "contrastive_scales": np.zeros(3, np.float32),
}


@pytest.fixture
def path(tmp_path):
    official_writer.write(tmp_path / "made", TREE, 7)
    return tmp_path / "made"


def halves(tree):
    leaves = official_file.flatten(tree).items()
    return official_file.unflatten({p: x.astype(np.float16) for p, x in leaves})


def test_the_references_file_is_written_again_byte_for_byte(shared, tmp_path):
    golden = shared / "golden/reserve/tiny"
    stored = official_file.read(golden)
    assert (stored.step, stored.opt_state) == (750_000, None)
    by_flax = flax.serialization.msgpack_restore(golden.read_bytes())
    assert_same(stored.params, by_flax["params"])
    official_writer.write(tmp_path / "again", stored.params, stored.step)
    assert (tmp_path / "again").read_bytes() == golden.read_bytes()
    assert official_writer.size(stored.params, 750_000) == golden.stat().st_size


def test_optimizer_state_of_the_reference(shared):
    golden = shared / "golden/reserve"
    stored = official_file.read(golden / "toy_with_optimizer")
    adam, found = stored.opt_state["0"], {"step": np.int32(stored.step)}
    found["count"] = adam["count"]
    found["schedule_count"] = stored.opt_state["2"]["count"]
    for name, tree in (("mu_bits", adam["mu"]), ("nu_bits", adam["nu"])):
        for path, leaf in official_file.flatten(tree).items():
            assert leaf.dtype == jnp.bfloat16
            found[f"{name}/{path}"] = leaf.view(np.uint16)
    for path, leaf in official_file.flatten(stored.params).items():
        found[f"params_loaded/{path}"] = leaf.astype(np.float32)
    with np.load(golden / "toy_with_optimizer.npz") as wanted:
        names = {n for n in wanted.files if not n.startswith("params_before_save")}
        assert names == set(found)
        for name in names:
            np.testing.assert_array_equal(found[name], wanted[name], name)
    size = (golden / "toy_with_optimizer").stat().st_size
    assert official_writer.size(stored.params, stored.step, True) == size


@pytest.mark.parametrize("step", [0, 127, 128, 65536, 750_000])
def test_bytes_are_those_of_flax(tmp_path, step):
    official_writer.write(tmp_path / "a", TREE, step)
    names = sorted(TREE)
    tree = {name: halves(TREE)[name] for name in names}
    tree["audio_encoder"] = dict(sorted(tree["audio_encoder"].items()))
    content = {"step": step, "params": tree, "opt_state": None}
    by_flax = flax.serialization.msgpack_serialize(content, in_place=True)
    assert (tmp_path / "a").read_bytes() == by_flax
    assert official_writer.size(TREE, step) == len(by_flax)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("count", [0, 1, 2, 8, 100, 120, 121, 127, 128, 32764, 32768])
def test_every_length_of_array(tmp_path, count):
    tree = {"x": np.arange(count, dtype=np.float16)}
    official_writer.write(tmp_path / "a", tree)
    assert_same(official_file.read(tmp_path / "a").params, tree)
    by_flax = flax.serialization.msgpack_restore((tmp_path / "a").read_bytes())
    assert_same(by_flax["params"], tree)


def test_what_is_written_is_rounded_to_float16_once(path, tmp_path):
    first = official_file.read(path)
    assert first.step == 7
    assert_same(first.params, halves(TREE))
    official_writer.write(tmp_path / "again", first.params, 7)
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("value", [65505.0, -1e30, np.inf, np.nan])
def test_what_float16_can_not_hold_is_refused(path, value):
    before = path.read_bytes()
    tree = {"a": np.zeros(3, np.float32), "b": {"c": np.array([0, value], np.float32)}}
    with pytest.raises(ValueError, match="b/c holds .* up to 65504"):
        official_writer.write(path, tree)
    assert path.read_bytes() == before  # neither touched nor a rest beside it
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_other_types_and_places_are_refused(tmp_path):
    with pytest.raises(ValueError, match="a is int32; expected float32"):
        official_writer.write(tmp_path / "x", {"a": np.zeros(3, np.int32)})
    with pytest.raises(ValueError, match="is a folder"):
        official_writer.write(tmp_path, TREE)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04zip", "found a file that begins with b'PK"),
        (b"\xde", "breaks off in its beginning: expected at least 3 bytes, found 1"),
        (msgpack.packb({"weights": 1}), "expected step, params, opt_state, found 'wei"),
        (msgpack.packb({"step": 1, "params": {}}), "opt_state is missing"),
        (msgpack.packb({1: 2}), "expected a name, found a value of kind constant"),
        (b"\x83\xa4step\xc1", "0xc1 begins no msgpack value"),
        (b"\x83\xa4step\xd4\x07\x00", "expected extension type 1, an array, found 7"),
        (b"\x83\xa4step" + b"\x91" * 999, "at most 32 levels"),
        (b"\x83\xa4step\xdd\xff\xff\xff\xff", "lists of at most 1000"),
        (b"\x83\xa6params" + b"\x81\xa1a" * 999, "at most 32 levels"),
        (b"\x81\xa2\xff\xff\x00", "no UTF-8 text"),
    ],
)
def test_what_is_no_checkpoint_is_named(tmp_path, content, words):
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(ValueError) as error:
        official_file.read(file)
    assert words in str(error.value) and str(file) in str(error.value)


def content(step=1, params=None, opt_state=None):
    params = {"a": np.zeros(2, np.float16)} if params is None else params
    state = {"step": step, "params": params, "opt_state": opt_state}
    return flax.serialization.msgpack_serialize(state, in_place=True)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (content(step=-1), "whole number as step, found -1"),
        (content(step="x"), "whole number as step, found 'x'"),
        (content(step=np.zeros(2, np.int32)), "whole number as step"),
        (content(params={}), "expected a map of params"),
        (content(params={"a": 3}), "found 3 in a"),
        (content(params={"a": np.zeros(2, np.int32)}), "found int32 in a"),
        (content() + b"\x00\x00", "expected 48 bytes by its content, found 50"),
        (content().replace(b"float16", b"floaf16"), "type like float16, found 'floaf"),
        (content().replace(b"\x91\x02", b"\x91\x03"), r"float16[3] needs 6 bytes"),
        (content().replace(b"\x91\x02", b"\x91\xff"), "the shape of an array"),
        (content().replace(b"opt_state", b"params\xff\xff\xff"), "UTF-8"),
        (content(params={"a": {}, "b": {}}).replace(b"\xa1b", b"\xa1a"), "found 'a'"),
    ],
)
def test_wrong_content_is_named(tmp_path, state, words):
    file = tmp_path / "file"
    file.write_bytes(state)
    with pytest.raises(ValueError) as error:
        official_file.read(file)
    assert words in str(error.value) and str(file) in str(error.value)


def test_step_as_an_array_and_the_old_layout_of_flax(tmp_path):
    old = {"name": "Adam", "fields": {"0": "count"}, "values": {"0": 3, "1": 0.5}}
    (tmp_path / "old").write_bytes(content(np.int32(9), opt_state=old))
    found = official_file.read(tmp_path / "old")
    assert found.step == 9 and found.opt_state == old
    assert found.params["a"].tolist() == [0, 0]


def test_places_that_can_not_be_read(tmp_path):
    with pytest.raises(ValueError, match="no such checkpoint"):
        official_file.read(tmp_path / "none")
    with pytest.raises(ValueError, match="is a folder"):
        official_file.read(tmp_path)


@functools.cache  # hypothesis takes no fixture
def _small():
    with tempfile.TemporaryDirectory() as folder:
        official_writer.write(f"{folder}/x", TREE, 300)
        return open(f"{folder}/x", "rb").read()


def _read_bytes(data):
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        return official_file.read(file.name)


@hypothesis.settings(max_examples=150, deadline=None)
@hypothesis.given(st.data())
def test_a_cut_file_never_reads(data):
    end = data.draw(st.integers(0, len(_small()) - 1))
    with pytest.raises(ValueError, match="breaks off|is empty") as error:
        _read_bytes(_small()[:end])
    if end:
        assert f"found {end:,}" in str(error.value)


@hypothesis.settings(max_examples=300, deadline=None)
@hypothesis.given(st.data())
def test_a_flipped_bit_is_a_sentence_or_another_checkpoint(data):
    """What is flipped in a name, a number or a value cannot always be noticed."""
    changed = bytearray(_small())
    place = data.draw(st.integers(0, len(changed) - 1))
    changed[place] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = _read_bytes(bytes(changed))
    except ValueError as error:
        assert 20 < len(str(error)) < 500
    else:
        leaves = official_file.flatten(found.params).values()
        assert sum(leaf.size for leaf in leaves) == 600 + 24 + 4 + 3


def test_cutting_the_references_file(shared):
    whole = (shared / "golden/reserve/tiny").read_bytes()
    rng = np.random.default_rng(0)
    for end in (*rng.integers(1, len(whole), 12), len(whole) - 1):
        with pytest.raises(ValueError, match=f"breaks off in .*found {end:,}"):
            _read_bytes(whole[:end])
