"""Features of clips by name; the cache computes once and never halves."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmdiffmask import config
from mmdiffmask.probe import encoders, feature_parts, features

B, T, N, P = 2, 3, 8, 12


class Batch(NamedTuple):
    patches: np.ndarray
    is_real: np.ndarray


def _batch(seed=0):
    rng = np.random.default_rng(seed)
    patches = rng.random((B, T, N, P)).astype(np.float32)
    return Batch(patches, np.ones(B, bool))


def _encode(params, batch):
    """Means of the patches, and these through a kernel."""
    mean = jnp.asarray(batch.patches).mean((1, 2))
    return {"plain": mean, "turned": mean @ params["kernel"]}


PARAMS = {"kernel": jnp.asarray(np.random.default_rng(1).normal(size=(P, 4)))}


def test_extract_drops_filling_rows_and_leaves_the_weights_alone():
    before = jax.tree.map(np.array, PARAMS)
    batches = features.named(("a", "b", "c"), iter([_batch(0), _batch(1)]))
    found = features.extract(_encode, PARAMS, batches)
    assert found.clip == ("a", "b", "c") and list(found.vectors) == ["plain", "turned"]
    assert found.vectors["turned"].shape == (3, 4)
    expected = _encode(PARAMS, _batch(1))["plain"][0]
    np.testing.assert_array_equal(found.vectors["plain"][2], expected)
    jax.tree.map(np.testing.assert_array_equal, before, jax.tree.map(np.array, PARAMS))


def test_extract_refuses_what_is_no_clip_feature():
    with pytest.raises(ValueError, match="clip a comes twice"):
        features.extract(_encode, PARAMS, [(("a", "a"), _batch())])
    with pytest.raises(ValueError, match="empty"):
        features.extract(_encode, PARAMS, [])
    broken = {"kernel": PARAMS["kernel"] * jnp.nan}
    with pytest.raises(ValueError, match="turned of clip a is not finite"):
        features.extract(_encode, broken, [(("a", "b"), _batch())])


def rows(count, kind=np.float32):
    """Features of so many clips, each with numbers of its own."""
    values = np.arange(3 * count, dtype=kind).reshape(count, 3) / 7
    names = tuple(f"clip {i}" for i in range(count))
    return features.Features(names, {"joint": values, "vit": -values})


def stretches(whole, calls, stop=None):
    """Makes any stretch of the features; is killed at part number `stop`."""

    def compute(part, note):
        if len(calls) == stop:
            raise KeyboardInterrupt
        calls.append(part)
        note(len(whole.clip[part]))
        vectors = {name: value[part] for name, value in whole.vectors.items()}
        return features.Features(whole.clip[part], vectors)

    return compute


def files(folder):
    """Names of the files below a folder."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*.npz"))


def test_cache_computes_once(tmp_path):
    whole = features.Features(("ä", "b"), {"joint": np.eye(2, dtype=np.float32)})
    folder, calls = tmp_path / "new", []
    compute = stretches(whole, calls)
    key = features.cache_key("run-1/step-10", "f" * 64, "val")
    first = feature_parts.cached(folder, key, whole.clip, compute)
    second = feature_parts.cached(folder, key, whole.clip, compute)
    assert calls == [slice(0, feature_parts.PART)]
    assert first.clip == second.clip == ("ä", "b")
    np.testing.assert_array_equal(second.vectors["joint"], np.eye(2))
    assert second.vectors["joint"].dtype == np.float32
    other = features.cache_key("run-1/step-20", "f" * 64, "val")
    feature_parts.cached(folder, other, whole.clip, compute)
    assert len(calls) == 2
    assert files(folder) == sorted(
        f"features-{k}/00000-of-00001.npz" for k in (key, other)
    )


