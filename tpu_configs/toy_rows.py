"""Every other row once, at half the updates: masks, curves and cost, no comparison.

Command:  mmdiffmask experiment tpu_configs/toy_rows.py --plan
          mmdiffmask experiment tpu_configs/toy_rows.py --workers 2 \
            --results results/toy_rows
Hardware: 2 CPU cores; can be killed and gone on with anywhere.
Expect:   one seed a row says nothing about which is better.

True boxes of the domain `people`, so that there are objects among them. Labels are read
out of 600 held-out clips, not 3,000: the others would cost more than the training, for
a comparison that one seed does not allow. Faults of boxes have
configs of their own, of one row: toy_lost_boxes.py, toy_moved_boxes.py and
toy_false_boxes.py.
"""

import dataclasses
import pathlib

from mmdiffmask import config, configure

HELD_OUT = 600  # clips, each with a question

STRATEGIES = (
    "difference",
    "difference-face",
    "attnmask-hint",
    "mst",
    "attention-body",
    "random-tube",
    "whole-frames",
    "multi-block",
    "band-noise",
    "motion",
    "any-box",
    "moved",
    "moved-face",
    "moved-object",
    "other-clip-face",
    "other-clip-object",
    "background",
    "background-face",
    "background-object",
)
OTHERS = (
    # Persons are no objects here: "person" would weigh every object 0.
    "difference-object: masking.strategy=difference-object;"
    " masking.anchors=star,crate,ball",
    "live: masking.strategy=attnmask; masking.attention=live",
)


def get_config() -> config.Experiment:
    """The rows of the registry that the main part lacks."""
    path = pathlib.Path(__file__).with_name("toy_experiment.py")
    main = configure.load(path)
    toy = dataclasses.replace(main.data.toy, boxes="true", val_clips=HELD_OUT)
    steps = main.training.steps // 2
    return dataclasses.replace(
        main,
        name="toy-rows",
        data=dataclasses.replace(main.data, toy=toy),
        training=dataclasses.replace(
            main.training,
            steps=steps,
            warmup_steps=steps // 10,
            eval_every=steps,
            save_every=steps,
        ),
        rows=(*(f"{name}: masking.strategy={name}" for name in STRATEGIES), *OTHERS),
        contrasts=(),
    )
