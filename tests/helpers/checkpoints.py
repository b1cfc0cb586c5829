"""Small checkpoints for tests."""

import numpy as np

from mmdiffmask import config
from mmdiffmask.models.reserve import official_file, sizes

SETTINGS = config.Model(
    hidden=32,
    head_size=32,
    vision_layers=2,
    audio_layers=1,
    span_layers=1,
    joint_layers=1,
    vocabulary=128,
)
STEP = 70_000


def params(settings=SETTINGS, dtype=np.float32, seed=0):
    """Parameters of the model, every leaf normal."""
    rng = np.random.default_rng(seed)
    return official_file.unflatten(
        {
            path: rng.normal(size=shape).astype(np.float32).astype(dtype)
            for path, shape in sizes.shapes(settings).items()
        }
    )


def finetuned(dtype=np.float16):
    """As `params`, without head and span_encoder, with proj."""
    tree = params(dtype=dtype)
    del tree["head"], tree["span_encoder"]
    return tree | {"proj": {"kernel": np.ones((SETTINGS.hidden, 1), dtype)}}


def assert_same(found, wanted):
    """The same names, types and bits."""
    found, wanted = official_file.flatten(found), official_file.flatten(wanted)
    assert sorted(found) == sorted(wanted)
    for path in found:
        assert found[path].dtype == wanted[path].dtype, path
        assert found[path].shape == wanted[path].shape, path
        assert np.asarray(found[path]).tobytes() == wanted[path].tobytes(), path
