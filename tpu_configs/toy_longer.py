"""The toy set's experiment with four times the updates: whether its answer holds there.

Command:  mmdiffmask experiment tpu_configs/toy_longer.py --plan --seeds 3
          mmdiffmask experiment tpu_configs/toy_longer.py --seeds 3 --workers 2 \
            --results results/toy_longer
Hardware: 2 CPU cores; can be killed and gone on with anywhere.
Expect:   the contrasts of tpu_configs/toy_experiment.py, which says why this is run;
          not primary, no part of that family of Holm's correction.
"""

import dataclasses
import pathlib

from mmdiffmask import config, configure

STEPS = 300


def get_config() -> config.Experiment:
    """Four rows of the main part, on the same data, with 300 updates."""
    path = pathlib.Path(__file__).with_name("toy_experiment.py")
    main = configure.load(path)
    training = dataclasses.replace(
        main.training,
        steps=STEPS,
        warmup_steps=STEPS // 10,
        eval_every=STEPS,
        save_every=STEPS,
    )
    left_out = ("none", "attnmask")
    rows = [row for row in main.rows if row.partition(":")[0] not in left_out]
    return dataclasses.replace(
        main, name="toy-longer", training=training, rows=tuple(rows)
    )
