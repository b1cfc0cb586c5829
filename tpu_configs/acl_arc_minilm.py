"""Which masks help on ACL-ARC? MiniLM, continued pretraining on its texts.

Command:  mmdiffmask pretrain tpu_configs/acl_arc_minilm.py --data FOLDER --workdir DIR
Hardware: 2 CPU cores; can be killed and gone on with.
Expect:   the MLM head warmed up to a loss of 7.4. Six updates of difference-word (one
          seed, training.warmup_steps=1): held-out loss on its masks from 7.59 to 7.52;
          1.6 CPU seconds an update on one thread. All 23 runs of the experiment: 116
          CPU minutes (docs/text_results.md).

FOLDER holds train.jsonl, dev.jsonl, test.jsonl and labels.json, as the SciBERT
repository has them. Of dev's 112 distinct texts 43 stand in TRAIN too: scores of labels
are by folds, grouped by text.

Chosen before the first run:
- Primary contrast: difference - random-word on the macro F1 of the folds. Words most
  like the anchors tell the label as well as random ones, or little better
  (docs/anchors.md), so it should lie within 3 points of 0. The other, random-word -
  none, says whether the texts teach anything.
- Rows of one seed show masks, costs and their scores; no comparison is drawn from them.
- No row of `selective`: its masks know the labels of the texts that the folds hold out.
  None of `entitybert` and `salient-span`: these texts come without spans of entities.
"""

from mmdiffmask import config

STEPS = 120


def get_config() -> config.Experiment:
    """120 updates of 16 windows of TRAIN's distinct texts, without their labels."""
    return config.Experiment(
        name="acl-arc-minilm",
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
        probe=config.Probe(
            folds=5,  # grouped by text; the penalty is chosen inside
            l2=(1e-2, 1e-1, 1.0, 10.0),
            fractions=(0.01, 0.05, 0.2),
            fraction_draws=20,
            checkpoint="last",
            floors=False,
        ),
        rows=(
            "none: training.steps=0",
            "random-word: masking.strategy=random-word",
            "difference: masking.strategy=difference-word",
            "random-piece: masking.strategy=random-piece",
            "difference-piece: masking.strategy=difference-piece",
            "tfidf: masking.strategy=tfidf",
            "centroid: masking.strategy=difference-word; masking.similarity=centroid",
            "5 anchors: masking.strategy=difference-word; masking.anchor_count=5",
            "80 anchors: masking.strategy=difference-word; masking.anchor_count=80",
            "keywords: masking.strategy=keywords",
            "attnmask: masking.strategy=attnmask",
            "mst: masking.strategy=mst",
            "dga: masking.strategy=random-piece; terms.dga=1",
        ),
        row_seeds=("random-word=5", "difference=5", "random-piece=3"),
        contrasts=(
            "difference:label/macro-f1 - random-word:label/macro-f1",
            "random-word:label/macro-f1 - none:label/macro-f1",
        ),
    )
