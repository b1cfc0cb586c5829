"""A whole experiment in minutes, for tests; its numbers mean nothing.

Command:  mmdiffmask experiment tpu_configs/tiny_experiment.py --seeds 2 --workers 2 \
            --workdir runs/tiny_experiment
Hardware: two CPU cores, a few minutes with data and compilation.
Expect:   twelve small files in runs/tiny_experiment/results, tables.html, results.csv.
"""

import dataclasses
import pathlib

from mmdiffmask import config, configure


def get_config() -> config.Experiment:
    """Six rows of `tiny`, and contrasts of them."""
    tiny = configure.load(pathlib.Path(__file__).with_name("tiny.py"))
    return dataclasses.replace(
        tiny,
        name="tiny-experiment",
        # Something that a row which hides nothing can train on.
        terms=config.Terms(imgs_to_audio=1.0),
        training=dataclasses.replace(
            tiny.training, steps=4, eval_every=4, save_every=1
        ),
        rows=(
            "none: training.steps=0",
            "replay: terms.patches=0",
            "random: masking.strategy=random",
            "faces: masking.strategy=difference-face",
            "difference: masking.strategy=difference",
            "other clip: masking.strategy=other-clip",
        ),
        contrasts=(
            "difference:action - random:action",
            "difference:action - other clip:action",
            "(difference:action - random:action) - (difference:object - random:object)",
        ),
    )
