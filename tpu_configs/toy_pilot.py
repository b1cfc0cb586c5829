"""How long to train, and how many seeds: the pilot of the toy set's experiment.

Command:  mmdiffmask experiment tpu_configs/toy_pilot.py --seeds 3 --workers 2 \
            --results results/toy_pilot
Hardware: 2 CPU cores; can be killed and gone on with anywhere.
Expect:   what it chose stands in tpu_configs/toy_experiment.py.

Another rendering than the experiment's (`toy.seed = 1`). Updates are those (75, 150 or
300) where `replay - none` stands out of its noise most, in either direction: the
largest |mean| / sd over the seeds, on the primary measure. No row that hides anything
is run before that choice. Then CHOSEN is set, the same command runs `random` at that
number too, and the deviation over seeds of `random - replay` says how many seeds show
an effect of 5 points on the mean of both labels: at least 6, at most 10.
"""

import dataclasses
import pathlib

from mmdiffmask import config, configure

UPDATES = (75, 150, 300)
PRIMARY = "{0}:mean(action, shirt) - {1}:mean(action, shirt)"
CHOSEN: int | None = 75  # of UPDATES
# Of the main part when the pilot ran. `none` does not train, so it is the same run.
LEFT_AS_IT_WAS = (
    "training.warmup_steps=15; training.eval_every=150; training.save_every=150"
)


def get_config() -> config.Experiment:
    """The start, and replay for three numbers of updates; random cells for one."""
    path = pathlib.Path(__file__).with_name("toy_experiment.py")
    main = configure.load(path)
    toy = dataclasses.replace(main.data.toy, seed=1)
    lengths = {
        n: f"training.steps={n}; training.warmup_steps={n // 10};"
        f" training.eval_every={n}; training.save_every={n}"
        for n in UPDATES
    }
    rows = [f"none: training.steps=0; {LEFT_AS_IT_WAS}"]
    rows += [f"replay-{n}: terms.patches=0; {x}" for n, x in lengths.items()]
    pairs = [(f"replay-{n}", "none") for n in UPDATES]
    if CHOSEN is not None:
        rows.append(f"random-{CHOSEN}: masking.strategy=random; {lengths[CHOSEN]}")
        pairs.append((f"random-{CHOSEN}", f"replay-{CHOSEN}"))
    return dataclasses.replace(
        main,
        name="toy-pilot",
        data=dataclasses.replace(main.data, toy=toy),
        rows=tuple(rows),
        contrasts=tuple(PRIMARY.format(*pair) for pair in pairs),
    )
