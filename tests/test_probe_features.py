"""Features of clips by name; the cache computes once and never halves."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmdiffmask.probe import features

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


def test_cache_computes_once(tmp_path):
    made = features.Features(("ä", "b"), {"joint": np.eye(2, dtype=np.float32)})
    calls = []

    def compute():
        calls.append(1)
        return made

    key = features.cache_key("run-1/step-10", "f" * 64, "val")
    first = features.cached(tmp_path / "new", key, compute)
    second = features.cached(tmp_path / "new", key, compute)
    assert len(calls) == 1
    assert first.clip == second.clip == ("ä", "b")
    np.testing.assert_array_equal(second.vectors["joint"], np.eye(2))
    assert second.vectors["joint"].dtype == np.float32
    other = features.cache_key("run-1/step-20", "f" * 64, "val")
    features.cached(tmp_path / "new", other, compute)
    assert len(calls) == 2
    names = sorted(p.name for p in (tmp_path / "new").iterdir())
    assert names == sorted(f"features-{k}.npz" for k in (key, other))


def test_cache_key_tells_settings_apart():
    keys = {
        features.cache_key("a", "b"),
        features.cache_key("a", "c"),
        features.cache_key("b", "b"),
        features.cache_key("a", "b", "val"),
        features.cache_key("a", "b", "dev"),
    }
    assert len(keys) == 5


def test_failed_computation_leaves_no_file(tmp_path):
    def fail():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        features.cached(tmp_path, "k", fail)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"no zip"])
def test_broken_cache_is_named(tmp_path, content):
    (tmp_path / "features-k.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"features-k\.npz: broken.*delete"):
        features.cached(tmp_path, "k", lambda: None)
