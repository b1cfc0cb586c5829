"""Joined sequences, small enough to be read."""

import jax.numpy as jnp
import numpy as np
import pytest

from mmdiffmask.grid import PatchGrid
from mmdiffmask.models.reserve import joining
from mmdiffmask.tokens import AUDIOSPAN

SOUND = AUDIOSPAN


def embedded(tokens):
    return jnp.broadcast_to(-jnp.asarray(tokens, float)[..., None], (*tokens.shape, 2))


def test_pointers_count_six_tokens_per_clip():
    tokens = jnp.array([[9, *[SOUND] * 7, 9, *[SOUND] * 6]])
    expected = [-1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 0]
    assert joining.count_pointers(tokens, 2)[0].tolist() == expected


def test_sound_replaces_its_tokens():
    spans = jnp.arange(2 * 6.0).reshape(1, 2, 6, 1)
    spans = jnp.broadcast_to(spans, (1, 2, 6, 2))
    tokens = jnp.array([[9, SOUND, SOUND, 7, SOUND]])
    pointer = jnp.array([[-1, 1, 1, -1, -1]])
    text = joining.TextPart(tokens, None, spans, pointer)
    found = joining.put_sound(embedded(tokens), text)
    assert found[0, :, 0].tolist() == [-9, 6, 7, -7, 2]  # the count runs on
    in_order = text._replace(audio_pointer=None)
    found = joining.put_sound(embedded(tokens), in_order)
    assert found[0, :, 0].tolist() == [-9, 0, 1, -7, 2]


@pytest.fixture
def joined():
    tokens = jnp.array([[9, 9, 0]])
    text = joining.TextPart(tokens, jnp.array([[0, 1, 1]]))
    vision = joining.VisionPart(
        jnp.ones((1, 2, 2, 2)), jnp.array([[1, 2]]), jnp.array([[True, False]])
    )
    parts = [
        joining.text_part(embedded(tokens), text),
        joining.vision_part(vision, PatchGrid(2, 4), jnp.dtype("float32")),
    ]
    return joining.join(parts, length=8, video_of_segment=jnp.array([[4, 4, 4]]))


def test_coordinates_are_row_column_segment_token(joined):
    expected = [
        [0, 0, 0, 1 / 1024],
        [0, 0, 1 / 16, 2 / 1024],
        [0, 0, 1 / 16, 3 / 1024],
        [1 / 3, -1 / 3, 1 / 16, 0],
        [1 / 3, 1 / 3, 1 / 16, 0],
        [1 / 3, -1 / 3, 2 / 16, 0],
        [1 / 3, 1 / 3, 2 / 16, 0],
        [0, 0, 0, 0],
    ]
    np.testing.assert_allclose(joined.coordinates[0], expected, atol=1e-6)


def test_only_real_positions_look_and_are_looked_at(joined):
    is_valid = np.array([1, 1, 0, 1, 1, 0, 0, 0], bool)
    np.testing.assert_array_equal(joined.attend[0], is_valid & is_valid[:, None])


def test_videos_do_not_look_at_one_another():
    cells = jnp.ones((1, 3, 1, 2))
    part = joining.vision_part(
        joining.VisionPart(cells, jnp.array([[0, 1, -1]])),
        PatchGrid(2, 2),
        jnp.dtype("float32"),
    )
    found = joining.join([part], video_of_segment=jnp.array([[5, 6]])).attend
    np.testing.assert_array_equal(found[0], np.eye(3, dtype=bool))
    found = joining.join([part], video_of_segment=jnp.array([[5, 5]])).attend
    assert found[0, 0, 1]
    assert not found[0, 0, 2]


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="needs text, vision or both"):
        joining.join([])
    vision = joining.VisionPart(jnp.ones((1, 1, 5, 2)))
    with pytest.raises(ValueError, match="5 cells a frame do not fill a grid of 4x6"):
        joining.vision_part(vision, PatchGrid(4, 6), jnp.dtype("float32"))
    part = joining.vision_part(
        joining.VisionPart(jnp.ones((1, 2, 2, 2))),
        PatchGrid(2, 4),
        jnp.dtype("float32"),
    )
    with pytest.raises(ValueError, match="4 positions do not fit in length=3"):
        joining.join([part], length=3)
