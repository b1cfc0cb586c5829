"""Fine-tuning on the toy set: the whole shipped start learns its questions.

Command:  mmdiffmask finetune tpu_configs/toy_finetune.py --workdir runs/toy_questions
          mmdiffmask finetune tpu_configs/toy_finetune.py --workdir runs/toy_action \
            --set training.learn=action
Hardware: 2 CPU cores.
Expect:   docs/finetuning.md holds what was measured.
"""

import dataclasses
import pathlib

from mmdiffmask import config, configure


def get_config() -> config.Experiment:
    """toy_experiment.py's network on 200 + 150 clips; no boxes, nothing is hidden."""
    toy = configure.load(pathlib.Path(__file__).with_name("toy_experiment.py"))
    clips = config.Toy(train_clips=200, val_clips=150, boxed_clips=0)
    return dataclasses.replace(
        toy,
        name="toy-finetune",
        data=dataclasses.replace(toy.data, toy=clips, text_length=96),
        terms=config.Terms(patches=0.0, classify=1.0),
        reserve=config.Reserve(),
        training=dataclasses.replace(
            toy.training,
            steps=100,
            warmup_steps=10,
            streams=("text", "audio"),
            eval_every=25,
            eval_clips=48,
            save_every=25,
            stop_on="loss",
            early_stopping=True,
            patience=2,
        ),
        rows=("tuned:",),
        contrasts=(),
    )
