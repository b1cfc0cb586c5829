"""Which masks help on ChemProt? MiniLM, continued pretraining on its texts.

Command:  mmdiffmask pretrain tpu_configs/chemprot_minilm.py --data FOLDER --workdir DIR
Hardware: 2 CPU cores; can be killed and gone on with.
Expect:   EXPECT

FOLDER holds train.jsonl, dev.jsonl, test.jsonl and labels.json, as the SciBERT
repository has them. A sentence stands there once for each pair of its
entities: it is one text here, without the signs around them.
"""

from mmdiffmask import config

STEPS = 120


def get_config() -> config.Experiment:
    """120 updates of 16 windows of TRAIN's distinct texts, without their labels."""
    return config.Experiment(
        name="chemprot-minilm",
        data=config.Texts(
            train=("train.jsonl",),
            dev=("dev.jsonl",),
            test=("test.jsonl",),
            label_names="labels.json",
            length=64,
            dev_share=0.0,  # held-out masks: dev's texts that are not in train
        ),
        model=config.Encoder(checkpoint="minilm"),
        masking=config.Masking(
            strategy="random-word",
            held_out=("random-word", "difference-word"),
            anchors=(),
        ),
        terms=config.Terms(patches=0.0, mlm=1.0),
        training=config.Training(
            steps=STEPS,
            batch_size=16,
            lr=1e-4,  # Table 4, language
            warmup_steps=STEPS // 10,
            weight_decay=0.01,
            clip_norm=1.0,
            eval_every=STEPS,  # held-out masks at the start and the end alone
            eval_clips=64,
            save_every=STEPS,
            save_minutes=2.0,
            early_stopping=False,
        ),
        probe=config.Probe(checkpoint="last", floors=False),
        rows=(
            "none: training.steps=0",
            "random-word: masking.strategy=random-word",
            "difference: masking.strategy=difference-word",
            "random-piece: masking.strategy=random-piece",
            "difference-piece: masking.strategy=difference-piece",
            "tfidf: masking.strategy=tfidf",
        ),
        contrasts=("difference - random-word", "random-word - none"),
    )
