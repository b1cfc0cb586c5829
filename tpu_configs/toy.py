"""The toy set at full size: what Difference-Masking does on a laptop's model.

Command:  mmdiffmask pretrain tpu_configs/toy.py --workdir runs/toy/difference
          mmdiffmask probe tpu_configs/toy.py --workdir runs/toy/difference
Hardware: 2 CPU cores, or one TPU v2-8 without a change.
Expect:   docs/toy_results.md holds what was measured, with its intervals.
"""

from mmdiffmask import config


def get_config() -> config.Experiment:
    """`small` on the people domain; 1,500 + 1,500 clips, 800 boxed; 300 steps."""
    return config.Experiment(
        name="toy",
        data=config.Data(
            toy=config.Toy(train_clips=1500, val_clips=1500, boxed_clips=800),
            sub_segments=1,
            rows=6,
            cols=10,
            min_overlap=0.25,
            text_length=64,
        ),
        model=config.MODELS["small"],
        training=config.Training(
            steps=300,
            batch_size=16,
            lr=1e-3,  # from random weights; Table 4's 5e-6 needs a trained start
            warmup_steps=30,
            eval_every=50,
            eval_clips=150,
            save_every=50,
            # A fixed number of steps first: the strategies' losses differ in scale.
            early_stopping=False,
        ),
        probe=config.Probe(checkpoint="last"),
    )
