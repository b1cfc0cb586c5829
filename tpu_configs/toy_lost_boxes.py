"""What a fault of boxes does: three of ten true boxes are lost.

Command:  mmdiffmask experiment tpu_configs/toy_lost_boxes.py \
            --results results/toy_lost_boxes
Hardware: 2 CPU cores; can be killed and gone on with anywhere.
Expect:   one run, to be laid beside the row `difference` of tpu_configs/toy_rows.py:
          one seed says nothing about which is better.
"""

import dataclasses
import pathlib

from mmdiffmask import config, configure


def get_config() -> config.Experiment:
    """The row `difference` of the other rows, on boxes with the fault."""
    path = pathlib.Path(__file__).with_name("toy_rows.py")
    rows = configure.load(path)
    toy = dataclasses.replace(rows.data.toy, lost_boxes=0.3)
    return dataclasses.replace(
        rows,
        name="toy-lost-boxes",
        data=dataclasses.replace(rows.data, toy=toy),
        rows=tuple(row for row in rows.rows if row.startswith("difference:")),
    )
