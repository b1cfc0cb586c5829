"""Difference-Masking on TVQA, `base`: four epochs, six hours on a TPU v2-8.

Command:  mmdiffmask pretrain tpu_configs/tvqa.py --device tpu --data data/tvqa \
            --workdir runs/tvqa/difference-0
          mmdiffmask probe tpu_configs/tvqa.py --device tpu \
            --workdir runs/tvqa/difference-0
          mmdiffmask pretrain tpu_configs/tvqa.py --device gpu --data data/tvqa \
            --workdir runs/tvqa/difference-0 --set model.remat=false
Hardware: one TPU v2-8, or one GPU of 40 GB or more (the third command); of 24 GB
          without its --set.
Needs:    records (docs/preprocessing.md), about 70 GB; `ckpts/base` with its tokenizer
          beside it (docs/weights.md); 9 GB for a run.
Memory:   2.91 of 7.48 GiB a core (compiled: 32 clips, bfloat16, remat; 3.84 on 18x32
          patches; docs/tpu.md). One GPU: about 30 GB without remat, 8 with it
          (estimated).
Hours:    a run 6 on a v2-8 at 40 % of its peak rate (estimated: 25 clips a second, 1.2
          hours an epoch, then saves and evaluations), 3 on an A100 (estimated); the
          probe 1 (estimated). 8 rows x 5 seeds: 250 on one v2-8 (estimated), since
          `none` is not trained. No hour here is measured.
Expect:   no number is promised: nobody has run it. The paper's 81.73 belongs to a
          model that was finetuned as a whole, not to a frozen one.
"""

from mmdiffmask import config


def get_config() -> config.Experiment:
    """The paper's term alone, a fixed number of steps, so that rows compare."""
    return config.Experiment(
        name="tvqa",
        data=config.Data(tokenizer="reserve"),
        model=config.Model(dtype="bfloat16", remat=True, checkpoint="ckpts/base"),
        training=config.Training(
            epochs=4.0,
            warmup_epochs=0.5,
            eval_every_epochs=1.0,
            batch_size=32,  # 4 a core
            save_every=500,  # about ten minutes
            early_stopping=False,
        ),
        probe=config.Probe(
            read_outs=("answer", "match"),
            kinds=("tvqa",),
            floors=False,  # six times the hours: once, for `none`, with --set
            checkpoint="last",
        ),
        rows=(
            "none: training.steps=0",
            "replay: terms.patches=0; terms.imgs_to_audio=1; terms.text_to_audio=1;"
            " terms.stuff_to_span=1",
            "random: masking.strategy=random",
            "difference: masking.strategy=difference",
            "difference-face: masking.strategy=difference-face",
            "random patches: masking.strategy=random; masking.mask_unit=patch",
            "difference patches: masking.strategy=difference; masking.mask_unit=patch",
            "difference-face patches: masking.strategy=difference-face;"
            " masking.mask_unit=patch",
        ),
    )
