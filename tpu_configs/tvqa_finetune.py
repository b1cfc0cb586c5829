"""Fine-tuning on TVQA's questions, `base`: three epochs of the whole network.

Command:  mmdiffmask finetune tpu_configs/tvqa_finetune.py --device tpu \
            --data data/tvqa --start runs/tvqa/difference-0 \
            --workdir runs/tvqa_tuned/difference --seeds 3
          mmdiffmask finetune tpu_configs/tvqa_finetune.py --device gpu \
            --data data/tvqa --start runs/tvqa/difference-0 \
            --workdir runs/tvqa_tuned/difference --seeds 3
Hardware: one TPU v2-8, or one GPU of 40 GB or more. Nobody has run it on either.
Needs:    records and checkpoint as tpu_configs/tvqa.py.
Memory:   not compiled, not measured. A core has one question of 8: ten sequences of 676
          tokens, activations kept a layer at a time.
Hours:    1.74 TFLOP a question forward (docs/reserve.md section 7), three times that
          with the backward pass, so 110,000 questions are 5.7e17 FLOP an epoch: 2.2
          hours at 72 TFLOP/s, two fifths of a v2-8's peak of 180, 3 with
          rematerialisation; 9 a run (estimated). 8 rows x 5 seeds: 360 (estimated).
Expect:   no number is promised. The paper's 81.73 belongs to a model that was finetuned
          as a whole, with these numbers of the released code: batch 8, 3 epochs.
"""

import dataclasses
import pathlib

from mmdiffmask import config, configure


def get_config() -> config.Experiment:
    """Batch, rate and epochs as the released code; judged by dev's accuracy."""
    tvqa = configure.load(pathlib.Path(__file__).with_name("tvqa.py"))
    return dataclasses.replace(
        tvqa,
        name="tvqa-finetune",
        terms=config.Terms(patches=0.0, classify=1.0),
        training=dataclasses.replace(
            tvqa.training,
            optimiser="reserve_finetune",
            epochs=3.0,
            warmup_epochs=0.5,
            eval_every_epochs=0.5,
            eval_clips=2000,  # questions of dev
            batch_size=8,
            stop_on="accuracy",
            early_stopping=True,
            patience=4,
        ),
        rows=("tuned:",),
    )
