"""Masks of examples: which are held out, and that they are the same for every run."""

import itertools
import pathlib

import numpy as np

from mmdiffmask import configure, demo, examples, masks
from mmdiffmask.data.corpus import Corpus

TINY = pathlib.Path(__file__).resolve().parents[1] / "tpu_configs" / "tiny.py"


def test_own_masks_are_held_out_whichever_clips_serve():
    boxed = demo.get_config()
    every = configure.override(boxed, ["data.boxed_only=false"])
    known = ["random", "difference", "difference-face"]
    assert masks.held_out_names(boxed) == known
    assert masks.held_out_names(every) == ["random", "difference"]
    for change in ("masking.strategy=random", "terms.patches=0", "training.steps=0"):
        changed = configure.override(every, [change])
        assert masks.held_out_names(changed) == ["random"]


def test_held_out_masks_do_not_depend_on_the_strategy(tiny_records):
    base = configure.load(TINY)
    source = Corpus.of(tiny_records).source("train")
    found = []
    for strategy in ("random", "difference"):
        changed = configure.override(base, [f"masking.strategy={strategy}"])
        hidden = masks.held_out(changed, source, [0, 1])
        assert tuple(hidden) == ("random", "difference", "difference-face")
        found.append([each.is_masked for each in hidden.values()])
    np.testing.assert_array_equal(*found)
    assert all(
        (one != other).any() for one, other in itertools.combinations(found[0], 2)
    )


def test_masks_are_looked_up_by_example(tiny_records):
    experiment = configure.load(TINY)
    source = Corpus.of(tiny_records).source("train")
    batches = masks.bare_batches(experiment, source, [0, 1, 2], ["random"], 0)
    batch = batches["random"]
    hidden = masks.of_batch(experiment, "random", batch, 0)
    np.testing.assert_array_equal(hidden.draw(batch), hidden.is_masked)
    turned = batch._replace(example_hash=batch.example_hash[::-1])
    np.testing.assert_array_equal(hidden.draw(turned), hidden.is_masked[::-1])
    unknown = batch._replace(example_hash=batch.example_hash * 0)  # a row to fill up
    assert hidden.is_masked.any() and not hidden.draw(unknown).any()


def test_batches_of_masks_hold_no_pixels_and_the_units_of_each(tiny_records):
    experiment = configure.load(TINY)
    source = Corpus.of(tiny_records).source("train")
    names = ["random", "difference"]
    bare = masks.bare_batches(experiment, source, [0, 1], names, 0)
    assert bare["random"].patches.shape[-1] == 1
    row = examples.make_row(experiment.data, experiment.masking, source)(1)
    for field in ("unit_of_token", "unit_score", "is_box_unit"):
        batched = getattr(bare[experiment.masking.strategy], field)
        np.testing.assert_array_equal(batched[1], getattr(row, field))
    assert not bare["random"].is_box_unit.any()
    assert bare["difference"].is_box_unit.any()
