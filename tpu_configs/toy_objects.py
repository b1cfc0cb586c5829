"""Where hiding people should not help: the toy set's experiment on `objects`.

Command:  mmdiffmask experiment tpu_configs/toy_objects.py --plan --seeds 4
          mmdiffmask experiment tpu_configs/toy_objects.py --seeds 4 --workers 2 \
            --results results/toy_objects
Hardware: 2 CPU cores; can be killed and gone on with anywhere.
Expect:   difference (bodies) minus random on `object`: the upper end of its interval
          lies below 2 points; docs/toy_results.md.

True boxes, with half the seeds of tpu_configs/toy_experiment.py. What is new here are
six classes of vehicles, so boxes of several labels are hidden too, with 1, 3 and all 6
of the classes as anchors.
"""

import dataclasses
import pathlib

from mmdiffmask import config, configure

VEHICLES = ("car", "boat", "plane", "rocket", "bus", "balloon")


def get_config() -> config.Experiment:
    """Six rows on the objects domain."""
    path = pathlib.Path(__file__).with_name("toy_experiment.py")
    main = configure.load(path)
    toy = dataclasses.replace(main.data.toy, domain="objects", boxes="true")
    anchors = {k: ",".join(VEHICLES[:k]) for k in (1, 3, 6)}
    return dataclasses.replace(
        main,
        name="toy-objects",
        data=dataclasses.replace(main.data, toy=toy),
        rows=(
            "replay: terms.patches=0",
            "random: masking.strategy=random",
            "difference: masking.strategy=difference",
            *(
                f"objects-{k}: masking.strategy=difference-object;"
                f" masking.anchors={names}"
                for k, names in anchors.items()
            ),
        ),
        contrasts=(
            "difference:object - random:object",
            *(f"objects-{k}:object - random:object" for k in anchors),
        ),
    )
