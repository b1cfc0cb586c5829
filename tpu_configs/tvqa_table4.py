"""TVQA with the paper's numbers: 20 epochs, patience 5 (Table 4); a day on a v2-8.

Command:  mmdiffmask pretrain tpu_configs/tvqa_table4.py --device tpu --data data/tvqa \
            --workdir runs/table4/difference-0
          mmdiffmask probe tpu_configs/tvqa_table4.py --device tpu \
            --workdir runs/table4/difference-0
          mmdiffmask pretrain tpu_configs/tvqa_table4.py --device gpu --data data/tvqa \
            --workdir runs/table4/difference-0 --set model.remat=false
Hardware: one TPU v2-8, or one GPU of 40 GB or more (the third command); of 24 GB
          without its --set.
Needs:    as tpu_configs/tvqa.py.
Memory:   2.91 of 7.48 GiB a core (compiled: 32 clips, bfloat16, remat; 3.84 on 18x32
          patches; docs/tpu.md). One GPU: about 30 GB without remat, 8 with it
          (estimated).
Hours:    a run at most 26 on a v2-8 at 40 % of its peak rate (estimated), less where it
          stops early; 14 on an A100 (estimated). 8 rows x 5 seeds: at most 950 on one
          v2-8 (estimated). No hour here is measured.
Expect:   no number is promised: nobody has run it. Strategies' own losses differ in
          scale, so runs that stop early differ in length: compare tvqa.py first.
"""

import dataclasses
import pathlib

from mmdiffmask import config, configure


def get_config() -> config.Experiment:
    """Table 4's epochs and patience; the best step is probed; the rest as tvqa.py."""
    tvqa = configure.load(pathlib.Path(__file__).with_name("tvqa.py"))
    return dataclasses.replace(
        tvqa,
        name="tvqa-table4",
        training=dataclasses.replace(
            tvqa.training,
            epochs=20.0,  # Table 4, CPT multimodal
            patience=5,  # Table 4
            early_stopping=True,
            save_every=1000,  # about twenty minutes
        ),
        probe=dataclasses.replace(tvqa.probe, checkpoint="best"),
    )
