"""The read-out `clip` sees pictures alone; the cache computes once and never halves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmdiffmask import grid as grids
from mmdiffmask import types
from mmdiffmask.probe import features

GRID = grids.PatchGrid(2, 4, 2)
B, T, N, P = 2, 3, 8, 12


def _batch(seed=0, text=3):
    rng = np.random.default_rng(seed)
    tokens = jnp.full((B, 5), text, jnp.int32)
    is_valid = np.ones((B, T, N), bool)
    is_valid[0, :, 2:4] = is_valid[0, :, 6:8] = False  # the right cell of clip 0
    return types.VideoBatch(
        patches=jnp.asarray(rng.random((B, T, N, P)), jnp.float32),
        spectrogram=jnp.full((B, T, 1, 60, 65), float(text), jnp.float32),
        text_tokens=tokens,
        text_segment=tokens,
        audio_tokens=tokens,
        audio_segment=tokens,
        is_frame_valid=jnp.array([[True, True, True], [True, True, False]]),
        is_audio_valid=jnp.ones((B, T), bool),
        is_patch_valid=jnp.asarray(is_valid),
        unit_of_token=jnp.zeros((B, T * N), jnp.int32),
        unit_score=jnp.zeros((B, T * N), jnp.float32),
        is_box_unit=jnp.zeros((B, T * N), bool),
        example_hash=jnp.zeros(B, jnp.uint32),
        clip_hash=jnp.zeros(B, jnp.uint32),
        is_real=jnp.ones(B, bool),
    )


def _apply(params, batch):
    """Cells = means of their patches; the joint output also carries every token."""
    x = batch.patches.reshape(B, T, 2, 2, 2, P).mean((2, 4))  # (b, t, c, p)
    vit = x @ params["kernel"]
    language = (
        batch.text_tokens.sum() + batch.audio_segment.sum() + batch.spectrogram.sum()
    )
    return (vit + language).reshape(B, T * 2, -1), vit


PARAMS = {"kernel": jnp.asarray(np.random.default_rng(1).normal(size=(P, 4)))}


def test_valid_cells():
    found = features.valid_cells(GRID, _batch().is_patch_valid)
    assert found[0, 0].tolist() == [True, False] and bool(found[1].all())


def test_clip_read_out_is_the_mean_over_valid_cells_without_language():
    encode = features.clip_encoder(_apply, GRID)
    found = encode(PARAMS, _batch())
    x = np.asarray(_batch().patches).reshape(B, T, 2, 2, 2, P).mean((2, 4))
    expected = np.stack([x[0, :, 0].mean(0), x[1, :2].mean((0, 1))])
    expected = expected @ np.asarray(PARAMS["kernel"])
    np.testing.assert_allclose(found["vit"], expected, atol=1e-5)
    np.testing.assert_allclose(found["joint"], expected, atol=1e-5)
    other = encode(PARAMS, _batch(text=7))
    np.testing.assert_array_equal(found["joint"], other["joint"])


def test_padding_cells_do_not_count_even_if_broken():
    cells = jnp.ones((1, 2, 2, 3)).at[0, 1, 1].set(jnp.nan)
    is_valid = jnp.array([[[True, True], [True, False]]])
    np.testing.assert_array_equal(features.mean_over_cells(cells, is_valid), [[1] * 3])
    none = features.mean_over_cells(cells, jnp.zeros((1, 2, 2), bool))
    np.testing.assert_array_equal(none, [[0] * 3])


def test_extract_drops_filling_rows_and_leaves_the_weights_alone():
    before = jax.tree.map(np.array, PARAMS)
    encode = features.clip_encoder(_apply, GRID)
    batches = features.named(("a", "b", "c"), iter([_batch(0), _batch(1)]))
    found = features.extract(encode, PARAMS, batches)
    assert found.clip == ("a", "b", "c") and found.vectors["joint"].shape == (3, 4)
    expected = encode(PARAMS, _batch(1))["vit"][0]
    np.testing.assert_array_equal(found.vectors["vit"][2], expected)
    jax.tree.map(np.testing.assert_array_equal, before, jax.tree.map(np.array, PARAMS))


def test_extract_refuses_what_is_no_clip_feature():
    encode = features.clip_encoder(_apply, GRID)
    with pytest.raises(ValueError, match="clip a comes twice"):
        features.extract(encode, PARAMS, [(("a", "a"), _batch())])
    with pytest.raises(ValueError, match="empty"):
        features.extract(encode, PARAMS, [])
    broken = {"kernel": PARAMS["kernel"] * jnp.nan}
    with pytest.raises(ValueError, match="clip a is not finite"):
        features.extract(encode, broken, [(("a", "b"), _batch())])


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
