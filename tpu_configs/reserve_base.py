"""`base` from nothing on one's own narrated video: for who has no checkpoint.

Command:  mmdiffmask pretrain tpu_configs/reserve_base.py --device tpu \
            --data data/mine --workdir runs/start
          mmdiffmask pretrain tpu_configs/reserve_base.py --device gpu \
            --data data/mine --workdir runs/start --set training.batch_size=16
          mmdiffmask pretrain tpu_configs/tvqa.py --device tpu --data data/tvqa \
            --workdir runs/tvqa/mine-0 --set model.checkpoint=runs/start
Hardware: one TPU v2-8, or one GPU of 40 GB or more (the second command). The third
          goes on from it.
Needs:    records of `python -m preprocessing video` (docs/preprocessing.md), 490 kB a
          window of 33 seconds, the more the better: a thousand hours of video are
          110,000 windows, 55 GB. MERLOT-Reserve's tokenizer in ~/.cache/mmdiffmask
          (docs/weights.md), or another one with --set data.tokenizer=FILE.json.
Memory:   2.96 of 7.48 GiB a core (compiled: 32 windows, bfloat16, remat, 12x20 patches;
          docs/tpu.md).
Hours:    24 on a v2-8 at 40 % of its peak rate (estimated: 25 windows a second), 12 on
          an A100 (estimated). One start serves 8 rows x 5 seeds. None is measured.
Expect:   a start, not MERLOT-Reserve: that saw 768 million examples, this sees 1.9
          million. Held-out losses must fall well below ln(candidates); docs/reserve.md
          section 9.1 says what a small model needed before it looked at pictures.
"""

from mmdiffmask import config


def get_config() -> config.Experiment:
    """Reserve's own three terms and its own optimiser; nothing is hidden."""
    return config.Experiment(
        name="reserve-base",
        data=config.Data(tokenizer="reserve", boxed_only=False),
        model=config.Model(dtype="bfloat16", remat=True),
        masking=config.Masking(strategy="random"),
        terms=config.Terms(
            patches=0.0, imgs_to_audio=1.0, text_to_audio=1.0, stuff_to_span=1.0
        ),
        training=config.Training(
            optimiser="reserve",
            decay_to="zero",  # the first weights are random
            lr=4e-4,  # reserve.md section 1: peak rate of base
            steps=60_000,
            warmup_steps=3000,
            batch_size=32,
            eval_every=3000,
            save_every=1000,  # about twenty minutes
            early_stopping=False,
        ),
        probe=config.Probe(read_outs=("clip",), labels=("label",), checkpoint="last"),
        rows=("none: training.steps=0", "reserve: training.steps=60000"),
    )
