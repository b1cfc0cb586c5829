"""The released code's continued pretraining, as far as settings restate it.

Command:  mmdiffmask pretrain tpu_configs/reference.py --device tpu --data RECORDS \
            --workdir runs/reference --set model.checkpoint=base_resadapt
          (on one GPU: --device gpu)
Hardware: what it was written for is a TPU with 8 cores, one clip on each.
Memory:   not compiled for a v2-8; 8 clips without remat on one GPU: about 13 GB
          (estimated from tvqa.py's).
Hours:    a run 3.4 on a v2-8 at 40 % of its peak rate, saves and evaluations apart
          (estimated: 2.37 TFLOP a clip, counted). 8 rows x 5 seeds: 120 (estimated).
Expect:   no number: nobody has the released masks. What a step costs is measured by
          `python -m benchmarks.cpt_step`, with `small` in place of `base`.

reserve.md section 10.1 says what the released code does. Restated here: the grid, a
quarter of the clip's single patches hidden, first those in boxes, scattered, drawn anew
each epoch; one constant vector in their place behind the vision tower; the optimiser
and its schedule; three epochs, patience 2; what is read out is the last checkpoint.

It departs where there is no setting: padding and absent frames are no patches; masks
are drawn from boxes, not from resized pictures of them; targets take no gradient; empty
slots are left out of the loss; frames have the segments of their text; the right answer
is not in the text. `head` and the span encoder are kept.
"""

from mmdiffmask import config

EPOCH = 15_264  # updates: 122,112 examples of TVQA, 8 at a time


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
        ),
        training=config.Training(
            optimiser="reserve_finetune",
            steps=3 * EPOCH,
            batch_size=8,
            warmup_steps=EPOCH // 2,
            mask_site="vit_output",
            eval_every=EPOCH,
            patience=2,
        ),
        probe=config.Probe(checkpoint="last"),
    )
