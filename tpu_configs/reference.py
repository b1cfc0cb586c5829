"""The released code's continued pretraining, and a ladder from it to ours.

Command:  mmdiffmask pretrain tpu_configs/reference.py --device tpu --data RECORDS \
            --workdir runs/reference --set model.checkpoint=base_resadapt
          (on one GPU: --device gpu)
          mmdiffmask experiment tpu_configs/reference.py --device gpu --data RECORDS \
            --workdir runs/ladder --set model.checkpoint=base_resadapt
Hardware: what it was written for is a TPU with 8 cores, one clip on each.
Memory:   not compiled for a v2-8; 8 clips without remat on one GPU: about 13 GB
          (estimated from tvqa.py's).
Hours:    a run 3.4 on a v2-8 at 40 % of its peak rate, saves and evaluations apart
          (estimated: 2.37 TFLOP a clip, counted). The ladder: 12 such runs a seed;
          8 rows x 5 seeds would be 136.
Expect:   no number: nobody has the released masks. Accuracies on questions show no
          learning from unlabelled video before the row `no answer`: the right answer
          stands in the text. What a step costs is measured by
          `python -m benchmarks.cpt_step`, with `small` in place of `base`.

reserve.md section 10.1 says what the released code does. Restated here: the grid, a
quarter of the clip's single patches hidden, padding and absent frames among them, first
those in boxes, scattered, drawn anew each epoch; one constant vector in their place
behind the vision tower; targets that take gradients, empty slots in the loss, frames
with segments from 0 on, the right answer in the text; the optimiser and its schedule;
three epochs, patience 2; what is read out is the last checkpoint.

It departs where there is no setting: masks are drawn from boxes, not from resized
pictures of them; a clip's other windows are no candidates; absent sound is padding;
examples without a known answer show none. `head` and the span encoder are kept.

The rows are the ladder: each has the settings of the one before it and one more of
ours. All read out the last checkpoint, as rows of one page must.
"""

import itertools

from mmdiffmask import config

EPOCH = 15_264  # updates: 122,112 examples of TVQA, 8 at a time
STEPS = {  # name of a row -> its one change towards ours
    "no answer": "training.gold_answer=false",
    "frames with their words": "training.first_frame=1",
    "no empty slots": "training.empty_slots=left_out",
    "no gradient of targets": "training.target_gradient=false",
    "no padding": "masking.padding=left_out",
    "whole boxes": "masking.selection=unit",
    "boxes first": "masking.box_share=1",
    "static masks": "masking.masks=static",
    "cells": "masking.mask_unit=cell",
    "hidden before the tower": "training.mask_site=patch_embedding",
    "adamw": "training.optimiser=adamw",
}


def ladder() -> tuple[str, ...]:
    """The rows: the released behaviour, then one change more in each."""
    changes = itertools.accumulate(STEPS.values(), "{}; {}".format)
    rows = map("{}: {}".format, STEPS, changes)
    return ("released:", *rows)


def get_config() -> config.Experiment:
    """`base` in bfloat16 on 12x24 patches; batches of 8."""
    return config.Experiment(
        name="reference",
        data=config.Data(rows=12, cols=24, min_overlap=0.0, tokenizer="reserve"),
        model=config.Model(dtype="bfloat16"),
        masking=config.Masking(
            strategy="difference",
            mask_unit="patch",
            selection="patch",
            box_share=0.8,
            masks="per_epoch",
            padding="counted",
        ),
        training=config.Training(
            optimiser="reserve_finetune",
            steps=3 * EPOCH,
            batch_size=8,
            warmup_steps=EPOCH // 2,
            mask_site="vit_output",
            target_gradient=True,
            empty_slots="kept",
            first_frame=0,
            gold_answer=True,
            eval_every=EPOCH,
            patience=2,
        ),
        probe=config.Probe(checkpoint="last"),
        rows=ladder(),
    )
