"""Rows and seeds of a comparison share what is compiled."""

import dataclasses

import jax

from mmdiffmask import build, configure, demo
from mmdiffmask.training import mesh as meshes
from mmdiffmask.training import steps


def test_rows_and_seeds_share_one_training_step():
    """`test_training_steps` shows that it is traced once, whatever masks and seed."""
    rows = configure.rows(demo.get_config())
    mesh = meshes.make(8, jax.devices()[:1])

    def step(row):
        return steps.make_train_step(build.family(row), row.training, mesh)

    random, difference = rows["random"], rows["difference"]
    assert step(random) is step(difference)
    other = dataclasses.replace(
        random, masking=dataclasses.replace(random.masking, fill="none")
    )
    assert step(other) is step(random)
    assert build.draw_patches(random) is build.draw_patches(rows["random"])
    assert build.draw_patches(random) is not build.draw_patches(difference)
    assert build.family(rows["replay"]) is not build.family(random)  # other terms
    assert build.family(rows["replay"]).masked is None
