"""Which masks help on ChemProt? MiniLM, continued pretraining on its texts.

Command:  mmdiffmask pretrain tpu_configs/chemprot_minilm.py --data FOLDER --workdir DIR
Hardware: 2 CPU cores; can be killed and gone on with.
Expect:   six updates of difference-word (one seed, training.warmup_steps=1): held-out
          loss on its masks from 7.35 to 7.29; 1.4 CPU seconds an update on one
          thread. A run of the experiment: some 7.5 CPU minutes (docs/text_results.md).

FOLDER holds train.jsonl, dev.jsonl, test.jsonl and labels.json, as the SciBERT
repository has them. A sentence stands there once for each pair of its entities: it is
one text here, without the signs around them.

Chosen before the first run, as tpu_configs/acl_arc_minilm.py says: primary is
difference - random-word, here on the accuracy of the official test, with intervals over
its sentences. Words most like the anchors tell the label much better than random ones
(docs/anchors.md), so it should lie above 0.
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
        rows=(
            *other.rows,
            # The signs around entities are spans; masks know labels of TRAIN alone.
            "entitybert: masking.strategy=entitybert; masking.spans=markers",
            "salient-span: masking.strategy=salient-span; masking.spans=markers",
            "selective: masking.strategy=selective",
        ),
        contrasts=(
            "difference:label - random-word:label",
            "random-word:label - none:label",
        ),
    )
