"""Makes the small starting checkpoint: Reserve's objective on the general toy domain.

Command:  mmdiffmask pretrain tpu_configs/start.py --workdir runs/start
          mmdiffmask weights export runs/start mmdiffmask/models/small/small
Hardware: 2 CPU cores, an hour after the rendering of 5,500 clips; stops and resumes
          anywhere.
Expect:   mmdiffmask/models/small/README.md holds the curves and accuracies of the
          shipped file.
"""

import dataclasses

from mmdiffmask import config


def get_config() -> config.Experiment:
    """`small` from random weights; half of the cloze texts are training questions."""
    return config.Experiment(
        name="start",
        data=config.Data(
            toy=config.Toy(
                domain="general", train_clips=4000, val_clips=1500, boxed_clips=0
            ),
            sub_segments=1,
            rows=6,
            cols=10,
            min_overlap=0.25,
            text_length=64,
            boxed_only=False,
        ),
        model=dataclasses.replace(config.MODELS["small"], vocabulary=512),
        training=config.Training(
            steps=5000,
            batch_size=32,
            lr=1e-3,
            warmup_steps=50,
            eval_every=500,
            eval_clips=128,
            save_every=250,
            early_stopping=False,
            decay_to="zero",  # the initial weights are random here
        ),
        terms=config.Terms(
            patches=0.0,
            imgs_to_audio=1.0,
            text_to_audio=1.0,
            stuff_to_span=1.0,
            closed_span=1.0,
            # At weight 1 beside four other terms it had not left its plateau after 500
            # steps; alone it had after 200.
            pooled_cells=5.0,
        ),
        reserve=config.Reserve(
            clips=4,
            words="toy",
            cloze_frames=1,
            cloze_questions=0.5,
        ),
        probe=config.Probe(
            read_outs=("clip", "match", "answer"),
            kinds=config.TOY_KINDS,
            questions=1500,
            eval_questions=3000,
            checkpoint="last",
        ),
    )
