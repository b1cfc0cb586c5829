"""Which masks help on ChemProt? MiniLM, continued pretraining on its texts.

Command:  mmdiffmask pretrain tpu_configs/chemprot_minilm.py --data FOLDER --workdir DIR
Hardware: 2 CPU cores; can be killed and gone on with.
Expect:   six updates of difference-word (one seed, training.warmup_steps=1): held-out
          loss on its masks from 7.35 to 7.29; 1.4 CPU seconds an update on one
          thread. Runs of 120 were not tried.

FOLDER holds train.jsonl, dev.jsonl, test.jsonl and labels.json, as the SciBERT
repository has them. A sentence stands there once for each pair of its entities: it is
one text here, without the signs around them.
"""

import dataclasses
import pathlib

from mmdiffmask import config, configure


def get_config() -> config.Experiment:
    """The rows of ACL-ARC; labels by the official split, which is clean here."""
    other = configure.load(pathlib.Path(__file__).with_name("acl_arc_minilm.py"))
    return dataclasses.replace(
        other,
        name="chemprot-minilm",
        probe=dataclasses.replace(other.probe, folds=0),
        contrasts=(
            "difference:label - random-word:label",
            "random-word:label - none:label",
        ),
    )