def test_a_killed_extraction_goes_on_at_the_first_missing_part(tmp_path):
    whole, calls = rows(10), []
    with pytest.raises(KeyboardInterrupt):
        feature_parts.cached(
            tmp_path, "k", whole.clip, stretches(whole, calls, 2), size=4
        )
    stored = [f"features-k/{i:05}-of-00003.npz" for i in range(3)]
    assert files(tmp_path) == stored[:2]
    again = stretches(whole, calls)
    result = feature_parts.cached(tmp_path, "k", whole.clip, again, size=4)
    assert calls == [slice(0, 4), slice(4, 8), slice(8, 12)]
    assert files(tmp_path) == stored and result.clip == whole.clip
    assert list(result.vectors) == ["joint", "vit"]
    for name, values in whole.vectors.items():
        np.testing.assert_array_equal(result.vectors[name], values)
    (tmp_path / stored[1]).unlink()
    feature_parts.cached(tmp_path, "k", whole.clip, again, size=4)
    assert calls[3:] == [slice(4, 8)]
    with pytest.raises(KeyError):
        result.vectors["span"]


def test_one_file_of_versions_before_is_read(tmp_path):
    whole = rows(5)
    arrays = {f"vector/{name}": value for name, value in whole.vectors.items()}
    np.savez(tmp_path / "features-k.npz", clip=np.array(whole.clip), **arrays)
    result = feature_parts.cached(
        tmp_path, "k", whole.clip, stretches(whole, [], 0), size=2
    )
    assert result.clip == whole.clip
    np.testing.assert_array_equal(result.vectors["vit"], whole.vectors["vit"])


def test_bfloat16_is_stored_in_half_the_bytes_and_float32_as_it_is(tmp_path):
    assert feature_parts.stored_type(config.Model()) is np.float32
    assert feature_parts.stored_type(config.Model(dtype="bfloat16")) is np.float16
    # Float16 holds every bfloat16 of usual size.
    values = jnp.asarray(np.random.default_rng(0).normal(size=(40, 8)), jnp.bfloat16)
    whole = features.Features(
        tuple(map(str, range(40))), {"joint": np.asarray(values, np.float32)}
    )
    compute = stretches(whole, [])
    result = feature_parts.cached(tmp_path, "k", whole.clip, compute, kind=np.float16)
    assert result.vectors["joint"].dtype == np.float16
    is_usual = np.abs(whole.vectors["joint"]) > 2**-14
    assert is_usual.mean() > 0.99
    np.testing.assert_array_equal(
        result.vectors["joint"][is_usual], whole.vectors["joint"][is_usual]
    )
    whole.vectors["joint"][0, 0] = 1e6
    with pytest.raises(ValueError, match="joint: a value is too large for float16"):
        feature_parts.cached(tmp_path, "l", whole.clip, compute, kind=np.float16)
    assert len(files(tmp_path)) == 1


def test_cache_key_tells_settings_apart():
    keys = {
        features.cache_key("a", "b"),
        features.cache_key("a", "c"),
        features.cache_key("b", "b"),
        features.cache_key("a", "b", "val"),
        features.cache_key("a", "b", "dev"),
    }
    assert len(keys) == 5


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"no zip"])
@pytest.mark.parametrize("name", ["features-k.npz", "features-k/00001-of-00002.npz"])
def test_a_broken_part_is_named(tmp_path, name, content):
    whole = rows(4)
    compute = stretches(whole, [])
    feature_parts.cached(tmp_path, "k", whole.clip, compute, size=2)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name}: broken.*delete") as error:
        feature_parts.cached(tmp_path, "k", whole.clip, compute, size=2)
    assert "\n" not in str(error.value)


def test_a_part_of_other_rows_is_named(tmp_path):
    whole = rows(4)
    feature_parts.cached(tmp_path, "k", whole.clip, stretches(whole, []), size=2)
    for names in (("other", *whole.clip[1:]), (*whole.clip[:3], "other")):
        with pytest.raises(ValueError, match="broken feature cache .it holds other"):
            feature_parts.cached(tmp_path, "k", names, stretches(whole, [], 0), size=2)


def test_devices_take_batches_that_they_can_share():
    eight, one = encoders.devices(), encoders.devices(1)
    assert [eight.batch(n) for n in (1, 8, 9)] == [8, 8, 16]
    assert [one.batch(n) for n in (1, 9)] == [1, 9]
    # The default of 32 questions, four views with five candidates and `match`: whole.
    assert one.questions(32, 24) == eight.questions(32, 24) == 32
    assert one.questions(64, 24) == 32 and one.questions(32, 2000) == 1
    assert eight.questions(3000, 24) == 256
