"""Labels of ACL-ARC: RoBERTa-base with the numbers of the paper's Table 4.

Command:  mmdiffmask finetune tpu_configs/acl_arc.py --data FOLDER --workdir DIR
          trains hidden words and labels jointly; docs/finetuning.md has the second
          stage at Table 4's rate of 1e-6, and the sequential way.
Hardware: a TPU v2-8, or a GPU of 16 GB or more. Never run at this size.
Hours:    0.2 at 72 TFLOP/s (two fifths of a v2-8's peak), 1.6 at 8; estimated from the
          FLOP as docs/finetuning.md says.
Expect:   not known. RoBERTa-base's weights cannot be fetched here, so no score was
          measured; the paper's are in its Table 1.
"""

import dataclasses
import pathlib

from mmdiffmask import config, configure


def get_config() -> config.Experiment:
    """Hidden words and labels in one update, 495 updates of 512 rows of each."""
    small = configure.load(pathlib.Path(__file__).with_name("acl_arc_minilm.py"))
    return config.Experiment(
        name="acl-arc",
        data=dataclasses.replace(small.data, length=128),
        model=config.Encoder(
            checkpoint="FacebookAI/roberta-base",
            classifier_dropout=0.3,  # of the released code, as clip_norm and b2
            dtype="bfloat16",
            remat=True,
        ),
        masking=config.Masking(
            strategy="difference-word",
            held_out=("random-word", "difference-word"),
            anchors=(),
            ratio=0.25,
            replacement="random",  # appendix A
        ),
        terms=config.Terms(patches=0.0, mlm=1.0, classify=1.0),
        training=config.Training(
            epochs=150.0,  # Table 4, CPT language, as the next three
            eval_every_epochs=30.0,
            patience=20,
            lr=1e-4,
            batch_size=512,
            warmup_epochs=9.0,  # 6 %
            b2=0.98,
            eps=1e-6,
            weight_decay=0.01,
            decay_to="zero",
            clip_norm=1.0,
            stop_on="f1",
            save_minutes=10.0,
        ),
        rows=(
            "random-word: masking.strategy=random-word",
            "difference: masking.strategy=difference-word",
        ),
    )
