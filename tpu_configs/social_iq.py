"""Difference-Masking on Social-IQ 2.0, `base`: 20 epochs, two hours on a TPU v2-8.

Command:  mmdiffmask pretrain tpu_configs/social_iq.py --device tpu --data data/siq \
            --workdir runs/siq/difference-0
          mmdiffmask probe tpu_configs/social_iq.py --device tpu \
            --workdir runs/siq/difference-0
          mmdiffmask pretrain tpu_configs/social_iq.py --device gpu --data data/siq \
            --workdir runs/siq/difference-0 --set model.remat=false
Hardware: one TPU v2-8, or one GPU of 40 GB or more (the third command); of 24 GB
          without its --set.
Needs:    records (docs/preprocessing.md), about 4 GB; `ckpts/base` with its tokenizer
          beside it (docs/weights.md); 9 GB for a run.
Memory:   2.91 of 7.48 GiB a core (compiled: 32 clips, bfloat16, remat; 3.84 on 18x32
          patches; docs/tpu.md). One GPU: about 30 GB without remat, 8 with it
          (estimated).
Hours:    a run 2 on a v2-8 at 40 % of its peak rate (estimated: 5,500 questions, 4
          minutes an epoch, an evaluation and a save after each), 1 on an A100
          (estimated). 8 rows x 5 seeds: 80 on one v2-8 (estimated). None is measured.
Expect:   no number is promised: nobody has run it. Social-IQ 2.0 is not the paper's
          Social-IQ 1.0, and can be answered from its answers alone: read the floors.
"""

import dataclasses
import pathlib

from mmdiffmask import config, configure


def get_config() -> config.Experiment:
    """Table 4's epochs without early stopping, and floors; the rest as tvqa.py."""
    tvqa = configure.load(pathlib.Path(__file__).with_name("tvqa.py"))
    return dataclasses.replace(
        tvqa,
        name="social-iq",
        training=dataclasses.replace(
            tvqa.training,
            epochs=20.0,  # Table 4, CPT multimodal
        ),
        probe=dataclasses.replace(
            tvqa.probe,
            kinds=("social-iq",),
            right_distractors=True,
            floors=True,  # minutes here
        ),
    )
