"""The whole path in seconds, for tests; its numbers mean nothing.

Command:  mmdiffmask pretrain tpu_configs/tiny.py --workdir runs/tiny
Hardware: one CPU core, under a minute with data and compilation.
Expect:   a finished run; accuracies are noise at this size.
"""

from mmdiffmask import config


def get_config() -> config.Experiment:
    """`tiny` on a dozen clips of the people domain."""
    return config.Experiment(
        name="tiny",
        data=config.Data(
            toy=config.Toy(train_clips=14, val_clips=6, boxed_clips=14),
            sub_segments=1,
            rows=6,
            cols=10,
            min_overlap=0.25,
            text_length=64,
            dev_share=0.3,
        ),
        model=config.MODELS["tiny"],
        training=config.Training(
            steps=6,
            batch_size=8,
            lr=1e-3,
            warmup_steps=2,
            eval_every=3,
            eval_clips=8,
            save_every=2,
            early_stopping=False,
        ),
        probe=config.Probe(
            l2=(1e-2, 1.0), neighbours=3, batch_size=8, checkpoint="last"
        ),
        report_clips=2,
    )
