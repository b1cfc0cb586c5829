"""Masks of words on ACL-ARC: MiniLM, continued pretraining on its texts.

Command:  mmdiffmask pretrain tpu_configs/acl_arc_minilm.py --data FOLDER --workdir DIR
Hardware: 2 CPU cores.
"""

from mmdiffmask import config

STEPS = 120


def get_config() -> config.Experiment:
    """TRAIN's distinct texts, without labels or signs around entities."""
    return config.Experiment(
        name="acl-arc-minilm",
        data=config.Texts(
            train=("train.jsonl",),
            dev=("dev.jsonl",),
            test=("test.jsonl",),
            label_names="labels.json",
            length=64,
            dev_share=0.0,
        ),
        model=config.Encoder(checkpoint="minilm"),
        masking=config.Masking(
            strategy="difference-word",
            held_out=("random-word", "difference-word"),
            anchors=(),
        ),
        terms=config.Terms(patches=0.0, mlm=1.0),
        training=config.Training(
            steps=STEPS,
            batch_size=16,
            lr=1e-4,
            warmup_steps=STEPS // 10,
            weight_decay=0.01,
            eval_every=STEPS,
            eval_clips=64,
            save_every=STEPS,
            save_minutes=2.0,
            early_stopping=False,
        ),
        rows=(
            "none: training.steps=0",
            "random-word: masking.strategy=random-word",
            "difference: masking.strategy=difference-word",
        ),
    )
