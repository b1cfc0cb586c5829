"""Labels of ACL-ARC: MiniLM, fine-tuned from a run of continued pretraining.

Command:  mmdiffmask finetune tpu_configs/acl_arc_minilm_labels.py --workdir DIR
          with --data FOLDER --seeds 3 --start RUN, a run of acl_arc_minilm.py; without
          --start it begins from MiniLM itself.
Hardware: 2 CPU cores; can be killed and gone on with.
Expect:   not known for the whole run. After 32 of its 633 updates (--set
          training.steps=32, seed 0, from MiniLM itself) it says Background of all:
          dev macro F1 .114, accuracy .518, mean log-probability -1.358.
"""

import dataclasses
import pathlib

from mmdiffmask import config, configure


def get_config() -> config.Experiment:
    """Six epochs of the labelled rows, the best one by macro F1 on dev."""
    pretrained = configure.load(pathlib.Path(__file__).with_name("acl_arc_minilm.py"))
    return config.Experiment(
        name="acl-arc-minilm-labels",
        data=dataclasses.replace(pretrained.data, dev_share=0.1),
        model=dataclasses.replace(
            pretrained.model, hidden_dropout=0.1, attention_dropout=0.1
        ),
        terms=config.Terms(patches=0.0, classify=1.0),
        training=config.Training(
            epochs=6.0,
            warmup_epochs=0.6,
            eval_every_epochs=1.0,
            batch_size=16,
            lr=1e-4,
            weight_decay=0.01,
            decay_to="zero",
            clip_norm=1.0,
            stop_on="f1",
            patience=3,
            save_minutes=2.0,
        ),
        rows=("start:",),
    )
