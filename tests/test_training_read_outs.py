"""The read-out `clip` of MERLOT-Reserve sees pictures alone, and only real ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import training_run as tiny

from mmdiffmask import grid as grids
from mmdiffmask.probe import encoders
from mmdiffmask.training import objective, steps
from mmdiffmask.training.read_outs import clips
from mmdiffmask.training.terms import shared

pytestmark = pytest.mark.usefixtures("quick_compilation")


def test_valid_cells():
    is_valid = np.ones((1, 2, 8), bool)
    is_valid[0, 0, [2, 3, 6, 7]] = False  # the right cell of the first frame
    cells = shared.valid_cells(grids.PatchGrid(2, 4, 2), is_valid)
    assert cells.tolist() == [[[True, False], [True, True]]]


def test_padding_cells_do_not_count_even_if_broken():
    cells = jnp.ones((1, 2, 2, 3)).at[0, 1, 1].set(jnp.nan)
    is_valid = jnp.array([[[True, True], [True, False]]])
    np.testing.assert_array_equal(clips.mean_over_cells(cells, is_valid), [[1] * 3])
    none = clips.mean_over_cells(cells, jnp.zeros((1, 2, 2), bool))
    np.testing.assert_array_equal(none, [[0] * 3])


def test_clips_are_read_without_language_from_their_valid_cells():
    setting, params = tiny.make_objective(), tiny.start()
    encode = steps.make_encode(objective.family(setting))
    batch = tiny.make_batch(range(3))
    batch.is_patch_valid[1, :, -20:] = False  # a row of cells; its last frame is absent
    features = jax.device_get(encode(params, batch))
    assert list(features) == ["joint", "vit"] == list(clips.WORDS)[:2]
    cells = jax.jit(setting.vision)(params, batch.patches).seq_attnpool
    seen = np.asarray(cells).reshape(3, tiny.FRAMES, 3, 5, -1)
    means = [seen[0].mean((0, 1, 2)), seen[1, :-1, :2].mean((0, 1, 2))]
    np.testing.assert_allclose(features["vit"][:2], means, atol=1e-5)
    other = tiny.make_batch(range(3, 6))
    names = ("text_tokens", "text_segment", "audio_tokens", "audio_segment")
    names += ("spectrogram", "is_audio_valid")
    told = batch._replace(**{name: getattr(other, name) for name in names})
    for name, vectors in encode(params, told).items():
        np.testing.assert_array_equal(vectors, features[name])
    shown = encode(params, batch._replace(patches=other.patches))
    assert all((shown[name] != features[name]).any() for name in features)


def test_eight_devices_read_clips_as_one_does():
    family, params = objective.family(tiny.make_objective()), tiny.start()
    encode, batch = steps.make_encode(family), tiny.make_batch(range(8))
    whole, (one, eight) = encode(params, batch), map(encoders.devices, (1, None))
    for devices, tolerance in ((one, 0.0), (eight, 2e-5)):
        cut = encode(devices.put(params), devices.cut(batch))
        for name, vectors in whole.items():
            np.testing.assert_allclose(cut[name], vectors, atol=tolerance, rtol=0)


def test_read_outs_that_no_table_knows_come_last_and_go_by_their_name():
    assert clips.ordered(["zoo", "vit", "ant", "joint"]) == [
        "joint",
        "vit",
        "ant",
        "zoo",
    ]
    assert clips.words("vit").short == "vision" and "ant" in clips.words("ant").whole
