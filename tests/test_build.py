"""Rows and seeds of a comparison share what is compiled."""

import dataclasses
import math
import pathlib

import jax

from mmdiffmask import (
    build,
    configure,
    demo,
    examples,
    pretrain,
    video_family,
    video_pretraining,
)
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.training import mesh as meshes
from mmdiffmask.training import steps

ROOT = pathlib.Path(__file__).resolve().parents[1]


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
    assert video_family.draw_patches(random) is video_family.draw_patches(
        rows["random"]
    )
    assert video_family.draw_patches(random) is not video_family.draw_patches(
        difference
    )
    assert build.family(rows["replay"]) is not build.family(random)  # other terms
    assert build.family(rows["replay"]).masked is None


def test_a_run_by_epochs_counts_the_records_that_serve(tiny_records):
    tiny = configure.load(ROOT / "tpu_configs" / "tiny.py")
    changes = ["epochs=2", "warmup_epochs=0.5", "eval_every_epochs=1"]
    by_epochs = configure.override(tiny, [f"training.{text}" for text in changes])
    chosen = examples.choose(by_epochs, Corpus.of(tiny_records))
    owner = pretrain.claim(by_epochs, tiny_records, 0)
    job = video_pretraining.job(by_epochs, chosen, owner)
    epoch = len(chosen.train) / job.batch_size
    assert job.settings.steps == math.ceil(2 * epoch)
    assert job.settings.warmup_steps == math.ceil(0.5 * epoch)
    assert job.settings.eval_every == math.ceil(epoch)
    assert owner.settings["training.epochs"] == 2.0  # as the user wrote it
    with job.train_batches(0) as batches:
        epochs = [epoch for _, epoch in batches]
    assert len(epochs) == job.settings.steps and epochs[-1] == 1
